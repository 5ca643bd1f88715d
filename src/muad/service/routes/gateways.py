"""`/v1/gateways`: how ways in and out do, and what a far end would not take."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field
from starlette.exceptions import HTTPException

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.routes.faults import FAULTS
from muad.service.station import Station, station_of

_MOST_SHOWN = 100

router = APIRouter(prefix="/v1/gateways", tags=["gateways"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]


class SetAsideOut(BaseModel):
    """A message that the far end would not take."""

    id: str = Field(description="Of the inspection.")
    at: AwareDatetime
    reason: str


class OutletOut(BaseModel):
    """How a way out does."""

    name: str
    waiting: int = Field(description="Messages that wait.")
    bytes: int = Field(description="Of those on disk.")
    sent: int = Field(description="Messages that were passed on since the start.")
    refused: int = Field(description="Messages that the far end would not take, since its file was made.")
    dropped: int = Field(description="Messages that were given up because too many waited.")
    failures: int = Field(description="Attempts that failed since the start.")
    away_for_s: float | None = Field(description="How long the far end has been away; null while it is there.")
    error: str | None
    set_aside: list[SetAsideOut] = Field(description="The last hundred messages that the far end would not take.")


class InletOut(BaseModel):
    """How a way in does."""

    name: str
    taken: int = Field(description="Photographs that were judged since the start.")
    refused: int = Field(description="Photographs that are never taken.")
    skipped: int = Field(description="Moments of a camera without a photograph.")
    waiting: int = Field(description="Files that are not done.")
    away_for_s: float | None = Field(description="How long it has been away; null while it is there.")
    error: str | None


class GatewaysOut(BaseModel):
    """All ways in and out that station.toml asks for."""

    outlets: list[OutletOut]
    inlets: list[InletOut]


class PutBackOut(BaseModel):
    """How many messages are tried again."""

    put_back: int


@router.get("", response_model=GatewaysOut)
def gateways(station: At, _: Operator) -> GatewaysOut:
    """How they do."""
    found = []
    for state in station.gateways.outlets:
        spool = station.gateways.spool(state.name)
        aside = [] if spool is None else spool.refused(_MOST_SHOWN)
        found.append(OutletOut(**asdict(state), set_aside=[SetAsideOut(**asdict(one)) for one in aside]))
    return GatewaysOut(outlets=found, inlets=[InletOut(**asdict(state)) for state in station.gateways.inlets])


@router.post("/{name}/again", response_model=PutBackOut)
def again(name: str, station: At, _: Engineer) -> PutBackOut:
    """Try again what the far end of a way out would not take, once what was wrong there is mended."""
    spool = station.gateways.spool(name)
    if spool is None:
        known = ", ".join(state.name for state in station.gateways.outlets) or "none, since none is in station.toml"
        raise HTTPException(404, f"name must be one of {known}, got {name[:40]!r}.")
    return PutBackOut(put_back=spool.put_back())
