"""`GET /v1/inspections`, and what belongs to one: its pictures, and what people say of it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from muad.errors import ConfigError
from muad.images.reading import ValueRange
from muad.service.access.guard import needs
from muad.service.access.headers import PICTURE_POLICY
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection, InspectionFilter, new_id, now
from muad.service.history.filters import AskedWord
from muad.service.history.search import MOST_ROWS
from muad.service.judging.drawing import overlay, smaller_photograph
from muad.service.judging.uploads import check_upload
from muad.service.routes.faults import FAULTS
from muad.service.routes.schemas import InspectionOut, PageOut, WordIn, WordOut, WordsOut
from muad.service.station import Station, station_of

router = APIRouter(prefix="/v1", tags=["history"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Line = Annotated[Person, Depends(needs(Role.LINE))]
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Id = Annotated[str, Path(alias="inspection_id", max_length=64)]
Text = Annotated[str | None, Query(max_length=200)]
Longest = Annotated[int | None, Query(ge=16, le=8192, description="Pixels of the longer side, at most.")]
_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "tif": "image/tiff", "bmp": "image/bmp", "webp": "image/webp"}
_MEDIA |= {"gif": "image/gif", "jp2": "image/jp2", "ppm": "image/x-portable-anymap"}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


def wanted_inspections(
    since: Annotated[AwareDatetime | None, Query(description="At or after it.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before it.")] = None,
    station: Text = None,
    judged_as: Annotated[str | None, Query(max_length=200, description="The product.")] = None,
    verdict: Annotated[list[str] | None, Query(max_length=6, description="One of these.")] = None,
    serial: Text = None,
    lot: Text = None,
    model: Text = None,
    score_from: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    score_to: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    word: AskedWord | None = None,
    in_audit: bool | None = None,
    source: Text = None,
) -> InspectionFilter:
    """What a request asks for; a dependency of every route that lists inspections."""
    return InspectionFilter(
        since=since,
        until=until,
        station=station,
        judged_as=judged_as,
        verdicts=tuple(verdict or ()),
        serial=serial,
        lot=lot,
        model_id=model,
        score_from=score_from,
        score_to=score_to,
        word=word,
        in_audit=in_audit,
        source=source,
    )


@router.get("/inspections")
def search(
    station: Annotated[Station, Depends(station_of)],
    _: Operator,
    wanted: Annotated[InspectionFilter, Depends(wanted_inspections)],
    cursor: Annotated[str | None, Query(max_length=400, description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
    oldest_first: bool = False,
) -> PageOut:
    """A page of the history; what is recorded meanwhile moves nothing from one page to the next."""
    page = station.history.search(wanted, cursor, limit, order="oldest" if oldest_first else "newest")
    return PageOut(inspections=[InspectionOut.of(one) for one in page.inspections], cursor=page.cursor)


@router.get("/inspections/{inspection_id}/photo", response_class=Response, responses=_PICTURE)
def photo(inspection_id: Id, station: At, _: Line, longest: Longest = None) -> Response:
    """The photograph as it was sent; with `longest`, upright and no larger than that, as JPEG."""
    found = station.history.get(inspection_id)
    if longest is not None:
        return _picture(
            smaller_photograph(found, station.pictures, longest, _range(station)),
            found,
            "jpg",
        )
    return _picture(station.pictures.photo(found.kept), found, (found.kept.photo or "").rpartition(".")[2])


@router.get("/inspections/{inspection_id}/overlay", response_class=Response, responses=_PICTURE)
def drawn(inspection_id: Id, station: At, _: Line, longest: Longest = None) -> Response:
    """The photograph with anomalous places coloured and outlined, as JPEG; drawn when it is asked for."""
    found = station.history.get(inspection_id)
    return _picture(overlay(found, station.pictures, longest, _range(station)), found, "jpg")


@router.get("/inspections/{inspection_id}/map", response_class=Response, responses=_PICTURE)
def anomaly_map(inspection_id: Id, station: At, _: Line) -> Response:
    """The small map as 16-bit PNG: 0 where nothing was inspected, else 1 to 65,535 from map-low to map-high.

    Both are in the headers of the answer.
    """
    found = station.history.get(inspection_id)
    answer = _picture(station.pictures.map_file(found.kept), found, "png")
    answer.headers["map-low"], answer.headers["map-high"] = repr(found.kept.map_low), repr(found.kept.map_high)
    return answer


@router.post("/inspections/{inspection_id}/word", status_code=201)
def say(inspection_id: Id, said: WordIn, station: At, person: Operator) -> WordOut:
    """Keep what a person says of a part; what was said before stays."""
    mask = None
    if said.mask is not None:
        mask = _kept_mask(station, station.history.get(inspection_id), said.mask)
    word = station.history.add_word(
        inspection_id,
        who=person.name,
        word=said.word,
        defect_type=said.defect_type or None,
        note=said.note or None,
        mask=mask,
    )
    station.feed.changed()
    return WordOut.of(word)


@router.get("/inspections/{inspection_id}/words")
def words(inspection_id: Id, station: At, _: Operator) -> WordsOut:
    """What people said of a part, the oldest first."""
    station.history.get(inspection_id)
    return WordsOut(words=[WordOut.of(word) for word in station.history.words(inspection_id)])


def _range(station: Station) -> ValueRange | None:
    """What is shown as black and white of photographs with more than 8 bits."""
    return station.models.active.predictor.value_range


def _picture(content: bytes, found: Inspection, suffix: str) -> Response:
    headers = {
        "content-security-policy": PICTURE_POLICY,
        "content-disposition": f'inline; filename="{found.id}.{suffix}"',
        "cache-control": "private, max-age=86400",
    }
    return Response(content, 200, headers, _MEDIA.get(suffix, "application/octet-stream"))


def _kept_mask(station: Station, found: Inspection, text: str) -> str:
    """Where a mask lies that came as base64 of a PNG of the photograph's size."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("mask must be a PNG in base64, got text that is none.") from None
    upload = check_upload(content, "image/png", station.settings.uploads)
    if (upload.width, upload.height) != (found.width, found.height):
        raise ConfigError(
            f"mask must have the photograph's size, {found.width} by {found.height}, got {upload.width} by "
            f"{upload.height}."
        )
    at = now()
    return station.pictures.keep_mask(new_id(at), at, content)
