"""How far a backend is from the detector in float32, measured by what a run decides with: its limits and its spread.

An absolute difference says little: maps of one run lie a hundred times nearer to its limits than those of another. So
scores are measured by the way from a category's usual score to its limit, maps by that from their usual value to the
map limit, and no verdict may change. How large a part of the way is too much is in docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_SCORE_PART = 0.1
"""Largest difference of a good image's score, as a part of the way from the usual score to the limit."""
MAX_MAP_PART = 0.2
"""Largest difference of a map anywhere, as a part of the way from its usual value to the map limit."""
MAX_MAP_DEVIATION = 0.05
"""Largest difference of a map in its own values, which run from 0 to 2: a wide spread excuses no broken network."""
SHIFT_PART = 0.03
"""Scores that are off by more than this on median are worth limits of their own."""
TIE_PART = 0.02
"""A limit is one of the scores, and the precision it was computed in moves them by such a part of the way."""
_FLOOR = 1e-4  # of a spread: maps of a detector that finds nothing at all are not infinitely sensitive


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One good image, computed twice.

    Attributes:
        category: What it shows, if that is known.
        expected: Score of the detector in float32.
        score: Score of the backend.
        usual: Median of the detector's map.
        peak: Largest value of it.
        map_deviation: Largest difference between the maps.
    """

    category: str | None
    expected: float
    score: float
    usual: float
    peak: float
    map_deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a category's differences are measured by.

    Attributes:
        score: From the usual score of good images to the limit; None for their own spread.
        map: From the usual value of their maps to the map limit; None likewise.
        limits: Score limits in force, rising.
    """

    score: float | None = None
    map: float | None = None
    limits: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found, and whether the backend may be used.

    Attributes:
        score_part: Largest difference of a score, as a part of the way to the limit.
        map_part: The same of maps.
        map_deviation: Largest difference of a map in its own values.
        shift: The median difference of the category whose scores are moved most, with its sign.
        shifted: That category.
        changed: Images whose verdict is another.
        count: Images compared.
    """

    score_part: float
    map_part: float
    map_deviation: float
    shift: float
    shifted: str | None
    changed: int
    count: int

    @property
    def accepted(self) -> bool:
        """Whether all of it is within bounds; what is not a number is not."""
        return (
            self.count > 0
            and self.changed == 0
            and self.score_part <= MAX_SCORE_PART
            and self.map_part <= MAX_MAP_PART
            and self.map_deviation <= MAX_MAP_DEVIATION
        )

    def __str__(self) -> str:
        return (
            f"scores off by up to {_percent(self.score_part)} and maps by {_percent(self.map_part)} of it "
            f"({self.map_deviation:.1e}), {self.changed} of {self.count} verdicts changed"
        )


def compared(
    category: str | None,
    expected: tuple[float, Float[np.ndarray, "*size"]],
    found: tuple[float, Float[np.ndarray, "*size"]],
) -> Compared:
    """One image from the scores and maps of the detector and of the backend."""
    return Compared(
        category=category,
        expected=expected[0],
        score=found[0],
        usual=float(np.median(expected[1])),
        peak=float(expected[1].max()),
        map_deviation=float(np.abs(found[1] - expected[1]).max()),
    )


def judge(images: Sequence[Compared], scales: Mapping[str | None, Scale], *, tie_part: float = TIE_PART) -> Judgement:
    """Measure the differences by the scales; categories without one are measured by the spread of these images.

    Args:
        images: All that were compared.
        scales: What is known of the run, by category.
        tie_part: So near to a limit, as a part of the way to it, an image may fall on either side of it.
    """
    score_parts, map_parts, shifts, changed = [0.0], [0.0], {}, 0
    found = ways(images, scales)
    for category, group in _by_category(images).items():
        scale, (scores, maps) = scales.get(category, Scale()), found[category]
        differences = [(image.score - image.expected) / scores for image in group]
        score_parts += map(abs, differences)
        map_parts += [image.map_deviation / maps for image in group]
        shifts[category] = median(differences)
        changed += sum(_changes(image, scale.limits, tie_part * scores) for image in group)
    shifted = max(shifts, key=lambda category: abs(shifts[category]), default=None)
    return Judgement(
        score_part=_largest(score_parts),
        map_part=_largest(map_parts),
        map_deviation=_largest([0.0, *(image.map_deviation for image in images)]),
        shift=shifts.get(shifted, 0.0),
        shifted=shifted,
        changed=changed,
        count=len(images),
    )


def ways(images: Sequence[Compared], scales: Mapping[str | None, Scale]) -> dict[str | None, tuple[float, float]]:
    """What differences of scores and of maps are measured by, by category of these images.

    Args:
        images: Of which the spread is taken where there are no limits.
        scales: What is known of the run, by category.
    """
    found = {}
    for category, group in _by_category(images).items():
        scale = scales.get(category, Scale())
        scores, maps = _spread(group if len(group) > 1 else images)
        found[category] = max(scale.score or scores, _FLOOR), max(scale.map or maps, _FLOOR)
    return found


def to_json(images: Iterable[Compared]) -> list[dict[str, Any]]:
    """Plain values, so that they can be judged again by other limits."""
    return [asdict(image) for image in images]


def from_json(values: Iterable[Mapping[str, Any]]) -> list[Compared]:
    """The images of a kept check.

    Raises:
        TypeError: They are not of this form.
    """
    return [Compared(**value) for value in values]


def _changes(image: Compared, limits: Sequence[float], tie: float) -> bool:
    """Whether the image is on another side of a limit; not where it lies so near that any rounding moves it over."""
    crossed = [limit for limit in limits if (image.score > limit) != (image.expected > limit)]
    return any(abs(image.expected - limit) > tie for limit in crossed)


def _by_category(images: Iterable[Compared]) -> dict[str | None, list[Compared]]:
    groups: dict[str | None, list[Compared]] = {}
    for image in images:
        groups.setdefault(image.category, []).append(image)
    return groups


def _spread(images: Sequence[Compared]) -> tuple[float, float]:
    """The ways from the usual to the largest score and map value of some good images, where limits would be."""
    scores = [image.expected for image in images]
    peaks, usual = [image.peak for image in images], [image.usual for image in images]
    return max(scores) - median(scores), max(peaks) - median(usual)


def _largest(values: Sequence[float]) -> float:
    """The largest, or not a number if one is not."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"
