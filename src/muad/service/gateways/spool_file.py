"""`spool/NAME.sqlite`: messages that wait for an outlet, in order, whatever stops the station.

Put and taken off in transactions of SQLite's write-ahead log, so that a process killed at any moment leaves a whole
file. A commit is not forced through the disk's cache: what a power cut takes is put in again from the history, since
the file remembers the last inspection it was given, and that is rolled back with it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from muad.service.gateways.base import Message

_LOG = logging.getLogger(__name__)
_KEPT_REFUSED = 1000
_BUSY_S = 10.0
# Totals are kept by triggers: counting 100,000 rows with every message would take longer than sending it.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT OR IGNORE INTO state VALUES ('waiting', 0), ('bytes', 0), ('dropped', 0), ('refused', 0),
    ('last', NULL), ('last_id', NULL);
CREATE TRIGGER IF NOT EXISTS message_in AFTER INSERT ON messages BEGIN
    UPDATE state SET value = value + 1 WHERE name = 'waiting';
    UPDATE state SET value = value + new.bytes WHERE name = 'bytes';
END;
CREATE TRIGGER IF NOT EXISTS message_out AFTER DELETE ON messages BEGIN
    UPDATE state SET value = value - 1 WHERE name = 'waiting';
    UPDATE state SET value = value - old.bytes WHERE name = 'bytes';
END;
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the file.

    Attributes:
        seq: Its place in the order.
        body: The message as JSON.
    """

    seq: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A message that the far end would not take.

    Attributes:
        id: Of the inspection.
        at: When it was refused.
        reason: What the far end said.
    """

    id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What the file holds and has held.

    Attributes:
        waiting: Messages that wait.
        bytes: Of all of them.
        dropped: Messages that were given up because it was full, since it was made.
        refused: Messages that the far end will never take, since it was made.
        last: Id of the last inspection it was given, or None.
    """

    waiting: int
    bytes: int
    dropped: int
    refused: int
    last: str | None


