"""`/v1/inspections`: photographs in, verdicts out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from muad.errors import ConfigError
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection
from muad.service.judging.job import Asked, Job
from muad.service.judging.queue import BusyError
from muad.service.judging.uploads import ACCEPTED_TYPES, UploadError
from muad.service.routes.faults import FAULTS, GONE
from muad.service.routes.schemas import Fault, InspectionOut, InspectionsOut, Queued, QueuedOut
from muad.service.routes.uploading import FACTS, IMAGE_FIELD, IMAGES_FIELD, ITEMS_FIELD, read_one, read_several
from muad.service.station import Station, station_of

MOST_UPLOAD_BYTES = 2**31
"""Of a request with photographs; what one may have is `[uploads]` in station.toml."""
_PHOTOGRAPH = {"type": "string", "format": "binary"}
_TEXTS: dict[str, Any] = {
    name: {"type": "string", **({"description": "A JSON object of texts and numbers."} if name == "extras" else {})}
    for name in FACTS
}
_ONE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {IMAGE_FIELD: _PHOTOGRAPH, **_TEXTS},
                    "required": [IMAGE_FIELD],
                    "additionalProperties": False,
                }
            },
            **{kind: {"schema": _PHOTOGRAPH} for kind in ACCEPTED_TYPES},
        },
    }
}
_SEVERAL: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        IMAGES_FIELD: {"type": "array", "items": _PHOTOGRAPH, "minItems": 1},
                        ITEMS_FIELD: {"type": "string", "description": "JSON: a list of objects with facts of each."},
                        **{name: shape for name, shape in _TEXTS.items() if name != "idempotency_key"},
                    },
                    "required": [IMAGES_FIELD],
                    "additionalProperties": False,
                }
            }
        },
    }
}
_POST_FAULTS: dict[int | str, dict[str, Any]] = {
    413: {"model": Fault, "description": "Too large."},
    415: {"model": Fault, "description": "No photograph of a format that is read."},
    503: {"model": Fault, "description": "No place in the queue; Retry-After says when there may be."},
    507: {"model": Fault, "description": "The disk is full; nothing was recorded."},
}

router = APIRouter(prefix="/v1", tags=["inspections"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Line = Annotated[Person, Depends(needs(Role.LINE))]
Wait = Annotated[bool, Query(description="Whether to answer with the verdict, or at once with the id.")]


@router.post(
    "/inspections",
    status_code=201,
    response_model=InspectionOut,
    max_body_size=MOST_UPLOAD_BYTES,
    openapi_extra=_ONE,
    responses={
        200: {"model": InspectionOut, "description": "Judged before, with the same idempotency key."},
        202: {"model": Queued, "description": "Accepted with wait=false."},
        409: {"model": Fault, "description": "The idempotency key belongs to another photograph."},
        **_POST_FAULTS,
    },
)
async def inspect(
    request: Request,
    station: At,
    person: Line,
    wait: Wait = True,
    category: Annotated[str | None, Query(description="The product, if it is known.")] = None,  # noqa: ARG001
    serial: Annotated[str | None, Query(description="The part's number.")] = None,  # noqa: ARG001
    lot: Annotated[str | None, Query()] = None,  # noqa: ARG001
    station_name: Annotated[str | None, Query(alias="station", description="Where it was taken.")] = None,  # noqa: ARG001
    extras: Annotated[str | None, Query(description="A JSON object of texts and numbers.")] = None,  # noqa: ARG001
    idempotency_key: Annotated[str | None, Query(description="Also as the header Idempotency-Key.")] = None,  # noqa: ARG001
) -> Response:
    """Judge one photograph: a raw image with its facts in the query, or a form with a file named `image`.

    The inspection is on record before it is answered. With the same idempotency key it is judged once.
    """
    asked = await read_one(request, station, person)
    if (known := await _recorded(station, asked)) is not None:
        return _answer(InspectionOut.of(known), 200)
    (job,) = _submit(station, [asked])
    if job.asked is not asked:
        _require_same(job.asked.upload.content == asked.upload.content)
    where = str(request.app.url_path_for("inspection", inspection_id=job.id))
    if not wait:
        return _answer(Queued(id=job.id), 202, where)
    if not await _until_done(request, station, [job]):
        return Response(status_code=GONE)
    found = job.done.result()
    is_new = job.asked is asked and found.id == job.id
    return _answer(InspectionOut.of(found, job.times), 201 if is_new else 200, where)


@router.post(
    "/inspections/batch",
    status_code=201,
    response_model=InspectionsOut,
    max_body_size=MOST_UPLOAD_BYTES,
    openapi_extra=_SEVERAL,
    responses={202: {"model": QueuedOut, "description": "Accepted with wait=false."}, **_POST_FAULTS},
)
async def inspect_batch(request: Request, station: At, person: Line, wait: Wait = True) -> Response:
    """Judge some photographs: a form with files named `images`, and `items`, a list of facts of each; all or none."""
    asked = await read_several(request, station, person)
    keys = [one.key for one in asked if one.key is not None]
    if len(set(keys)) < len(keys):
        raise ConfigError("idempotency_key must be another one for each photograph, got one twice.")
    known = [await _recorded(station, one) for one in asked]
    jobs = _submit(station, [one for one, there in zip(asked, known, strict=True) if there is None])
    if not wait:
        rest = iter(jobs)
        ids = [next(rest).id if there is None else there.id for there in known]
        return _answer(QueuedOut(queued=[Queued(id=one) for one in ids]), 202)
    if not await _until_done(request, station, jobs):
        return Response(status_code=GONE)
    rest = iter(jobs)
    found = []
    for there in known:
        if there is not None:
            found.append(InspectionOut.of(there))
        else:
            job = next(rest)
            found.append(InspectionOut.of(job.done.result(), job.times))
    return _answer(InspectionsOut(inspections=found), 201)


@router.get(
    "/inspections/{inspection_id}",
    name="inspection",
    response_model=InspectionOut,
    responses={202: {"model": Queued, "description": "Accepted, and not yet judged."}},
)
def inspection(inspection_id: str, station: At, _: Line) -> Response:
    """One inspection by its id."""
    if station.judge.accepted(inspection_id) is not None:
        return _answer(Queued(id=inspection_id), 202)
    return _answer(InspectionOut.of(station.history.get(inspection_id)), 200)


def _answer(content: BaseModel, status: int, location: str | None = None) -> Response:
    """The content as JSON; it was checked when it was made, and is not checked again."""
    headers = {} if location is None else {"location": location}
    return Response(content.model_dump_json(), status, headers, "application/json")


def _submit(station: Station, asked: Sequence[Asked]) -> list[Job]:
    try:
        return station.judge.submit(asked)
    except BusyError:
        station.metrics.refused.labels("busy").inc()
        raise


async def _recorded(station: Station, asked: Asked) -> Inspection | None:
    """What was recorded under its key before."""
    if asked.key is None:
        return None
    known = await run_in_threadpool(station.history.by_idempotency, asked.key)
    if known is not None:
        _require_same(known.kept.photo_sha256 in (None, await run_in_threadpool(_digest, asked)))
    return known


def _require_same(same: bool) -> None:
    if not same:
        raise UploadError(409, "idempotency key must belong to one photograph, got another one. Make a key for each.")


async def _until_done(request: Request, station: Station, jobs: Sequence[Job]) -> bool:
    """Wait for all; False if the client went away, whose places are then free.

    Raises:
        MuadError: One could not be recorded; of the others that are still waiting, nobody is told.
    """
    answers = [asyncio.wrap_future(job.done) for job in jobs]
    gone = asyncio.create_task(_gone(request))
    try:
        for answer in answers:
            waited: set[asyncio.Future[Any]] = {answer, gone}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                break
            answer.result()
        else:
            return True
    finally:
        gone.cancel()
        for answer in answers:
            if not answer.done():
                answer.add_done_callback(_heard)
    for job in jobs:
        station.judge.withdraw(job)
    return False


def _digest(asked: Asked) -> str:
    return hashlib.sha256(asked.upload.content).hexdigest()


def _heard(answer: asyncio.Future[Inspection]) -> None:
    """Take note of an answer that nobody waits for, so that a fault in it is not reported as forgotten."""
    if not answer.cancelled():
        answer.exception()


async def _gone(request: Request) -> None:
    """Return once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
