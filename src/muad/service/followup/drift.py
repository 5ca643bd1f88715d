"""What is followed of each product at each station, and when a signal is raised.

| quantity | compared with |
|---|---|
| score from the start | calibration scores below the cut: have parts been others from the first one on? |
| score | calibration scores below the cut and parts since: have they changed later? |
| high scores | the share above the cut that good parts and the usual bad ones explain |
| embedding distance | the station's first parts: how far photographs lie from those the recogniser knows |
| brightness, sharpness | the station's first photographs |
| photographs outside | the share outside the range of good photographs that is allowed |

All of a product together raise a false alarm within the stated number of parts with the stated chance at most. Bad
parts do not count as a change as long as their share is within what is usual. `sequential.py` has the tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from muad.service.followup.baseline import Baseline, is_outside
from muad.service.followup.sequential import (
    BOTH_SIDES,
    HIGHER,
    LARGEST_REFERENCE,
    Alternative,
    Direction,
    Reference,
    ShiryaevRoberts,
    SinceTheStart,
    evidence,
    likely_shares,
    share_evidence,
    threshold,
    tie_break,
)

FROM_THE_START: Final = "score from the start"
SCORE: Final = "score"
HIGH_SCORES: Final = "high scores"
DISTANCE: Final = "embedding distance"
OUTSIDE: Final = "photographs outside"
SignalDirection = Direction | Literal["more"]
RANKED: Final = (SCORE, DISTANCE, "brightness", "sharpness")
"""Quantities of which single values are ranked; of the others parts are counted."""
QUANTITIES: Final = (FROM_THE_START, SCORE, HIGH_SCORES, DISTANCE, "brightness", "sharpness", OUTSIDE)
_JUDGED = frozenset({"pass", "review", "reject"})
_KEPT = 2_000  # parts whose rank is remembered, to show those that speak for a change
_SHOWN = 12
_QUIET_PARTS, _QUIET_FACTOR = 500, 10


class DriftSettings(BaseModel):
    """Section [drift] of station.toml.

    Attributes:
        enabled: Whether parts are followed.
        parts: Over that many parts of a product
        false_alarm_rate: this is at most the chance of any false alarm, all quantities together.
        bad_share: Share of parts that may be bad, or badly photographed, in usual operation.
        every: Only every so many-th part of a product is followed. Where parts resemble those before them (one batch
            of material after another), rates hold only for parts so far apart that they no longer do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    parts: Annotated[int, Field(ge=100, le=100_000_000)] = 10_000
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    bad_share: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    every: Annotated[int, Field(ge=1, le=10_000)] = 1

    @property
    def threshold(self) -> float:
        """What the statistic of a quantity must reach."""
        return threshold(self.parts / self.every, self.false_alarm_rate, len(QUANTITIES))

    @property
    def start_threshold(self) -> float:
        """The same of the test from the start, whose bound holds for any number of parts."""
        return len(QUANTITIES) / self.false_alarm_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is followed of one part.

    Attributes:
        id: Of the inspection.
        at: When.
        verdict: What it ended with.
        score: Or None.
        product_p: How usual the photograph is for its product, or None.
        brightness: Or None.
        sharpness: Or None.
    """

    id: str
    at: datetime
    verdict: str
    score: float | None = None
    product_p: float | None = None
    brightness: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something has changed.

    Attributes:
        quantity: Of QUANTITIES.
        direction: Whether it is higher, lower or wider than it was; `more` of what is counted.
        began_at: When the change most likely began.
        raised_at: Time of the part that made it sure.
        parts: How many parts came from its beginning until then.
        statistic: What the test had reached.
        threshold: What it had to reach.
        shown_by: Parts that show it, the clearest first.
    """

    quantity: str
    direction: SignalDirection
    began_at: datetime
    raised_at: datetime
    parts: int
    statistic: float
    threshold: float
    shown_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Of a quantity that had changed nothing is seen any more.

    Attributes:
        quantity: Of QUANTITIES.
        at: Time of the part after which it counted as ended.
        parts: How many parts have come without a sign.
    """

    quantity: str
    at: datetime
    parts: int


class _Follow:
    """One quantity: its test, the parts it remembers, and whether a signal of it stands."""

    def __init__(self, quantity: str, alternatives: Sequence[Alternative], least: float) -> None:
        self.quantity, self.alternatives, self.least = quantity, alternatives, least
        self.test = ShiryaevRoberts(len(alternatives))
        self.reference: Reference | None = None
        self.bets: np.ndarray | None = None
        self.seen: deque[tuple[float, str, float]] = deque(maxlen=_KEPT)
        self.raised = False
        self.quiet = self.patience = 0

    def value(self, part: Part, value: float, order: float) -> Signal | Ended | None:
        """Follow a value that is ranked."""
        assert self.reference is not None
        at = part.at.timestamp()
        rank = self.reference.rank(value, order, at)
        return self._step(part, rank, evidence(np.array(rank), self.alternatives))

    def event(self, part: Part, happened: bool) -> Signal | Ended | None:
        """Follow whether something happened that may happen at some rate."""
        assert self.bets is not None
        return self._step(part, float(happened), self.bets[int(happened)])

    def _step(self, part: Part, rank: float, bets: np.ndarray) -> Signal | Ended | None:
        self.seen.append((part.at.timestamp(), part.id, rank))
        statistic = self.test.step(bets, part.at.timestamp())
        if statistic >= self.least:
            return self._raise(part, statistic)
        if self.raised:
            self.quiet += 1
            if self.quiet >= self.patience:
                self.raised = False
                return Ended(quantity=self.quantity, at=part.at, parts=self.quiet)
        return None

    def _raise(self, part: Part, statistic: float) -> Signal | None:
        """A signal; where one stands already, it goes on."""
        began, parts = self.test.began, self.test.parts_since
        direction: SignalDirection = "more"
        own = [one for one in self.seen if one[0] >= began]
        if self.bets is None:
            direction = self.alternatives[self.test.leading].direction
        own.sort(key=lambda one: (-_clearness(one[2], direction), -one[0]))
        if self.reference is not None:
            self.reference.forget_since(began)
        self.test = ShiryaevRoberts(len(self.alternatives))
        stood, self.raised, self.quiet = self.raised, True, 0
        self.patience = max(_QUIET_PARTS, _QUIET_FACTOR * parts, self.patience)
        if stood:
            return None
        return Signal(
            quantity=self.quantity,
            direction=direction,
            began_at=datetime.fromtimestamp(began, UTC),
            raised_at=part.at,
            parts=parts,
            statistic=statistic,
            threshold=self.least,
            shown_by=tuple(one[1] for one in islice(own, _SHOWN)),
        )


class ProductWatch:
    """All quantities of one product at one station, judged by one model.

    Args:
        baseline: What its good parts are like.
        settings: How rare false alarms are to be.
        seed: For the order of equal values; kept with the station, so that everything can be computed again.
    """

    def __init__(self, baseline: Baseline, settings: DriftSettings, seed: str) -> None:
        self.baseline, self._settings, self._seed = baseline, settings, seed
        self._follows = {name: _ranked(name, BOTH_SIDES, settings) for name in ("brightness", "sharpness")}
        self._follows[DISTANCE] = _ranked(DISTANCE, HIGHER, settings)
        self._start: SinceTheStart | None = None
        self._first: Part | None = None
        self._start_raised = False
        if baseline.cut is not None:
            self._follows[HIGH_SCORES] = _counted(HIGH_SCORES, baseline.above, settings)
            self._follows[SCORE] = _ranked(SCORE, BOTH_SIDES, settings, baseline.scores)
        if baseline.scores:
            self._start = SinceTheStart(len(baseline.scores))
        if baseline.ranges:
            self._follows[OUTSIDE] = _counted(OUTSIDE, baseline.flagged, settings)
        self.parts = 0

    def statistics(self) -> dict[str, float]:
        """How far each quantity is on its way to a signal, as a share of its threshold."""
        found = {name: follow.test.statistic / follow.least for name, follow in self._follows.items()}
        if self._start is not None:
            found[FROM_THE_START] = self._start.statistic / self._settings.start_threshold
        return found

    @property
    def standing(self) -> tuple[str, ...]:
        """Quantities whose signal stands."""
        own = [name for name, follow in self._follows.items() if follow.raised]
        return (*own, FROM_THE_START) if self._start_raised else tuple(own)

    def accept(self, quantity: str) -> None:
        """Take what a quantity is like from now on for usual; its signal is over.

        What is compared with calibration has no other usual state: calibrate again.
        """
        follow = self._follows.get(quantity)
        if follow is not None and quantity in RANKED and quantity != SCORE:
            self._follows[quantity] = _ranked(quantity, follow.alternatives, self._settings)

    def see(self, part: Part) -> Iterator[Signal | Ended]:
        """Follow one part; what is raised, and what has ended."""
        self.parts += 1
        if self.parts % self._settings.every:
            return
        for found in self._all(part):
            if found is not None:
                yield replace(found, parts=found.parts * self._settings.every)

    def _all(self, part: Part) -> Iterator[Signal | Ended | None]:
        if part.score is not None and self.baseline.cut is not None and part.verdict in _JUDGED:
            yield from self._score(part, part.score, self.baseline.cut)
        if part.product_p is not None:
            yield self._follows[DISTANCE].value(part, -part.product_p, self._order(DISTANCE, part))
        outside = []
        for name in ("brightness", "sharpness"):
            value: float | None = getattr(part, name)
            if value is not None:
                yield self._follows[name].value(part, value, self._order(name, part))
                if name in self.baseline.ranges:
                    outside.append(is_outside(value, self.baseline.ranges[name]))
        if outside and OUTSIDE in self._follows:
            yield self._follows[OUTSIDE].event(part, any(outside))

    def _score(self, part: Part, score: float, cut: float) -> Iterator[Signal | Ended | None]:
        yield self._follows[HIGH_SCORES].event(part, score > cut)
        if score > cut:
            return
        order = self._order(SCORE, part)
        if self._start is not None and not self._start_raised:
            self._first = self._first or part
            yield self._from_the_start(part, score, order)
        yield self._follows[SCORE].value(part, score, order)

    def _from_the_start(self, part: Part, score: float, order: float) -> Signal | None:
        """Must come before the score is taken into the reference, which it is ranked among in the same way."""
        follow, start, first = self._follows[SCORE], self._start, self._first
        assert follow.reference is not None and start is not None and first is not None  # noqa: PT018
        statistic = start.step(follow.reference.place(score, order))
        if statistic < self._settings.start_threshold:
            return None
        self._start_raised = True
        sign = 1 if start.direction == "higher" else -1
        own = sorted((-sign * one[2], one[1]) for one in follow.seen)
        return Signal(
            quantity=FROM_THE_START,
            direction=start.direction,
            began_at=first.at,
            raised_at=part.at,
            parts=start.parts,
            statistic=statistic,
            threshold=self._settings.start_threshold,
            shown_by=tuple(one[1] for one in own[:_SHOWN]),
        )

    def _order(self, quantity: str, part: Part) -> float:
        return tie_break(self._seed, quantity, part.id)


def _clearness(rank: float, direction: str) -> float:
    """How much a part speaks for a change."""
    if direction == "wider":
        return abs(rank - 0.5)
    return -rank if direction == "lower" else rank


def _ranked(
    name: str, alternatives: Sequence[Alternative], settings: DriftSettings, scores: Sequence[float] = ()
) -> _Follow:
    follow = _Follow(name, alternatives, settings.threshold)
    follow.reference = Reference(scores, LARGEST_REFERENCE)
    return follow


def _counted(name: str, good_share: float, settings: DriftSettings) -> _Follow:
    allowed = min(good_share + settings.bad_share, 0.9)
    likely = likely_shares(allowed)
    follow = _Follow(name, [Alternative(direction="higher", order=share) for share in likely], settings.threshold)
    follow.bets = share_evidence(allowed, likely)
    return follow