class SpoolFile:
    """The file; several threads and processes may have it open.

    Args:
        path: Where it lies; one that is damaged is put aside and begun anew.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._last_fill: Fill | None = None
        try:
            self._database = _open(path)
        except sqlite3.OperationalError as error:  # no permission, no room
            raise OSError(f"{path}: {error}") from None
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.replace(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            _LOG.error("spool %s was damaged (%s); it is kept as %s, and a new one is begun", path, error, aside.name)
            self._database = _open(path)

    def put(self, messages: Sequence[Message], *, most: int, most_bytes: int, drop_oldest: bool) -> int:
        """Add messages behind the others; those that wait already are left alone.

        Args:
            messages: In order.
            most: Messages that may wait.
            most_bytes: Bytes that they may have together.
            drop_oldest: Make room by giving up the oldest; else those that find no room are given up.

        Returns:
            How many were given up.

        Raises:
            sqlite3.Error: None of them is in the file.
        """
        rows = [(message["id"], body, len(body)) for message in messages for body in [_body(message)]]
        last = max(((int(message["number"]), message["id"]) for message in messages), default=None)
        with self._transaction() as database:
            before, size, dropped = self._numbers(database, "waiting", "bytes", "dropped")
            if drop_oldest:
                database.executemany("INSERT OR IGNORE INTO messages (id, body, bytes) VALUES (?, ?, ?)", rows)
                given_up = _drop_oldest(database, self._numbers(database, "waiting", "bytes"), most, most_bytes)
            else:
                given_up = 0
                for row in rows:
                    if before >= most or size + row[2] > most_bytes:
                        given_up += 1
                        continue
                    added = database.execute(
                        "INSERT OR IGNORE INTO messages (id, body, bytes) VALUES (?, ?, ?)", row
                    ).rowcount
                    before, size = before + added, size + added * row[2]
            if given_up:
                database.execute("UPDATE state SET value = ? WHERE name = 'dropped'", (dropped + given_up,))
            known = self._numbers(database, "last")[0]
            if last is not None and (known is None or last[0] > known):
                both = [(value, name) for name, value in zip(("last", "last_id"), last, strict=True)]
                database.executemany("UPDATE state SET value = ? WHERE name = ?", both)
        return given_up

    def first(self, count: int) -> list[Waiting]:
        """The messages that have waited longest, in order."""
        with self._lock:
            rows = self._database.execute("SELECT seq, body FROM messages ORDER BY seq LIMIT ?", (count,)).fetchall()
        return [Waiting(*row) for row in rows]

    def take_off(self, seqs: Sequence[int]) -> None:
        """Forget messages that were passed on."""
        if seqs:
            with self._transaction() as database:
                database.executemany("DELETE FROM messages WHERE seq = ?", [(seq,) for seq in seqs])

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a message that the far end will never take where a person can find it; the last 1000 are kept."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO refused SELECT seq, id, body, ?, ? FROM messages WHERE seq = ?",
                (time.time(), reason, seq),
            )
            database.execute("DELETE FROM messages WHERE seq = ?", (seq,))
            database.execute("UPDATE state SET value = value + 1 WHERE name = 'refused'")
            database.execute(
                "DELETE FROM refused WHERE seq NOT IN (SELECT seq FROM refused ORDER BY seq DESC LIMIT ?)",
                (_KEPT_REFUSED,),
            )

    def refused(self, count: int = _KEPT_REFUSED) -> list[SetAside]:
        """The last messages that were set aside, the oldest first."""
        newest = "SELECT seq, id, at, reason FROM refused ORDER BY seq DESC LIMIT ?"
        with self._lock:
            rows = self._database.execute(newest, (count,)).fetchall()
        return [
            SetAside(id=name, at=datetime.fromtimestamp(at, UTC), reason=reason) for _, name, at, reason in rows[::-1]
        ]

    def put_back(self) -> int:
        """Let all that were set aside wait again, behind the others; how many there were."""
        with self._transaction() as database:
            count = database.execute(
                "INSERT OR IGNORE INTO messages (id, body, bytes) "
                "SELECT id, body, LENGTH(body) FROM refused ORDER BY seq"
            ).rowcount
            database.execute("DELETE FROM refused")
        return count

    def fill(self) -> Fill:
        """What it holds, or held when it was closed."""
        if self._last_fill is not None:
            return self._last_fill
        with self._lock:
            found = dict(self._database.execute("SELECT name, value FROM state").fetchall())
        return Fill(
            waiting=found["waiting"],
            bytes=found["bytes"],
            dropped=found["dropped"],
            refused=found["refused"],
            last=found["last_id"],
        )

    def forget_last(self) -> None:
        """Take nothing in from the history at the next start: the outlet is off for now."""
        with self._transaction() as database:
            database.execute("UPDATE state SET value = NULL WHERE name IN ('last', 'last_id')")

    def close(self) -> None:
        """Close it."""
        self._last_fill = self.fill()
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @staticmethod
    def _numbers(database: sqlite3.Connection, *names: str) -> list[int]:
        found = dict(database.execute("SELECT name, value FROM state").fetchall())
        return [found[name] for name in names]


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
    except BaseException:
        database.close()
        raise
    return database


def _drop_oldest(database: sqlite3.Connection, fill: Sequence[int], most: int, most_bytes: int) -> int:
    """Give up the oldest messages until the others are few and small enough; how many that were."""
    waiting, size = fill
    given_up = []
    if waiting > most or size > most_bytes:
        for seq, length in database.execute("SELECT seq, bytes FROM messages ORDER BY seq"):
            if waiting <= most and size <= most_bytes:
                break
            given_up.append((seq,))
            waiting, size = waiting - 1, size - length
    database.executemany("DELETE FROM messages WHERE seq = ?", given_up)
    return len(given_up)


def _body(message: Message) -> str:
    return json.dumps(message, allow_nan=False, separators=(",", ":"))
