"""`/v1/events`: what happens at the station, as it happens, as server-sent events.

    id: 01a21ca12fe572d4af554dfff13c128c
    event: inspection                       a part was judged, by whichever process; data is its verdict
    event: changed                          a word, a limit or a model is another one; look again
    event: troubles                         data lists what keeps the station from judging; empty if nothing does

A client that was away sends the last id it has seen as `Last-Event-ID`, as browsers do by themselves, and gets what it
missed: none is left out, in the order of recording.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import HistoryError, Inspection
from muad.service.routes.faults import FAULTS
from muad.service.station import Station, station_of

_LOOK_S = 0.1  # for news of this process
_ASK_S = 1.0  # for news of others
_TROUBLES_S = 5.0
_BEAT_S = 15.0  # between signs of life, by which proxies and the station find that the other side is gone
_AT_ONCE = 100

router = APIRouter(prefix="/v1", tags=["events"], responses=FAULTS)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    station: Annotated[Station, Depends(station_of)],
    _: Annotated[Person, Depends(needs(Role.OPERATOR))],
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    after: Annotated[str | None, Query(max_length=64, description="The same as the header Last-Event-ID.")] = None,
) -> StreamingResponse:
    """What happens from now on, or since an inspection."""
    return StreamingResponse(
        _stream(station, last_event_id or after), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


async def _stream(station: Station, last: str | None) -> AsyncIterator[str]:
    if last is None:
        newest = await run_in_threadpool(station.history.since, None, 1)
        last = newest[-1].id if newest else None
    inspections, changes, told = -1, station.feed.changes, None
    asked = troubled = beat = 0.0
    yield "retry: 2000\n\n"
    while not station.stopping.is_set():
        now = time.monotonic()
        if station.feed.inspections != inspections or now - asked >= _ASK_S:
            inspections, asked = station.feed.inspections, now
            for found in await _news(station, last):
                last = found.id
                yield _event("inspection", _summary(found), found.id)
        if station.feed.changes != changes:
            changes = station.feed.changes
            yield _event("changed", {})
        if now - troubled >= _TROUBLES_S:
            troubled = now
            troubles = await run_in_threadpool(station.troubles)
            if troubles != told:
                told = troubles
                yield _event("troubles", troubles)
        if now - beat >= _BEAT_S:
            beat = now
            yield ": alive\n\n"
        await asyncio.sleep(_LOOK_S)


async def _news(station: Station, last: str | None) -> list[Inspection]:
    """What was recorded since; nothing while the history does not answer, which is then asked for again."""
    found: list[Inspection] = []
    try:
        while True:
            some = await run_in_threadpool(station.history.since, found[-1].id if found else last, _AT_ONCE)
            found += some
            if len(some) < _AT_ONCE or last is None:
                return found
    except HistoryError:
        return found


def _summary(found: Inspection) -> dict[str, object]:
    return {
        "id": found.id,
        "number": found.number,
        "at": found.at.isoformat(),
        "station": found.station,
        "verdict": found.verdict,
        "score": found.score,
        "judged_as": found.judged_as,
        "review_above": found.review_above,
        "reject_above": found.reject_above,
        "serial": found.serial,
        "lot": found.lot,
        "model": found.model_id,
    }


def _event(name: str, data: object, event_id: str | None = None) -> str:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"
