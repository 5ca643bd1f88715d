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
_FEW = 50_000
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
    found = _rows(connection, wanted, cursor, order, limit + 1)
    inspections = tuple(found[:limit])
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
    batch = _rows(connection, wanted, cursor, "oldest", _BATCH, last)
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


def _rows(
    connection: Connection,
    wanted: InspectionFilter,
    cursor: str | None,
    order: Order,
    limit: int,
    last: int | None = None,
) -> list[Inspection]:
    """Some inspections from a place on, through the index with the fewest entries.

    SQLite is told which: it has no idea how common a value is. Where few parts have such a score, those that fit are
    collected from their index and sorted, in PostgreSQL too: else both go through all parts by time, hoping that a page
    of them comes soon.
    """
    said = conditions(wanted) + ([] if cursor is None else [_beyond(cursor, order)])
    said += [] if last is None else [ROWS.c.number <= last]
    sorting = _sorting(ROWS.c, order)
    query = sa.select(ROWS).order_by(*sorting).limit(limit)
    few = _few_scores(connection, wanted)
    hint = f"INDEXED BY inspections_{_index(wanted, few)}"
    if few:
        fitting = sa.select(ROWS.c.at, ROWS.c.number).where(*said).with_hint(ROWS, hint, "sqlite")
        those = fitting.cte("fitting").prefix_with("MATERIALIZED")
        page = sa.select(those.c.number).order_by(*_sorting(those.c, order)).limit(limit)
        query = query.where(ROWS.c.number.in_(page)).with_hint(ROWS, "NOT INDEXED", "sqlite")
    else:
        query = query.where(*said).with_hint(ROWS, hint, "sqlite")
    return [inspection_of(dict(row)) for row in connection.execute(query).mappings()]


def _sorting(columns: Any, order: Order) -> list[sa.ColumnElement[Any]]:  # noqa: ANN401  of a table or a question
    both = [columns["at"], columns["number"]]
    return [column.desc() for column in both] if order == "newest" else both


def _beyond(cursor: str, order: Order) -> sa.ColumnElement[bool]:
    at, number = _place(cursor)
    place = sa.tuple_(ROWS.c.at, ROWS.c.number)
    there = sa.tuple_(sa.bindparam(None, at, ROWS.c.at.type), sa.bindparam(None, number, ROWS.c.number.type))
    return place < there if order == "newest" else place > there


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
