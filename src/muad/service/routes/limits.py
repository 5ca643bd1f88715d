"""`/v1/limits`: what is in force and what it promises, what another limit would have done, and setting one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from muad.decisions.limit_setting import CategoryResult, Limit
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.routes.faults import FAULTS
from muad.service.routes.schemas import ChangeOut
from muad.service.station import Station, station_of

router = APIRouter(prefix="/v1/limits", tags=["limits"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
Category = Annotated[str, Path(max_length=200, description="The product.")]
Value = Annotated[float, Field(allow_inf_nan=False)]


class LimitOut(BaseModel):
    """One limit, and what it promises."""

    value: float | None
    wanted_rate: float = Field(description="Share of good parts that may be above it.")
    carried_rate: float | None = Field(description="The share it keeps; null where it was set by hand.")
    proven_rate: float | None
    bound: float | None = Field(description="At most this share in the long run, with the stated confidence.")
    good_images: int
    more_images: int = Field(description="Good images that the wanted share still needs.")
    by_hand: bool

    @classmethod
    def of(cls, limit: Limit) -> LimitOut:
        """From a calibration."""
        return cls(
            value=limit.value,
            wanted_rate=limit.rate,
            carried_rate=limit.carried,
            proven_rate=limit.proven,
            bound=limit.bound,
            good_images=limit.count,
            more_images=limit.more_images,
            by_hand=limit.by_hand,
        )


class CategoryLimitsOut(BaseModel):
    """The limits of a product."""

    review: LimitOut
    reject: LimitOut
    map: float | None
    says: list[str] = Field(description="What they promise, in sentences.")

    @classmethod
    def of(cls, found: CategoryResult) -> CategoryLimitsOut:
        """From a calibration."""
        return cls(
            review=LimitOut.of(found.review),
            reject=LimitOut.of(found.reject),
            map=found.map,
            says=list(found.sentences()),
        )


class LimitsOut(BaseModel):
    """The limits of the active model, by product."""

    model: str
    categories: dict[str, CategoryLimitsOut]


class TrialIn(BaseModel):
    """Limits to be tried on the parts of some time."""

    model_config = ConfigDict(extra="forbid")

    review: Value | None = None
    reject: Value | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class TrialOut(BaseModel):
    """What they would have made of these parts, by their scores alone."""

    parts: int
    before: dict[str, int]
    after: dict[str, int]
    changes: int
    changed: list[str] = Field(description="Ids of parts with another verdict, the latest first, at most 200.")


class SettingIn(BaseModel):
    """Limits to be set; what is left out stays, null takes a limit away."""

    model_config = ConfigDict(extra="forbid")

    review: Value | None = None
    reject: Value | None = None
    map: Value | None = None
    reason: str = Field(min_length=1, max_length=4000)


class ChangesOut(BaseModel):
    """What was changed, and by whom."""

    changes: list[ChangeOut]


@router.get("")
def limits(station: At, _: Operator) -> LimitsOut:
    """The limits in force, and what they promise."""
    model = station.models.active
    found = station.limits.read(model)
    return LimitsOut(model=model.id, categories={name: CategoryLimitsOut.of(own) for name, own in found.items()})


@router.get("/changes")
def changes(station: At, _: Operator) -> ChangesOut:
    """Who changed limits, when, from what to what, and why; the latest 200."""
    return ChangesOut(changes=[ChangeOut.of(change) for change in station.history.changes(kind="limit")])


@router.post("/{category}/try")
def try_out(category: Category, wanted: TrialIn, station: At, _: Operator) -> TrialOut:
    """What would have become of the parts of some time with these limits; nothing is changed."""
    trial = station.limits.try_out(
        station.models.active, category, wanted.review, wanted.reject, wanted.since, wanted.until
    )
    return TrialOut(
        parts=trial.parts,
        before=dict(trial.before),
        after=dict(trial.after),
        changes=trial.changes,
        changed=list(trial.changed),
    )


@router.post("/{category}")
def set_limits(category: Category, wanted: SettingIn, station: At, person: Engineer) -> ChangesOut:
    """Set limits of a product, with the reason; in force with the next batch."""
    said = wanted.model_dump(exclude_unset=True, exclude={"reason"})
    values: dict[str, float | None] = {name: said[name] for name in said}
    made = station.limits.set(station.models.active, category, values, who=person.name, reason=wanted.reason)
    station.feed.changed()
    return ChangesOut(changes=[ChangeOut.of(change) for change in made])
