"""`/v1/inspections.csv` and `.parquet`: whatever part of the history is asked for, as it is read from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import InspectionFilter
from muad.service.history.upkeep.export import csv_chunks, parquet_chunks
from muad.service.routes.faults import FAULTS
from muad.service.routes.found import wanted_inspections
from muad.service.station import Station, station_of

router = APIRouter(prefix="/v1", tags=["history"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
Wanted = Annotated[InspectionFilter, Depends(wanted_inspections)]
_CSV, _PARQUET = "text/csv; charset=utf-8", "application/vnd.apache.parquet"


@router.get(
    "/inspections.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def csv(at: At, _: Engineer, wanted: Wanted) -> StreamingResponse:
    """A row for each inspection, the oldest first."""
    return await _streamed(csv_chunks(at.history, wanted), _CSV, "inspections.csv")


@router.get(
    "/inspections.parquet",
    response_class=StreamingResponse,
    responses={200: {"content": {_PARQUET: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def parquet(at: At, _: Engineer, wanted: Wanted) -> StreamingResponse:
    """The same columns as Parquet."""
    return await _streamed(parquet_chunks(at.history, wanted), _PARQUET, "inspections.parquet")


async def _streamed(chunks: Iterator[bytes], kind: str, name: str) -> StreamingResponse:
    """An answer that is read as it is sent; what cannot be read at all is refused before it begins."""
    first = await run_in_threadpool(next, chunks, b"")
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_pieces(first, chunks), media_type=kind, headers=headers)


async def _pieces(first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    whole = chain([first], chunks)
    try:
        while piece := await run_in_threadpool(next, whole, b""):
            yield piece
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:  # the client may have gone before the end
            await run_in_threadpool(close)
