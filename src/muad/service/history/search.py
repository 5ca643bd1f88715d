"""Finding inspections: what a filter says to the database, and pages that stay where they are while rows arrive."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from muad.errors import ConfigError
from muad.service.history.filters import InspectionFilter
from muad.service.history.record import Inspection
from muad.service.history.rows import inspection_of
from muad.service.history.tables import HAS_WORD, IN_AUDIT, NOT_PASSED, InspectionRow, table_of

_Value = TypeVar("_Value", str, int)
Order = Literal["newest", "oldest"]
CountedBy = Literal["verdict", "judged_as", "station", "model_id", "word", "source", "in_audit"]
MOST_ROWS = 500
"""Most inspections of a page."""
_LONGEST_CURSOR, _AT_ONCE = 200, 200
_FEW = 4000
_BATCH = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = table_of(InspectionRow)
"""The table of inspections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the inspections that were asked for.

    Attributes:
        inspections: In the order that was asked for.
        cursor: What brings the next page; None after the last one.
    """

    inspections: tuple[Inspection, ...]
    cursor: str | None


def conditions(wanted: InspectionFilter) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """What a filter says to the database; all of it must hold. The same as `InspectionFilter.takes`."""
    column = ROWS.c
    said: list[sa.ColumnElement[bool] | sa.TextClause] = [
        column[name] == value
        for name in ("station", "judged_as", "serial", "lot", "model_id", "source")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.verdicts:
        said.append(
            column.verdict.in_(wanted.verdicts) if len(wanted.verdicts) > 1 else column.verdict == wanted.verdicts[0]
        )
    if wanted.since is not None:
        said.append(column.at >= wanted.since)
    if wanted.until is not None:
        said.append(column.at < wanted.until)
    said += _score_range(wanted)
    if wanted.word == "none":
        said.append(column.word.is_(None))
    elif wanted.word is not None:
        said.append(sa.text(HAS_WORD))
    if wanted.word in ("good", "bad"):
        said.append(column.word == wanted.word)
    if wanted.verdicts and "pass" not in wanted.verdicts:
        said.append(sa.text(NOT_PASSED))
    if wanted.in_audit is not None:
        said.append(sa.text(IN_AUDIT if wanted.in_audit else f"NOT {IN_AUDIT}"))
    return said


def find_page(connection: Connection, wanted: InspectionFilter, cursor: str | None, limit: int, order: Order) -> Page:
    """One page.

    Args:
        connection: To read by.
        wanted: What is asked for.
        cursor: Of the page before; None for the first.
        limit: Inspections a page, at most `MOST_ROWS`.
        order: The newest or the oldest first.

    Raises:
        ConfigError: The cursor is none of ours, or the limit is out of range.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ConfigError(f"limit must be from 1 to {MOST_ROWS}, got {limit}.")
    query = _through(connection, wanted, _page_query(wanted, cursor, order)).limit(limit + 1)
    found = connection.execute(query).mappings().all()
    inspections = tuple(inspection_of(dict(row)) for row in found[:limit])
    return Page(inspections=inspections, cursor=_cursor(inspections[-1]) if len(found) > limit else None)


def last_number(connection: Connection) -> int:
    """The number of what was recorded last; 0 if nothing was."""
    return connection.execute(sa.select(sa.func.max(ROWS.c.number))).scalar() or 0


def find_batch(
    connection: Connection, wanted: InspectionFilter, cursor: str | None, last: int
) -> tuple[list[Inspection], str | None]:
    """Some of all that is asked for, the oldest first, and where to go on; None at the end.

    Args:
        connection: To read by.
        wanted: What is asked for.
        cursor: Where the batch before ended.
        last: The number after which nothing is asked for.
    """
    query = _through(connection, wanted, _page_query(wanted, cursor, "oldest")).where(ROWS.c.number <= last)
    rows = connection.execute(query.limit(_BATCH)).mappings().all()
    batch = [inspection_of(dict(row)) for row in rows]
    return batch, _cursor(batch[-1]) if len(batch) == _BATCH else None


