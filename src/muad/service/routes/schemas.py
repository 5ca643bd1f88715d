"""What goes over the wire: the shapes of answers and of what is sent, as OpenAPI publishes them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from muad.service.history import Change, Inspection, Model, Word


class Fault(BaseModel):
    """Why something was not done, in one sentence, with the remedy."""

    error: str


class Place(BaseModel):
    """A region of the photograph, in its own pixels from the top left."""

    polygon: list[tuple[int, int]]
    area_px: int
    peak: float
    peak_at: tuple[int, int]
    mean: float


class ReasonOut(BaseModel):
    """Why a person has to look at it whatever its score."""

    what: str
    quantity: str | None
    value: float | None
    limit: float | None


class LimitsUsed(BaseModel):
    """The limits that an inspection was judged by; null where there was none."""

    review_above: float | None
    reject_above: float | None
    map_limit: float | None


class InspectionOut(BaseModel):
    """What the station says of one photograph."""

    id: str
    number: int = Field(description="Rises in the order of recording.")
    at: datetime = Field(description="When the photograph was accepted, UTC.")
    station: str
    source: str
    verdict: str = Field(description="pass, review, reject, unknown product, no verdict (without limits) or error.")
    score: float | None
    p_value: float | None = Field(description="How usual the score is for a good part, in (0, 1].")
    category: str | None = Field(description="The product that was given.")
    judged_as: str | None = Field(description="The product whose limits were used.")
    recognised: str | None = Field(description="The product it looks like.")
    product_p: float | None = Field(description="How usual the photograph is for that product, in (0, 1].")
    limits: LimitsUsed
    colour_scale: tuple[float, float] | None
    reasons: list[ReasonOut]
    notice: str | None
    regions: list[Place] = Field(description="Where the map is above its limit, the highest peak first.")
    highest: Place | None = Field(description="The highest place, be it above the limit or not.")
    width: int | None
    height: int | None
    model: str | None = Field(description="The model that judged it.")
    serial: str | None
    lot: str | None
    extras: dict[str, str]
    error: str | None = Field(description="Why there is no score.")
    times: dict[str, float] = Field(description="Milliseconds by stage.")
    brightness: float | None
    sharpness: float | None
    in_audit: bool
    word: str | None
    word_at: datetime | None
    photo_sha256: str | None
    pictures_removed: bool

    @classmethod
    def of(cls, found: Inspection, times: dict[str, float] | None = None) -> InspectionOut:
        """From the history.

        Args:
            found: As it is there.
            times: Of the job, which knows also how long recording took; None for those of the history.
        """
        return cls(
            id=found.id,
            number=found.number,
            at=found.at,
            station=found.station,
            source=found.source,
            verdict=found.verdict,
            score=found.score,
            p_value=found.p_value,
            category=found.category,
            judged_as=found.judged_as,
            recognised=found.recognised,
            product_p=found.product_p,
            limits=LimitsUsed(
                review_above=found.review_above, reject_above=found.reject_above, map_limit=found.map_limit
            ),
            colour_scale=found.colour_scale,
            reasons=[ReasonOut(**reason.to_json()) for reason in found.reasons],
            notice=found.notice,
            regions=[Place(**region.to_json()) for region in found.regions],
            highest=None if found.highest is None else Place(**found.highest.to_json()),
            width=found.width,
            height=found.height,
            model=found.model_id,
            serial=found.serial,
            lot=found.lot,
            extras=dict(found.extras),
            error=found.error,
            times={stage: round(spent, 2) for stage, spent in (times or dict(found.times)).items()},
            brightness=found.brightness,
            sharpness=found.sharpness,
            in_audit=found.in_audit,
            word=found.word,
            word_at=found.word_at,
            photo_sha256=found.kept.photo_sha256,
            pictures_removed=found.pictures_removed,
        )


class Queued(BaseModel):
    """A photograph that was accepted and is judged later."""

    id: str
    state: str = "queued"


class InspectionsOut(BaseModel):
    """Some inspections, in the order in which the photographs were sent."""

    inspections: list[InspectionOut]


class QueuedOut(BaseModel):
    """Photographs that were accepted, in order."""

    queued: list[Queued]


class PageOut(BaseModel):
    """A page of the history."""

    inspections: list[InspectionOut]
    cursor: str | None = Field(description="Brings the next page; null after the last one.")


class WordIn(BaseModel):
    """What a person says of a part."""

    model_config = ConfigDict(extra="forbid")

    word: Literal["good", "bad"]
    defect_type: str | None = Field(default=None, max_length=200, description="Kind of defect.")
    note: str | None = Field(default=None, max_length=4000)
    mask: str | None = Field(default=None, description="Where the defect is: a PNG of the photograph's size, base64.")


class WordOut(BaseModel):
    """A word, with who said it and when; a later one stands beside it."""

    id: str
    at: datetime
    who: str
    word: str
    defect_type: str | None
    note: str | None

    @classmethod
    def of(cls, word: Word) -> WordOut:
        """From the history."""
        return cls(id=word.id, at=word.at, who=word.who, word=word.word, defect_type=word.defect_type, note=word.note)


class WordsOut(BaseModel):
    """All words on a part, the oldest first."""

    words: list[WordOut]


class ModelOut(BaseModel):
    """A model of the station."""

    id: str
    name: str
    state: str = Field(description="active, shadow, loaded or retired.")
    loaded_at: datetime
    loaded_by: str
    detector: str
    categories: list[str]
    muad: str

    @classmethod
    def of(cls, model: Model) -> ModelOut:
        """From the history."""
        return cls(
            id=model.id,
            name=model.name,
            state=model.state,
            loaded_at=model.loaded_at,
            loaded_by=model.loaded_by,
            detector=model.detector,
            categories=list(model.categories),
            muad=model.muad,
        )


class ChangeOut(BaseModel):
    """Who changed what, and why."""

    id: str
    at: datetime
    who: str
    kind: str
    subject: str
    old: str | None
    new: str | None
    reason: str | None

    @classmethod
    def of(cls, change: Change) -> ChangeOut:
        """From the history."""
        return cls(
            id=change.id,
            at=change.at,
            who=change.who,
            kind=change.kind,
            subject=change.subject,
            old=change.old,
            new=change.new,
            reason=change.reason,
        )
