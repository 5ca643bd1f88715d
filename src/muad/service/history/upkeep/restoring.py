"""A station from a backup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from muad.errors import ConfigError
from muad.service.history.database import Database, checked_url
from muad.service.history.pictures import Pictures
from muad.service.history.search import ROWS, parts
from muad.service.history.upkeep.backup import DUMP_FILE, MODELS, SMALL_FILES, Backup, read_backup
from muad.service.history.upkeep.copying import DRAFT, copy_pictures, copy_whole
from muad.service.history.upkeep.dumps import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back.

    Attributes:
        backup: What the backup says of itself.
        pictures: How many pictures came back.
        missing: Of how many parts a picture was not in the backup, or not the one that was recorded.
    """

    backup: Backup
    pictures: int
    missing: int


def restore(source: Path, folder: Path, url: str, tell: Callable[[str], None] = lambda _: None) -> Restored:
    """Make a station of a backup.

    Args:
        source: The backup.
        folder: The station's folder: empty, or not there.
        url: Its database: a file that is not there, or a PostgreSQL database without tables.
        tell: Called with sentences for whoever waits.

    Raises:
        ConfigError: It is no backup, the folder is not empty, or the database is of the other kind.
        HistoryError: The backup is not what was written, or a newer release has written it.
    """
    made = read_backup(source)
    target = checked_url(url)
    is_dump = made.database == DUMP_FILE
    if is_dump == (target.get_backend_name() == "sqlite"):
        kind = "postgresql://" if is_dump else "sqlite://"
        raise ConfigError(f"history.url must begin with {kind}, as the backup's did, got {target.drivername}.")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"data must be an empty folder to restore into, got {folder}. Name another folder.")
    file = None if is_dump else Path(target.database or "").resolve()
    if file is not None and file.exists():
        raise ConfigError(f"history.url must name a file that is not there, got {file}. Move it away.")
    if is_dump:
        _require_empty(target)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SMALL_FILES:
        if (source / name).is_file():
            copy_whole(source / name, folder / name)
    for model in sorted((source / MODELS).rglob("*")):
        if model.is_file():
            copy_whole(model, folder / model.relative_to(source))
    tell("restoring the database")
    if file is None:
        load(source / made.database, target)
        count = _with_pictures(Database(url), source, folder, tell)
    else:  # under another name until it is whole: a station that is started now finds none
        draft = file.with_name(file.name + DRAFT)
        copy_whole(source / made.database, draft)
        count = _with_pictures(Database(f"sqlite:///{draft}"), source, folder, tell)
        draft.replace(file)
    return Restored(backup=made, pictures=count[0], missing=count[1])


def _with_pictures(database: Database, source: Path, folder: Path, tell: Callable[[str], None]) -> tuple[int, int]:
    """Copy the pictures that the database names; of those that are not there it then says so."""
    try:
        tell("restoring pictures")
        count = copy_pictures(database, Pictures(source), Pictures(folder))
        with database.writing() as connection:
            for some in parts(sorted(count.missing)):
                connection.execute(sa.update(ROWS).where(ROWS.c.number.in_(some)).values(pictures_removed=True))
    finally:
        database.close()
    return count.copied, len(count.missing)


def _require_empty(url: sa.URL) -> None:
    engine = sa.create_engine(url)
    try:
        there = sa.inspect(engine).get_table_names()
    except sa.exc.OperationalError as error:
        raise ConfigError(f"history.url must name a database that answers, got {error.orig}.") from None
    finally:
        engine.dispose()
    if there:
        raise ConfigError(f"history.url must name an empty database to restore into, got one with {there[0]}.")
