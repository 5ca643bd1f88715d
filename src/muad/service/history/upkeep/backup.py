"""A copy of a station while it runs; `restoring` makes a station of it again.

    backup.json      what it is of, when, with how many parts; written last: without it, it is no backup
    history.sqlite   the database as of one moment; of PostgreSQL it is history.dump, by pg_dump
    pictures/…       every picture that the database names
    models/…         the station's models, with their limits
    station.toml

The database is copied before the pictures: a picture is on the disk before its row is, so all that are named are there,
but for those that retention has removed since. A backup may be brought up to date: what it has is not copied again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from muad._version import __version__
from muad.errors import ConfigError
from muad.service.history.database import Database
from muad.service.history.faults import HistoryError
from muad.service.history.history import History
from muad.service.history.ids import now
from muad.service.history.pictures import Pictures
from muad.service.history.search import ROWS
from muad.service.history.upkeep.copying import DRAFT, copy_pictures, copy_whole, digest_of, write_whole
from muad.service.history.upkeep.dumps import dump

BACKUP_FILE, SQLITE_FILE, DUMP_FILE = "backup.json", "history.sqlite", "history.dump"
SMALL_FILES = ("station.toml", "audit-secret.txt")
"""What lies in a station's folder beside pictures and models, and belongs to it; tokens are in the database."""
MODELS = "models"
_BEGUN = "backup.begun"
_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What `backup.json` says.

    Attributes:
        muad: The release that made it.
        created: When.
        database: Name of the database's file.
        sha256: Its digest.
        inspections: How many are in it.
        pictures: How many pictures it names.
        copied: How many of them were copied this time.
        missing: Pictures that were named and not there.
    """

    muad: str
    created: str
    database: str
    sha256: str
    inspections: int
    pictures: int
    copied: int
    missing: int


def back_up(history: History, folder: Path, target: Path, tell: Callable[[str], None] = lambda _: None) -> Backup:
    """Copy a station, whether it runs or not.

    Args:
        history: Its history.
        folder: Its folder.
        target: Where to: an empty folder, one that is not there, or an earlier backup of it.
        tell: Called with sentences for whoever waits.

    Raises:
        ConfigError: Something else is in the target, or it lies within the station.
        HistoryError: The database cannot be copied.
    """
    target = target.resolve()
    if target == folder.resolve() or folder.resolve() in target.parents:
        raise ConfigError(f"backup must lie outside the station's folder, got {target}. Name another folder.")
    manifest = target / BACKUP_FILE
    if target.exists() and any(target.iterdir()) and not _is_backup(target):
        raise ConfigError(f"backup must be an empty folder or an earlier backup, got {target}. Name another folder.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    begun = target / _BEGUN
    if manifest.exists():  # until it is up to date it is none
        manifest.replace(begun)
    else:
        begun.touch()
    created = now()
    name = SQLITE_FILE if history.database.is_sqlite else DUMP_FILE
    tell("copying the database")
    if history.database.is_sqlite:
        _copy_sqlite(history.database, target / SQLITE_FILE)
    else:
        dump(history.database.url, target / DUMP_FILE)
    for file in SMALL_FILES:
        if (folder / file).is_file():
            copy_whole(folder / file, target / file)
    for model in sorted((folder / MODELS).rglob("*")):
        if model.is_file() and not model.name.startswith("."):
            copy_whole(model, target / model.relative_to(folder))
    tell("copying pictures")
    copied = Database(f"sqlite:///{target / name}") if history.database.is_sqlite else history.database
    try:
        with copied.reading() as connection:
            inspections = connection.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar_one()
        count = copy_pictures(copied, Pictures(folder), Pictures(target))
    finally:
        if copied is not history.database:
            copied.close()
    made = Backup(
        muad=__version__,
        created=created.isoformat(),
        database=name,
        sha256=digest_of(target / name),
        inspections=inspections,
        pictures=count.named,
        copied=count.copied,
        missing=len(count.missing),
    )
    write_whole(manifest, json.dumps({"format_version": _FORMAT_VERSION, **asdict(made)}, indent=2).encode())
    begun.unlink()
    return made


def read_backup(source: Path) -> Backup:
    """What a backup says of itself.

    Raises:
        ConfigError: It is none, or is not whole.
        HistoryError: A newer release has written it, or its database is not the one that was written.
    """
    try:
        values = json.loads((source / BACKUP_FILE).read_bytes())
        version = values.pop("format_version")
        made = Backup(**values) if version == _FORMAT_VERSION else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(
            f"backup must be a folder with a whole {BACKUP_FILE}, got {source}. A backup that was broken off has none: "
            "make it again."
        ) from None
    if made is None:
        raise HistoryError(f"backup must be of version {_FORMAT_VERSION}, got {version}. Install a newer release.")
    if made.database not in (SQLITE_FILE, DUMP_FILE) or digest_of(source / made.database) != made.sha256:
        raise HistoryError(f"backup must have the database it was written with, got another: {source / made.database}.")
    return made


def _is_backup(target: Path) -> bool:
    return any((target / name).is_file() for name in (BACKUP_FILE, _BEGUN))


def _copy_sqlite(database: Database, file: Path) -> None:
    """The database as of one moment, in one file; writers are not held up."""
    draft = file.with_name(file.name + DRAFT)
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(draft)) as copy:
            with database.reading() as connection:
                source = connection.connection.driver_connection
                if not isinstance(source, sqlite3.Connection):
                    raise TypeError(f"database must be SQLite, got {type(source).__name__}")
                source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        draft.unlink(missing_ok=True)
        raise HistoryError(f"backup must be writable and have room, got {error}: {file}.") from error
    if found != "ok":
        draft.unlink()
        raise HistoryError(f"history must be whole to be copied, got {found}. Restore an earlier backup.")
    draft.replace(file)