def count_by(connection: Connection, wanted: InspectionFilter, by: CountedBy) -> dict[Any, int]:
    """How many inspections there are of each kind."""
    column = ROWS.c[by]
    query = sa.select(column, sa.func.count()).where(*conditions(wanted)).group_by(column)
    return {kind: count for kind, count in connection.execute(query)}  # noqa: C416


def by_column(connection: Connection, name: str, values: Sequence[str]) -> dict[str, Inspection]:
    """Inspections by the value of a unique column."""
    found: dict[str, Inspection] = {}
    for some in parts(values):
        rows = connection.execute(sa.select(ROWS).where(ROWS.c[name].in_(some))).mappings()
        found |= {row[name]: inspection_of(dict(row)) for row in rows}
    return found


def parts(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Values, as many at a time as a database takes in one question."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _through(connection: Connection, wanted: InspectionFilter, query: sa.Select[Any]) -> sa.Select[Any]:
    """The question, with the index to read where the database cannot know: SQLite has no idea how common a value is."""
    few = _few_scores(connection, wanted)
    if connection.dialect.name == "sqlite":
        return query.with_hint(ROWS, f"INDEXED BY inspections_{_index(wanted, few)}", "sqlite")
    if few:  # else it may go through all parts by time, hoping that a page of them comes soon
        range_of = sa.select(ROWS.c.number).where(*_score_range(wanted)).cte("few").prefix_with("MATERIALIZED")
        return query.where(ROWS.c.number.in_(sa.select(range_of.c.number)))
    return query


def _index(wanted: InspectionFilter, few_scores: bool) -> str:
    """The index with the fewest entries to read."""
    for name in ("serial", "lot"):
        if getattr(wanted, name) is not None:
            return name
    if wanted.word not in (None, "none"):
        return "spoken"
    if few_scores:
        return "score"
    if wanted.verdicts and "pass" not in wanted.verdicts:
        return "stopped"
    if wanted.in_audit:
        return "audit"
    for name, index in (("judged_as", "judged_as"), ("model_id", "model"), ("station", "station")):
        if getattr(wanted, name) is not None:
            return index
    return "at"


def _few_scores(connection: Connection, wanted: InspectionFilter) -> bool:
    """Whether the range of scores alone leaves so few parts that they can be sorted."""
    if not (said := _score_range(wanted)):
        return False
    some = sa.select(sa.literal(1)).select_from(ROWS).where(*said).limit(_FEW + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() <= _FEW


def _score_range(wanted: InspectionFilter) -> list[sa.ColumnElement[bool]]:
    said = [] if wanted.score_from is None else [ROWS.c.score >= wanted.score_from]
    return said if wanted.score_to is None else [*said, ROWS.c.score <= wanted.score_to]


def _page_query(wanted: InspectionFilter, cursor: str | None, order: Order) -> sa.Select[Any]:
    query = sa.select(ROWS).where(*conditions(wanted))
    place = sa.tuple_(ROWS.c.at, ROWS.c.number)
    if cursor is not None:
        at, number = _place(cursor)
        there = sa.tuple_(sa.bindparam(None, at, ROWS.c.at.type), sa.bindparam(None, number, ROWS.c.number.type))
        query = query.where(place < there if order == "newest" else place > there)
    if order == "newest":
        return query.order_by(ROWS.c.at.desc(), ROWS.c.number.desc())
    return query.order_by(ROWS.c.at, ROWS.c.number)


def _cursor(last: Inspection) -> str:
    """Where a page ends, as text that fits an address."""
    micros = (last.at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(json.dumps([micros, last.number]).encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, int]:
    """Where a page ends."""
    try:
        if len(cursor) > _LONGEST_CURSOR:
            raise ValueError
        micros, number = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if type(micros) is not int or type(number) is not int or not 0 <= number < 2**63:
            raise ValueError
        return _EPOCH + timedelta(microseconds=micros), number
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        raise ConfigError(
            f"cursor must be the one of the page before, got {cursor[:40]!r}. Leave it out for the first page."
        ) from None
