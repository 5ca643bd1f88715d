"""The models a station has loaded, what each does now, and what shadows would have said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from muad.service.history.faults import NotRecordedError
from muad.service.history.people import note_change
from muad.service.history.record import Inspection, Model, ModelState, ShadowJudgement
from muad.service.history.rows import inspection_of
from muad.service.history.search import ROWS, parts
from muad.service.history.tables import ModelRow, ShadowRow, stored_text, table_of

_MODELS = table_of(ModelRow)
SHADOWS = table_of(ShadowRow)
"""The table of what shadows said."""


def keep_model(connection: Connection, model: Model, reason: str | None) -> Model:
    """Keep a model that was loaded; the one already kept where it has been loaded before."""
    for known in list_models(connection):
        if known.id == model.id:
            return known
    connection.execute(sa.insert(_MODELS), {**asdict(model), "categories": list(model.categories)})
    note_change(connection, model.loaded_by, "model", model.id, new=model.state, reason=reason)
    return model


def list_models(connection: Connection) -> list[Model]:
    """All that were ever loaded, the newest first."""
    query = sa.select(_MODELS).order_by(_MODELS.c.loaded_at.desc(), _MODELS.c.id)
    rows = connection.execute(query).mappings()
    return [Model(**{**row, "categories": tuple(row["categories"])}) for row in rows]


def move_model(connection: Connection, model_id: str, state: ModelState, who: str, reason: str | None) -> Model:
    """Say what a model does from now on; of active models there is one, the former one is then `loaded`.

    Raises:
        NotRecordedError: There is no such model.
    """
    if connection.dialect.name == "postgresql":  # of two who promote at once, the second sees what the first did
        connection.execute(sa.select(_MODELS.c.id).order_by(_MODELS.c.id).with_for_update())
    known = {model.id: model for model in list_models(connection)}
    if model_id not in known:
        raise NotRecordedError(f"model must be one of the history, got {model_id[:40]!r}.")
    moved: dict[str, ModelState] = {model_id: state}
    if state == "active":
        moved |= {other.id: "loaded" for other in known.values() if other.state == "active" and other.id != model_id}
    for moved_id, new in moved.items():
        old = known[moved_id].state
        if old != new:
            connection.execute(sa.update(_MODELS).where(_MODELS.c.id == moved_id).values(state=new))
            note_change(connection, who, "model", moved_id, old=old, new=new, reason=reason)
    return replace(known[model_id], state=state)


def keep_shadows(connection: Connection, judged: Sequence[ShadowJudgement]) -> int:
    """Keep what shadows said of parts that are there; how many were kept. A second judgement of a part is left out."""
    there: set[str] = set()
    for ids in parts(sorted({stored_text(shadow.inspection_id) for shadow in judged})):
        query = sa.select(ROWS.c.id).where(ROWS.c.id.in_(ids))
        if connection.dialect.name == "postgresql":  # retention waits
            query = query.with_for_update(read=True, key_share=True)
        there |= set(connection.scalars(query))
    rows = [asdict(shadow) for shadow in judged if shadow.inspection_id in there]
    if not rows:
        return 0
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(SHADOWS).on_conflict_do_nothing(), rows)
    return len(rows)


def shadows_of(connection: Connection, inspection_ids: Sequence[str]) -> dict[str, list[ShadowJudgement]]:
    """What other models would have said of these parts, by the part's id."""
    found: dict[str, list[ShadowJudgement]] = {}
    for ids in parts([stored_text(inspection_id) for inspection_id in inspection_ids]):
        query = sa.select(SHADOWS).where(SHADOWS.c.inspection_id.in_(ids)).order_by(SHADOWS.c.model_id)
        for row in connection.execute(query).mappings():
            found.setdefault(row["inspection_id"], []).append(ShadowJudgement(**row))
    return found


def beside(
    connection: Connection, model_id: str, only_other: bool, limit: int
) -> list[tuple[Inspection, ShadowJudgement]]:
    """What a shadow said beside what was answered, the newest first."""
    query = (
        sa.select(ROWS, *(column.label(f"shadow_{column.name}") for column in SHADOWS.c))
        .join(SHADOWS, SHADOWS.c.inspection_id == ROWS.c.id)
        .where(SHADOWS.c.model_id == stored_text(model_id))
        .order_by(SHADOWS.c.inspection_id.desc())
        .limit(limit)
    )
    if only_other:
        query = query.where(SHADOWS.c.verdict != ROWS.c.verdict)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    said = [ShadowJudgement(**{column.name: row[f"shadow_{column.name}"] for column in SHADOWS.c}) for row in rows]
    return [(inspection_of(row), shadow) for row, shadow in zip(rows, said, strict=True)]


def agreement(connection: Connection, model_id: str) -> dict[tuple[str, str], int]:
    """How many parts there are by what was answered and what the shadow said, in this order."""
    query = (
        sa.select(ROWS.c.verdict, SHADOWS.c.verdict, sa.func.count())
        .join(SHADOWS, SHADOWS.c.inspection_id == ROWS.c.id)
        .where(SHADOWS.c.model_id == stored_text(model_id))
        .group_by(ROWS.c.verdict, SHADOWS.c.verdict)
    )
    return {(answered, shadow): count for answered, shadow, count in connection.execute(query)}
