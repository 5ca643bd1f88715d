"""Copying files so that each is whole or not there, and pictures so that each is the one that was recorded."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from muad.service.history.database import Database
from muad.service.history.people import WORDS
from muad.service.history.pictures import Pictures
from muad.service.history.search import ROWS

DRAFT = ".draft"
_AT_ONCE = 1000
_CHUNK = 2**20


@dataclass(slots=True)
class PictureCount:
    """What became of pictures.

    Attributes:
        named: How many the database names.
        copied: How many were not there before.
        missing: Numbers of the inspections whose pictures are not there, or are not those that were recorded.
    """

    named: int = 0
    copied: int = 0
    missing: set[int] = field(default_factory=set)


def copy_pictures(database: Database, source: Pictures, target: Pictures) -> PictureCount:
    """Copy every picture that a database names and the target has not; its digest must be the recorded one."""
    count = PictureCount()
    for number, place, digest, size in _named(database):
        count.named += 1
        there, here = source.path(place), target.path(place)
        if here.is_file() and (size is None or here.stat().st_size == size):
            continue
        try:
            found = copy_whole(there, here, flush=False)
        except FileNotFoundError:
            count.missing.add(number)
            continue
        if digest is not None and found != digest:
            here.unlink()
            count.missing.add(number)
            continue
        count.copied += 1
    if count.copied and hasattr(os, "sync"):
        os.sync()  # once for all: a flush for each of a million files takes hours
    return count


def _named(database: Database) -> Iterator[tuple[int, str, str | None, int | None]]:
    """Inspection, place, digest and size of all pictures, masks without the latter two."""
    column, last = ROWS.c, 0
    query = sa.select(
        column.number,
        *(column.photo, column.photo_sha256, column.photo_bytes),
        *(column.map, column.map_sha256, column.map_bytes),
    ).where(sa.not_(column.pictures_removed))
    while True:
        with database.reading() as connection:
            rows = connection.execute(query.where(column.number > last).order_by(column.number).limit(_AT_ONCE)).all()
        for number, *files in rows:
            last = number
            for place, digest, size in (files[:3], files[3:]):
                if place is not None:
                    yield number, place, digest, size
        if len(rows) < _AT_ONCE:
            break
    with database.reading() as connection:
        drawn = sa.select(column.number, WORDS.c.mask).join(WORDS, WORDS.c.inspection_id == column.id)
        masks = connection.execute(drawn.where(WORDS.c.mask.is_not(None))).all()
    yield from ((number, place, None, None) for number, place in masks)


def copy_whole(source: Path, target: Path, *, flush: bool = True) -> str:
    """Copy a file, whole or not at all; its digest.

    Args:
        source: From where.
        target: To where; what is there is replaced.
        flush: Whether it is to be on the disk when this returns.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + DRAFT)
    digest = hashlib.sha256()
    with source.open("rb") as read:
        try:
            with draft.open("wb") as write:
                while chunk := read.read(_CHUNK):
                    digest.update(chunk)
                    write.write(chunk)
                write.flush()
                if flush:
                    os.fsync(write.fileno())
            shutil.copymode(source, draft)
            draft.replace(target)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    draft = path.with_name(path.name + DRAFT)
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
