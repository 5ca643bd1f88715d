"""What limits keep and what others would change, from scores alone; nothing is set here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.decisions.conformal import binomial_interval
from muad.decisions.limits import ROUNDING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

CONFIDENCE = 0.95
"""Of the intervals that are shown."""
VERDICTS = ("pass", "review", "reject")


@dataclass(frozen=True, slots=True)
class Pair:
    """Both limits of a product; None where there is none."""

    review: float | None
    reject: float | None

    @property
    def is_ordered(self) -> bool:
        """Whether the review limit is at most the reject limit."""
        return self.review is None or self.reject is None or self.review <= self.reject


@dataclass(frozen=True, slots=True)
class Part:
    """How many of how many, and the interval of the rate behind it.

    Attributes:
        events: How many.
        trials: Of how many.
    """

    events: int
    trials: int

    @property
    def share(self) -> float | None:
        """The part that was seen; None of none."""
        return self.events / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Clopper and Pearson's; None of none."""
        return binomial_interval(self.events, self.trials, CONFIDENCE) if self.trials else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a pair of limits keeps.

    Attributes:
        good_rejected: Good photographs of the calibration above the reject limit.
        good_stopped: Those above the lower one.
        rejected: Parts that came and are above the reject limit.
        stopped: Those above the lower one.
        known_good_stopped: Parts that people called good and that are stopped.
        known_bad_passed: Parts that people called bad and that pass.
    """

    good_rejected: Part
    good_stopped: Part
    rejected: Part
    stopped: Part
    known_good_stopped: Part
    known_bad_passed: Part


@dataclass(frozen=True, slots=True)
class Move:
    """How many parts would get another verdict."""

    before: str
    after: str
    count: int


def judged(scores: Float[np.ndarray, " n"], limits: Pair) -> Int[np.ndarray, " n"]:
    """Verdicts by score alone, as places in `VERDICTS`."""
    rejected = _above(scores, limits.reject)
    reviewed = _above(scores, limits.review)
    return np.where(rejected, 2, np.where(reviewed, 1, 0))


def kept(
    limits: Pair,
    calibration: Sequence[float],
    came: Float[np.ndarray, " n"],
    known_good: Sequence[float],
    known_bad: Sequence[float],
) -> Kept:
    """What limits keep of good photographs, of what came, and of what people said.

    Args:
        limits: Both.
        calibration: Scores of good photographs the detector had not seen.
        came: Scores of parts since.
        known_good: Scores of those that people called good.
        known_bad: Scores of those that people called bad.
    """
    good, right, wrong = (judged(np.asarray(scores, float), limits) for scores in (calibration, known_good, known_bad))
    since = judged(came, limits)
    return Kept(
        good_rejected=_part(good == 2),
        good_stopped=_part(good > 0),
        rejected=_part(since == 2),
        stopped=_part(since > 0),
        known_good_stopped=_part(right > 0),
        known_bad_passed=_part(wrong == 0),
    )


def moves(now: Pair, then: Pair, came: Float[np.ndarray, " n"]) -> tuple[list[Move], Int[np.ndarray, " m"]]:
    """Which verdicts would change how often, and the places of the parts that would get another one.

    Args:
        now: Limits in force.
        then: Limits that are tried.
        came: Scores of parts.
    """
    before, after = judged(came, now), judged(came, then)
    places = np.flatnonzero(before != after)
    counted = Counter(zip(before[places].tolist(), after[places].tolist(), strict=True))
    return [Move(VERDICTS[old], VERDICTS[new], count) for (old, new), count in sorted(counted.items())], places


def _above(scores: Float[np.ndarray, " n"], limit: float | None) -> Bool[np.ndarray, " n"]:
    """The same as `is_above` for many scores."""
    return np.zeros(len(scores), bool) if limit is None else scores > limit + ROUNDING * abs(limit)


def _part(chosen: Bool[np.ndarray, " n"]) -> Part:
    return Part(int(chosen.sum()), len(chosen))
