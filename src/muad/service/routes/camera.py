"""`/v1/camera`: a photograph now, please."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from starlette.exceptions import HTTPException

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.gateways.base import LaterError
from muad.service.history.record import require_text
from muad.service.routes.faults import FAULTS
from muad.service.routes.schemas import InspectionOut
from muad.service.routes.uploading import read_extras
from muad.service.station import Station, station_of

router = APIRouter(prefix="/v1/camera", tags=["camera"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Line = Annotated[Person, Depends(needs(Role.LINE))]


@router.post("/trigger", status_code=201, response_model=InspectionOut)
async def trigger(
    station: At,
    _: Line,
    camera: Annotated[str | None, Query(description="Its name, if there are several.")] = None,
    category: Annotated[str | None, Query(description="The product, if it is known.")] = None,
    serial: Annotated[str | None, Query(description="The part's number.")] = None,
    lot: Annotated[str | None, Query()] = None,
    station_name: Annotated[str | None, Query(alias="station", description="Where it is taken.")] = None,
    extras: Annotated[str | None, Query(description="A JSON object of texts and numbers.")] = None,
) -> Response:
    """Take the next picture of a camera and judge it; the inspection is on record before it is answered."""
    cameras = station.gateways.cameras
    name = next(iter(cameras)) if camera is None and len(cameras) == 1 else camera
    if name is None or name not in cameras:
        known = ", ".join(cameras) or "none, since station.toml has no [camera]"
        raise HTTPException(404, f"camera must be one of {known}, got {(name or 'no name')[:40]!r}.")
    for what, text in (("category", category), ("serial", serial), ("lot", lot), ("station", station_name)):
        require_text(what, text)
    facts: dict[str, Any] = {"category": category, "serial": serial, "lot": lot, "station": station_name}
    taken = cameras[name].trigger(**facts, extras=read_extras(extras))
    try:
        found = await asyncio.wrap_future(taken)
    except LaterError as error:
        raise HTTPException(503, f"{error}.", {"retry-after": str(math.ceil(error.wait_s))}) from None
    return Response(InspectionOut.of(found).model_dump_json(), 201, media_type="application/json")
