"""What the station tells others of an inspection: one message for every way out, with a published schema.

`docs/station-message.schema.json` is the schema of `InspectionMessage`. Within one `schema_version` keys may come, and
none goes or changes its meaning; a receiver leaves alone what it does not know.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from muad.decisions.regions import Region
    from muad.service.history import Inspection

SCHEMA_VERSION: Final = 1
MOST_REGIONS = 100
"""Regions that a message holds, the highest first; a photograph of noise may have thousands."""
MOST_POINTS = 200
"""Corners of a region's outline that a message holds; of a finer one every second, third, ... is kept."""
Verdict = Literal["pass", "review", "reject", "unknown product", "no verdict", "error"]
Point = tuple[int, int]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RegionPart(_Part):
    """A place of the photograph, in its pixels."""

    polygon: Annotated[list[Point], Field(description="Outline as x and y, at most 200 corners.")]
    area_px: Annotated[int, Field(description="Pixels inside.")]
    peak: Annotated[float | None, Field(description="Largest value of the anomaly map inside.")]
    peak_at: Annotated[Point, Field(description="Where that is, as x and y.")]
    mean: Annotated[float | None, Field(description="Mean value of the anomaly map inside.")]


class ReasonPart(_Part):
    """Why a person has to look at the photograph whatever its score."""

    what: Annotated[str, Field(description="In words.")]
    quantity: Annotated[str | None, Field(description="What was measured.")]
    value: Annotated[float | None, Field(description="What it was.")]
    limit: Annotated[float | None, Field(description="What it had to be above or below.")]


class InspectionMessage(_Part):
    """One inspection, as the station passes it on. The same message may come twice: its id says so."""

    message: Annotated[Literal["inspection"], Field(description="The kind of message.")]
    schema_version: Annotated[Literal[1], Field(description="Of this schema.")]
    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Of the inspection; sorts by time.")]
    number: Annotated[int, Field(ge=0, description="Rises with every inspection that is recorded.")]
    at: Annotated[datetime, Field(description="When the photograph came in, UTC.")]
    station: Annotated[str, Field(description="Where.")]
    source: Annotated[Literal["http", "watch", "camera", "batch"], Field(description="By which way.")]
    product: Annotated[str | None, Field(description="The product by whose limits it was judged.")]
    category: Annotated[str | None, Field(description="The product that was named with the photograph.")]
    recognised: Annotated[str | None, Field(description="The product it looks like, or `unknown product`.")]
    verdict: Annotated[Verdict, Field(description="`pass` alone lets the part go on.")]
    score: Annotated[float | None, Field(description="Anomaly score, unbounded; higher is more anomalous.")]
    p_value: Annotated[float | None, Field(description="How usual that is for a good part, in (0, 1].")]
    review_above: Annotated[float | None, Field(description="The limit above which a person looks.")]
    reject_above: Annotated[float | None, Field(description="The limit above which a part is rejected.")]
    map_limit: Annotated[float | None, Field(description="The map value above which a place is a region.")]
    reasons: Annotated[list[ReasonPart], Field(description="Why a person has to look whatever the score.")]
    notice: Annotated[str | None, Field(description="What a person should know.")]
    regions: Annotated[list[RegionPart], Field(description="Where it is anomalous, the highest first, at most 100.")]
    highest: Annotated[RegionPart | None, Field(description="The highest place, above the map limit or not.")]
    width: Annotated[int | None, Field(description="Of the photograph, in pixels.")]
    height: Annotated[int | None, Field(description="Of the photograph, in pixels.")]
    model_id: Annotated[str | None, Field(description="The model that judged it.")]
    serial: Annotated[str | None, Field(description="The part's number.")]
    lot: Annotated[str | None, Field(description="The lot's.")]
    extras: Annotated[dict[str, str], Field(description="Whatever else was sent along.")]
    error: Annotated[str | None, Field(description="Why there is no score.")]


def inspection_message(inspection: Inspection) -> dict[str, Any]:
    """The message of an inspection as plain values that are valid JSON."""
    found = inspection
    message = InspectionMessage(
        message="inspection",
        schema_version=SCHEMA_VERSION,
        id=found.id,
        number=found.number,
        at=found.at.astimezone(UTC),
        station=found.station,
        source=found.source,
        product=found.judged_as,
        category=found.category,
        recognised=found.recognised,
        verdict=found.verdict,
        score=found.score,
        p_value=found.p_value,
        review_above=found.review_above,
        reject_above=found.reject_above,
        map_limit=found.map_limit,
        reasons=[
            ReasonPart(what=reason.what, quantity=reason.quantity, value=reason.value, limit=reason.limit)
            for reason in found.reasons
        ],
        notice=found.notice,
        regions=[_region(region) for region in found.regions[:MOST_REGIONS]],
        highest=None if found.highest is None else _region(found.highest),
        width=found.width,
        height=found.height,
        model_id=found.model_id,
        serial=found.serial,
        lot=found.lot,
        extras=dict(found.extras),
        error=found.error,
    )
    plain: dict[str, Any] = _finite(message.model_dump(mode="json"))
    return plain


def json_schema() -> dict[str, Any]:
    """The schema of the message, JSON Schema 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **InspectionMessage.model_json_schema(mode="serialization"),
    }


def _region(region: Region) -> RegionPart:
    step = -(-len(region.polygon) // MOST_POINTS)  # rounded up
    points = region.polygon[:: max(1, step)]
    return RegionPart(
        polygon=[(int(x), int(y)) for x, y in points],
        area_px=region.area_px,
        peak=region.peak,
        peak_at=(int(region.peak_at[0]), int(region.peak_at[1])),
        mean=region.mean,
    )


def _finite(value: Any) -> Any:  # noqa: ANN401  any plain value
    """The same without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
