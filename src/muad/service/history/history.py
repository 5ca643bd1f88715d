"""The way into the station's memory: recording, finding, words of people, models, changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from muad.service.history.database import Database
from muad.service.history.disk import Disk
from muad.service.history.faults import NotRecordedError
from muad.service.history.filters import InspectionFilter
from muad.service.history.ids import new_id, now
from muad.service.history.models import (
    agreement,
    beside,
    keep_model,
    keep_shadows,
    list_models,
    move_model,
    shadows_of,
)
from muad.service.history.people import keep_word, list_changes, note_change, stream_words
from muad.service.history.record import (
    Change,
    ChangeKind,
    DriftSignal,
    Inspection,
    Model,
    ModelState,
    NewInspection,
    Saying,
    ShadowJudgement,
    Word,
)
from muad.service.history.rows import inspection_of, inspection_values
from muad.service.history.search import (
    ROWS,
    CountedBy,
    Order,
    Page,
    by_column,
    conditions,
    count_by,
    find_batch,
    find_page,
    last_number,
)
from muad.service.history.signals import end_signal, keep_signal, list_signals
from muad.service.history.tables import stored_text

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of recorded parts, the oldest first.

    Attributes:
        at: Seconds since 1970, UTC.
        scores: Their scores.
        verdicts: What they ended with.
    """

    at: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    verdicts: tuple[str, ...]


