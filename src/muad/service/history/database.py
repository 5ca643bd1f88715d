"""The database behind the history: an SQLite file beside the pictures, or PostgreSQL by URL.

SQLite runs with a write-ahead log that is flushed at each commit: what was recorded is there after a power cut. One
writer at a time; readers never wait for it. PostgreSQL is left as its owner has set it up.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url

from muad.errors import ConfigError
from muad.service.history.disk import DISK_ERRNOS, is_full
from muad.service.history.faults import DiskFullError, HistoryError, HistoryUnavailableError
from muad.service.history.migrations.upgrading import upgrade

BUSY_S = 20.0
"""How long a writer waits for another process's write before it gives up."""
_WRITING = "muad_writing"
_RECORDING_LOCK = 0x6D756164  # of PostgreSQL's advisory locks: "muad"


class Database:
    """Connections to a history, whose tables are those of this release.

    Args:
        url: `sqlite:///path/to/history.sqlite` or `postgresql://user:password@host/name`.

    Attributes:
        file: The SQLite file; None for PostgreSQL.

    Raises:
        ConfigError: The URL names neither.
        HistoryError: It cannot be opened, or a newer release has written it.
    """

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self.file = Path(self.url.database or "").resolve() if self.url.get_backend_name() == "sqlite" else None
        self._engine = self._open()
        self._one_writer = threading.Lock() if self.file is not None else nullcontext()
        try:
            if self.file is not None:
                _make_folder(self.file.parent)
            with self._faults():
                upgrade(self._engine.execution_options(**{_WRITING: True}))
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of its own."""
        return self.file is not None

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read by, all of it from one moment.

        Raises:
            HistoryUnavailableError: The database does not answer.
        """
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._faults(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction to write in: committed at the end, taken back if anything is raised.

        Raises:
            DiskFullError: No room.
            HistoryUnavailableError: The database does not answer, or another process writes for too long.
        """
        with self._one_writer, self._faults(), self._engine.connect() as connection:
            connection.execution_options(**{_WRITING: True})
            with connection.begin():
                yield connection

    def in_order(self, connection: Connection) -> None:
        """Let no other process record until this transaction ends, so that numbers are committed as they rise."""
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_RECORDING_LOCK)))

    def optimize(self) -> None:
        """Let the database look at what it holds, so that it plans questions by it; quick, to be done now and then."""
        if self.is_sqlite:  # PostgreSQL does so by itself
            with self.writing() as connection:
                connection.exec_driver_sql("PRAGMA analysis_limit = 1000")
                connection.exec_driver_sql("PRAGMA optimize")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _open(self) -> Engine:
        dumps = partial(json.dumps, allow_nan=False, separators=(",", ":"))
        if self.file is None:
            return sa.create_engine(
                self.url, json_serializer=dumps, pool_pre_ping=True, pool_size=8, connect_args={"connect_timeout": 10}
            )
        engine = sa.create_engine(
            self.url.set(database=str(self.file)),
            json_serializer=dumps,
            pool_size=8,
            max_overflow=24,
            connect_args={"timeout": BUSY_S},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Faults of the database and its disk, in our words."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            told = self._told(error)
            if told is None:
                raise
            raise told from error
        except sa.exc.TimeoutError as error:
            raise HistoryUnavailableError(
                f"history must have a free connection, got none in time: {self.shown}. Try again."
            ) from error

    def _told(self, error: sa.exc.DBAPIError) -> HistoryError | None:
        """The fault that stands for an error of the driver; None where it is a bug of ours."""
        cause = error.orig
        if isinstance(cause, sqlite3.Error):
            return self._told_by_sqlite(cause)
        state = getattr(cause, "sqlstate", None)
        if state is not None and state.startswith("53") and state != "53300":
            return DiskFullError(f"history must have room, got {_line(cause)} from {self.shown}. Free some.")
        if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)) or error.connection_invalidated:
            return HistoryUnavailableError(f"history must be reachable, got {_line(cause)} from {self.shown}.")
        return None

    def _told_by_sqlite(self, cause: sqlite3.Error) -> HistoryError | None:
        code = getattr(cause, "sqlite_errorcode", 0)
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            return DiskFullError(_NO_ROOM.format(self.file))
        if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and self.file is not None:
            if is_full(self.file.parent):
                return DiskFullError(_NO_ROOM.format(self.file))
            return HistoryUnavailableError(f"history must be readable and writable, got {cause}: {self.file}.")
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return HistoryUnavailableError(
                f"history must be free within {BUSY_S:g} s, got another process that writes: {self.file}. Try again."
            )
        if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return HistoryError(
                f"history must be a database of muad, got {cause}: {self.file}. Restore a backup: muad station restore."
            )
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return HistoryError(f"history must be writable, got {cause}: {self.file}.")
        return None


_NO_ROOM = "history must have room on its disk, got none: {}. Free some; recording goes on by itself."


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_ERRNOS:
            raise DiskFullError(_NO_ROOM.format(folder)) from error
        raise HistoryError(f"history must have a folder that can be written, got {error}.") from error


def _line(cause: object) -> str:
    return " ".join(str(cause).split())


def checked_url(url: str) -> URL:
    """The URL of a history, with the driver we bring.

    Raises:
        ConfigError: It names neither an SQLite file nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigError(
            "history.url must be like sqlite:///history.sqlite or postgresql://user@host/name, got something else."
        ) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise ConfigError(f"history.url must name a file, got {parsed}. Write sqlite:///history.sqlite.")
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(f"history.url must begin with sqlite:// or postgresql://, got {parsed.drivername}.")


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    """A new connection: durable at each commit, and transactions begin where we say so."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _use_log(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.execute("PRAGMA journal_size_limit = 67108864")  # of a log that has grown the disk gets the rest back
    cursor.close()


def _use_log(cursor: sqlite3.Cursor) -> None:
    """Switch to the write-ahead log; two processes that do so at once disturb each other, and SQLite does not wait."""
    pause = threading.Event()
    for _ in range(200):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            pause.wait(0.05)
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    """Who will write says so at once: a reader that turns writer midway cannot wait for another."""
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
