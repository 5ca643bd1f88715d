"""One score of a part from all of its views, in plain numpy.

- `mean_top`: the mean of the largest 1 % of the values of all views' maps together.
- `max`: the largest of the views' own scores.

Where views are missing, the share is still taken of as many values as all views would have: more values can only raise
the mean of a given number of largest ones. So the score of an incomplete part is what it is at least, whatever the
missing views show.

References:
    Guo et al., Dinomaly2, arXiv:2510.17611, and its preview code: object scores of multi-view data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float

ObjectScore = Literal["mean_top", "max"]
OBJECT_SCORES: tuple[ObjectScore, ...] = get_args(ObjectScore)
USUAL_SCORE: ObjectScore = "mean_top"
TOP_FRACTION = 0.01
"""Share of all map values whose mean is `mean_top`; published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRules:
    """How photographs become parts, and the scores of views that of a part.

    Attributes:
        grouping: Rule that finds part and view of a photograph; empty where there is none.
        score: Which of both.
    """

    grouping: str = ""
    score: ObjectScore = USUAL_SCORE

    def __post_init__(self) -> None:
        if self.score not in OBJECT_SCORES:
            raise ConfigError(f"objects.score must be one of {', '.join(OBJECT_SCORES)}, got {self.score!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class Largest:
    """What of a view's map can count for its part.

    Attributes:
        values: The largest of its values, in any order.
        count: How many values it has in all.
    """

    values: Float[np.ndarray, " k"]
    count: int


def largest_of(values: Float[np.ndarray, " m"], views: int, whole: int) -> Largest:
    """The values of one view that can be among the largest 1 % of a part's.

    Args:
        values: Those of the view's map that count.
        views: How many views the part has.
        whole: How many values a map has that counts everywhere.
    """
    kept = min(values.size, int(TOP_FRACTION * views * whole) + 1)
    chosen = values if kept == values.size else np.partition(values, values.size - kept)[values.size - kept :]
    return Largest(chosen.astype(np.float32, copy=True), values.size)


def object_scores(
    scores: Sequence[float], largest: Sequence[Largest], views: int | None = None
) -> dict[ObjectScore, float]:
    """Both scores of a part.

    Args:
        scores: Of its views, at least one.
        largest: Of their maps.
        views: How many it should have; None for as many as there are.
    """
    there = sum(one.count for one in largest)
    whole = there * max(len(largest), views or 0) / len(largest)
    values = np.concatenate([one.values for one in largest])
    count = min(values.size, max(1, int(TOP_FRACTION * whole)))
    top = np.partition(values, values.size - count)[values.size - count :]
    return {"mean_top": float(top.mean(dtype=np.float64)), "max": max(scores)}
