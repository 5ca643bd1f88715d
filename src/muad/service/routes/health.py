"""`/healthz`, `/readyz` and `/metrics`: for those who watch the station from outside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from muad.service.access.guard import needs, public
from muad.service.access.roles import Role
from muad.service.routes.faults import FAULTS
from muad.service.station import Station, station_of

router = APIRouter(tags=["health"], responses={429: FAULTS[429]})
At = Annotated[Station, Depends(station_of)]


class Health(BaseModel):
    """Whether the process answers."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether it judges."""

    ready: bool
    troubles: list[str]


@router.get("/healthz", dependencies=[Depends(public)])
async def alive() -> Health:
    """The process answers; whether it can judge, says `/readyz`."""
    return Health()


@router.get(
    "/readyz",
    dependencies=[Depends(public)],
    responses={503: {"model": Readiness, "description": "It cannot judge now."}},
)
def ready(station: At, response: Response) -> Readiness:
    """Whether photographs are judged and recorded now."""
    troubles = station.troubles()
    if troubles:
        response.status_code = 503
    return Readiness(ready=not troubles, troubles=troubles)


@router.get(
    "/metrics",
    dependencies=[Depends(needs(Role.LINE))],
    response_class=Response,
    responses={401: FAULTS[401], 403: FAULTS[403]},
)
def metrics(station: At) -> Response:
    """Counts, times and gauges in Prometheus' text format."""
    return Response(station.metrics.text(), media_type=CONTENT_TYPE_LATEST)
