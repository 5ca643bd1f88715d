"""What people said of parts, and who changed what: both are only added to."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from muad.service.history.faults import NotRecordedError
from muad.service.history.ids import new_id, now
from muad.service.history.record import Change, ChangeKind, Word
from muad.service.history.search import ROWS
from muad.service.history.tables import ChangeRow, WordRow, stored_text, table_of

WORDS = table_of(WordRow)
"""The table of words."""
_CHANGES = table_of(ChangeRow)


def keep_word(connection: Connection, said: Word) -> None:
    """Keep a word; on the inspection stands the last one.

    Raises:
        NotRecordedError: There is no such inspection.
    """
    about = sa.update(ROWS).where(ROWS.c.id == stored_text(said.inspection_id)).values(word=said.word, word_at=said.at)
    if connection.execute(about).rowcount != 1:
        raise NotRecordedError(f"inspection must be one of the history, got {said.inspection_id[:40]!r}.")
    connection.execute(sa.insert(WORDS), asdict(said))


def stream_words(
    connection: Connection, inspection_id: str | None, since: datetime | None, until: datetime | None
) -> Generator[Word]:
    """What people said, the oldest first, a few at a time."""
    query = sa.select(WORDS).order_by(WORDS.c.at, WORDS.c.id)
    if inspection_id is not None:
        query = query.where(WORDS.c.inspection_id == stored_text(inspection_id))
    if since is not None:
        query = query.where(WORDS.c.at >= since)
    if until is not None:
        query = query.where(WORDS.c.at < until)
    for row in connection.execution_options(yield_per=500).execute(query).mappings():
        yield Word(**row)


def note_change(
    connection: Connection,
    who: str,
    kind: ChangeKind,
    subject: str,
    *,
    old: str | None = None,
    new: str | None = None,
    reason: str | None = None,
) -> Change:
    """Keep who changed what, in the transaction that changes it.

    Args:
        connection: To write by.
        who: Name of the token.
        kind: What kind of thing.
        subject: Which one, such as `bolt.reject`.
        old: Its value before.
        new: Its value since.
        reason: In the person's words.

    Raises:
        ConfigError: It cannot be kept.
    """
    at = now()
    change = Change(id=new_id(at), at=at, who=who, kind=kind, subject=subject, old=old, new=new, reason=reason)
    connection.execute(sa.insert(_CHANGES), asdict(change))
    return change


def list_changes(connection: Connection, kind: ChangeKind | None, subject: str | None, limit: int) -> list[Change]:
    """Who changed what, the newest first."""
    query = sa.select(_CHANGES).order_by(_CHANGES.c.at.desc(), _CHANGES.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(_CHANGES.c.kind == kind)
    if subject is not None:
        query = query.where(_CHANGES.c.subject == stored_text(subject))
    return [Change(**row) for row in connection.execute(query).mappings()]
