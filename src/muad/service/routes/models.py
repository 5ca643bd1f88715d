"""`/v1/models`: loading, shadowing, comparing, promoting and rolling back."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from muad.errors import ConfigError
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import DiskFullError
from muad.service.routes.faults import FAULTS
from muad.service.routes.schemas import ChangeOut, Fault, InspectionOut, ModelOut
from muad.service.station import Station, station_of

MOST_MODEL_BYTES = 8 * 2**30
router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    responses={**FAULTS, 409: {"model": Fault, "description": "The model cannot be used."}},
)
At = Annotated[Station, Depends(station_of)]
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
Id = Annotated[str, Path(alias="model_id", max_length=64)]
_FILE = {"schema": {"type": "string", "format": "binary"}}


class ModelsOut(BaseModel):
    """All models of the station, and files of its models folder that could be loaded."""

    models: list[ModelOut]
    available: list[str]


class NameIn(BaseModel):
    """A file in the station's models folder."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    reason: str | None = Field(default=None, max_length=4000)


class ReasonIn(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=4000)


class ShadowVerdict(BaseModel):
    """A part, and what the shadow says of it."""

    inspection: InspectionOut
    verdict: str
    score: float | None
    p_value: float | None
    judged_as: str | None


class Agreement(BaseModel):
    """How many parts were answered one way and judged another way by the shadow."""

    answered: str
    shadow: str
    parts: int


class ComparisonOut(BaseModel):
    """A shadow beside what was answered."""

    model: str
    parts: int
    agreeing: int
    verdicts: list[Agreement]
    differing: list[ShadowVerdict]


class ModelChangesOut(BaseModel):
    """What was done with models, and by whom."""

    changes: list[ChangeOut]


@router.get("")
def models(station: At, _: Operator) -> ModelsOut:
    """All models there ever were, the newest first."""
    return ModelsOut(models=[ModelOut.of(one) for one in station.models.all()], available=station.models.available())


@router.get("/changes")
def changes(station: At, _: Operator) -> ModelChangesOut:
    """Who loaded, shadowed and promoted what, and why; the latest 200."""
    return ModelChangesOut(changes=[ChangeOut.of(one) for one in station.history.changes(kind="model")])


@router.post(
    "",
    status_code=201,
    max_body_size=MOST_MODEL_BYTES,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _FILE}}},
)
async def upload(
    request: Request,
    station: At,
    person: Engineer,
    name: Annotated[str, Query(max_length=200, description="What to call it, such as bolts.muad.")],
    reason: Annotated[str | None, Query(max_length=4000)] = None,
) -> ModelOut:
    """Load a bundle that is sent as the body; it judges nothing yet."""
    label = PurePosixPath(name.replace("\\", "/")).name
    if not label:
        raise ConfigError(f"name must be that of a file, got {name[:40]!r}.")
    await run_in_threadpool(station.disk.require)
    with station.models.upload(label) as draft:
        try:
            with draft.open("wb") as file:
                async for piece in request.stream():
                    await run_in_threadpool(file.write, piece)
        except OSError as error:
            raise DiskFullError(f"model must be written to {draft.parent}, got {error.strerror}. Free space.") from None
        model = await run_in_threadpool(station.models.load, draft, who=person.name, name=label, reason=reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/load", status_code=201)
def load(wanted: NameIn, station: At, person: Engineer) -> ModelOut:
    """Load a bundle from the station's models folder; it judges nothing yet."""
    model = station.models.load(station.models.named(wanted.name), who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/rollback")
def roll_back(wanted: ReasonIn, station: At, person: Engineer) -> ModelOut:
    """Let the model that judged before this one judge again."""
    model = station.models.roll_back(who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/{model_id}/promote")
def promote(model_id: Id, wanted: ReasonIn, station: At, person: Engineer) -> ModelOut:
    """Let a model judge from the next photograph on; what was accepted before is judged by the former one."""
    model = station.models.promote(model_id, who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/{model_id}/shadow")
def shadow(model_id: Id, wanted: ReasonIn, station: At, person: Engineer) -> ModelOut:
    """Let a model judge along; what it says is recorded, and answers nothing."""
    model = station.models.put_in_shadow(model_id, who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/{model_id}/rest")
def rest(model_id: Id, wanted: ReasonIn, station: At, person: Engineer) -> ModelOut:
    """Let a shadow judge along no more."""
    model = station.models.rest(model_id, who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ModelOut.of(model)


@router.post("/{model_id}/retire")
def retire(model_id: Id, wanted: ReasonIn, station: At, person: Engineer) -> ModelOut:
    """Say that a model is of no use any more; its inspections stay."""
    model = station.models.rest(model_id, who=person.name, reason=wanted.reason, retire=True)
    station.feed.changed()
    return ModelOut.of(model)


@router.get("/{model_id}/comparison")
def comparison(
    model_id: Id,
    station: At,
    _: Operator,
    limit: Annotated[int, Query(ge=1, le=200, description="Most parts that are shown.")] = 50,
) -> ComparisonOut:
    """What a shadow said beside what was answered, with the latest parts on which they differ."""
    station.models.get(model_id)
    counts = station.history.agreement(model_id)
    differing = station.history.shadowed(model_id, only_other=True, limit=limit)
    return ComparisonOut(
        model=model_id,
        parts=sum(counts.values()),
        agreeing=sum(count for (answered, said), count in counts.items() if answered == said),
        verdicts=[
            Agreement(answered=answered, shadow=said, parts=count) for (answered, said), count in sorted(counts.items())
        ],
        differing=[
            ShadowVerdict(
                inspection=InspectionOut.of(part),
                verdict=said.verdict,
                score=said.score,
                p_value=said.p_value,
                judged_as=said.judged_as,
            )
            for part, said in differing
        ],
    )