class History:
    """The station's memory. Any thread may ask; several processes may share one.

    Args:
        url: `sqlite:///path/to/history.sqlite` or `postgresql://user:password@host/name`.
        disk: Where room is kept free; None where nobody watches.

    Raises:
        ConfigError: The URL names no database.
        HistoryError: It cannot be opened.
    """

    def __init__(self, url: str, disk: Disk | None = None) -> None:
        self.database = Database(url)
        self.disk = disk

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    # Inspections

    def record(self, new: Sequence[NewInspection], shadows: Sequence[ShadowJudgement] = ()) -> list[Inspection]:
        """Record inspections, all or none; when this returns they are on the disk.

        Args:
            new: Inspections. Where an idempotency key has been recorded, the inspection recorded first is returned in
                its place: its id is another one.
            shadows: What other models would have said of them; of those that were recorded before they are left out.

        Raises:
            DiskFullError: No room; nothing of it is recorded.
            HistoryUnavailableError: The database does not answer.
        """
        if not new:
            return []
        with self._changing() as connection:
            self.database.in_order(connection)
            connection.execute(self._insert_once(), [inspection_values(one) for one in new])
            recorded = by_column(connection, "id", [one.id for one in new])
            keys = [one.idempotency_key for one in new if one.id not in recorded and one.idempotency_key is not None]
            earlier = by_column(connection, "idempotency_key", keys)
            keep_shadows(connection, [shadow for shadow in shadows if shadow.inspection_id in recorded])
        return [recorded.get(one.id) or earlier[one.idempotency_key or ""] for one in new]

    def get(self, inspection_id: str) -> Inspection:
        """One inspection.

        Raises:
            NotRecordedError: There is none of this id.
        """
        with self.database.reading() as connection:
            row = connection.execute(sa.select(ROWS).where(ROWS.c.id == stored_text(inspection_id))).mappings().first()
        if row is None:
            raise NotRecordedError(f"inspection must be one of the history, got {inspection_id[:40]!r}.")
        return inspection_of(dict(row))

    def by_idempotency(self, key: str) -> Inspection | None:
        """The inspection that was recorded with a key, or None."""
        with self.database.reading() as connection:
            return by_column(connection, "idempotency_key", [stored_text(key)]).get(key)

    def search(
        self, wanted: InspectionFilter, cursor: str | None = None, limit: int = 50, *, order: Order = "newest"
    ) -> Page:
        """One page of what is asked for. A part recorded meanwhile never moves a page.

        Args:
            wanted: What is asked for.
            cursor: Of the page before; None for the first.
            limit: Inspections a page, at most `search.MOST_ROWS`.
            order: The newest or the oldest first.

        Raises:
            ConfigError: The cursor is none of ours, or the limit is out of range.
        """
        with self.database.reading() as connection:
            return find_page(connection, wanted, cursor, limit, order)

    def counts(self, wanted: InspectionFilter, *, by: CountedBy) -> dict[Any, int]:
        """How many there are of each kind; what is None counts under None."""
        with self.database.reading() as connection:
            return count_by(connection, wanted, by)

    def stream(self, wanted: InspectionFilter) -> Iterator[Inspection]:
        """All that is asked for, the oldest first; see `batches`."""
        for batch in self.batches(wanted):
            yield from batch

    def batches(self, wanted: InspectionFilter) -> Iterator[list[Inspection]]:
        """All that is asked for, the oldest first, some at a time: no more are held, and the database is not held up.

        What is recorded after the first batch is left out; a word said meanwhile may be seen.
        """
        with self.database.reading() as connection:
            last = last_number(connection)
        cursor = None
        while True:
            with self.database.reading() as connection:
                batch, cursor = find_batch(connection, wanted, cursor, last)
            if batch:
                yield batch
            if cursor is None:
                return

    def since(self, inspection_id: str | None, limit: int = 100) -> list[Inspection]:
        """What was recorded after an inspection, in the order of recording; none is ever left out.

        Args:
            inspection_id: The last one that was seen; None, or one that is not there, for the last `limit`.
            limit: At most so many.
        """
        with self.database.reading() as connection:
            number = None
            if inspection_id is not None:
                asked = sa.select(ROWS.c.number).where(ROWS.c.id == stored_text(inspection_id))
                number = connection.execute(asked).scalar()
            query = sa.select(ROWS).limit(limit)
            if number is None:
                rows = connection.execute(query.order_by(ROWS.c.number.desc())).mappings().all()[::-1]
            else:
                rows = connection.execute(query.where(ROWS.c.number > number).order_by(ROWS.c.number)).mappings().all()
        return [inspection_of(dict(row)) for row in rows]

    def scores(
        self,
        judged_as: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str | None = None,
    ) -> Scores:
        """Scores of a product's parts, the oldest first; parts without a score are left out."""
        wanted = InspectionFilter(judged_as=judged_as, since=since, until=until, model_id=model)
        query = (
            sa.select(ROWS.c.at, ROWS.c.score, ROWS.c.verdict)
            .where(*conditions(wanted), ROWS.c.score.is_not(None))
            .order_by(ROWS.c.at, ROWS.c.number)
        )
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        return Scores(
            at=np.array([row[0].timestamp() for row in rows], np.float64),
            scores=np.array([row[1] for row in rows], np.float64),
            verdicts=tuple(row[2] for row in rows),
        )

    # What other models would have said

    def shadows(self, inspection_ids: Sequence[str]) -> dict[str, list[ShadowJudgement]]:
        """What other models would have said of these parts, by the part's id."""
        with self.database.reading() as connection:
            return shadows_of(connection, inspection_ids)

    def shadowed(
        self, model_id: str, *, only_other: bool = False, limit: int = 200
    ) -> list[tuple[Inspection, ShadowJudgement]]:
        """What a shadow said beside what was answered, the newest first.

        Args:
            model_id: The shadow.
            only_other: Only the parts it would have judged otherwise.
            limit: At most so many.
        """
        with self.database.reading() as connection:
            return beside(connection, model_id, only_other, limit)

    def agreement(self, model_id: str) -> dict[tuple[str, str], int]:
        """How many parts there are by what was answered and what the shadow said, in this order."""
        with self.database.reading() as connection:
            return agreement(connection, model_id)

    def add_shadows(self, judged: Sequence[ShadowJudgement]) -> int:
        """Keep what shadows said after the answer; how many were kept: inspections that are gone are left out."""
        if not judged:
            return 0
        with self._changing() as connection:
            return keep_shadows(connection, judged)

    # Words of people

    def add_word(
        self,
        inspection_id: str,
        *,
        who: str,
        word: Saying,
        defect_type: str | None = None,
        note: str | None = None,
        mask: str | None = None,
    ) -> Word:
        """Keep what a person says of a part; earlier words stay.

        Raises:
            NotRecordedError: There is no such inspection.
            ConfigError: The word cannot be kept.
        """
        at = now()
        said = Word(
            id=new_id(at),
            inspection_id=inspection_id,
            at=at,
            who=who,
            word=word,
            defect_type=defect_type,
            note=note,
            mask=mask,
        )
        with self._changing() as connection:
            keep_word(connection, said)
        return said

    def words(self, inspection_id: str) -> list[Word]:
        """What people said of a part, the oldest first."""
        return list(self.stream_words(inspection_id=inspection_id))

    def stream_words(
        self, *, inspection_id: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Word]:
        """What people said, the oldest first: of one part, or in a time."""
        with self.database.reading() as connection:
            yield from stream_words(connection, inspection_id, since, until)

    # Models

    def add_model(self, model: Model, *, reason: str | None = None) -> Model:
        """Keep a model that was loaded; the one already kept where it has been loaded before."""
        with self._changing() as connection:
            return keep_model(connection, model, reason)

    def models(self) -> list[Model]:
        """All that were ever loaded, the newest first."""
        with self.database.reading() as connection:
            return list_models(connection)

    def set_model_state(self, model_id: str, state: ModelState, *, who: str, reason: str | None = None) -> Model:
        """Say what a model does from now on. Of active models there is one: the former one is then `loaded`.

        Raises:
            NotRecordedError: There is no such model.
        """
        with self._changing() as connection:
            return move_model(connection, model_id, state, who, reason)

    # Drift

    def add_signal(self, signal: DriftSignal) -> DriftSignal:
        """Keep a signal that was raised."""
        with self._changing() as connection:
            keep_signal(connection, signal)
        return signal

    def end_signal(self, signal_id: str, at: datetime, note: str | None = None) -> None:
        """Say that a signal is over, and why.

        Raises:
            NotRecordedError: There is no such signal, or it has ended.
        """
        with self._changing() as connection:
            end_signal(connection, signal_id, at, note)

    def signals(
        self,
        since: datetime | None = None,
        station: str | None = None,
        judged_as: str | None = None,
        *,
        open_only: bool = False,
    ) -> list[DriftSignal]:
        """Signals of drift, those raised last first."""
        with self.database.reading() as connection:
            return list_signals(connection, since, station, judged_as, open_only)

    # Who did what

    def add_change(
        self,
        who: str,
        kind: ChangeKind,
        subject: str,
        *,
        old: str | None = None,
        new: str | None = None,
        reason: str | None = None,
    ) -> Change:
        """Keep who changed what.

        Raises:
            ConfigError: It cannot be kept.
        """
        with self._changing() as connection:
            return note_change(connection, who, kind, subject, old=old, new=new, reason=reason)

    def changes(self, kind: ChangeKind | None = None, subject: str | None = None, limit: int = 200) -> list[Change]:
        """Who changed what, the newest first."""
        with self.database.reading() as connection:
            return list_changes(connection, kind, subject, limit)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """A transaction, where there is room for one."""
        if self.disk is not None:
            self.disk.require()
        with self.database.writing() as connection:
            yield connection

    def _insert_once(self) -> sqlite.Insert | postgresql.Insert:
        """An insert that leaves out what has been recorded under the same idempotency key."""
        if self.database.is_sqlite:
            return sqlite.insert(ROWS).on_conflict_do_nothing(index_elements=["idempotency_key"])
        return postgresql.insert(ROWS).on_conflict_do_nothing(index_elements=["idempotency_key"])
