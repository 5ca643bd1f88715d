"""What the metrics accept: finite scores, two-valued truth, equal shapes; anything else is refused by name."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import ArrayLike

from muad.errors import DataError


class MetricInputError(DataError, ValueError):
    """Scores, labels, maps or masks from which no metric can be computed."""


def as_truth(values: ArrayLike, name: str) -> Bool[np.ndarray, "*shape"]:
    """The labels or masks as booleans; numbers are accepted if every one is 0 or 1.

    Args:
        values: Booleans or numbers, as an array, a CPU tensor or a sequence.
        name: What to call them in an error.
    """
    truth = np.asarray(values)
    if truth.dtype == np.bool_:
        return truth
    if truth.dtype.kind not in "iuf":
        raise MetricInputError(f"{name} must be boolean, got dtype {truth.dtype}. Convert them to bool.")
    as_bool = truth.astype(np.bool_)
    if not np.array_equal(as_bool, truth):
        wrong = truth[as_bool != truth].flat[0]
        raise MetricInputError(f"{name} must be boolean or 0 and 1, got {wrong}. Binarise them first.")
    return as_bool


def as_scores(values: ArrayLike, name: str) -> Shaped[np.ndarray, "*shape"]:
    """The scores or maps as a numeric array, not copied where it is one already.

    Args:
        values: Real numbers, as an array, a CPU tensor or a sequence.
        name: What to call them in an error.
    """
    scores = np.asarray(values)
    if scores.dtype.kind not in "biuf":
        raise MetricInputError(f"{name} must be real numbers, got dtype {scores.dtype}. Convert them to float.")
    return scores


def as_float(scores: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The same values in a float type that sorts fast and holds them exactly: float32, or float64 where needed."""
    if scores.dtype.kind == "f":
        # Half precision has no vectorised sort and no exact midpoint of two of its values.
        return scores.astype(np.float32) if scores.dtype.itemsize < 4 else scores
    return scores.astype(np.float64)


def require_same_shape(first: np.ndarray, first_name: str, second: np.ndarray, second_name: str) -> None:
    """Refuse two arrays of different shape: broadcasting them would give a number that means nothing."""
    if first.shape != second.shape:
        raise MetricInputError(
            f"{first_name} and {second_name} must be of one shape, got {first.shape} and {second.shape}. "
            "Pair them by image and bring them to one size."
        )


def require_finite(scores: Float[np.ndarray, "*shape"], name: str) -> None:
    """Refuse NaN and infinity, which have no rank."""
    finite = np.isfinite(scores)
    if not finite.all():
        raise MetricInputError(
            f"{name} must be finite, got {scores[~finite].flat[0]}. Check the detector's weights and precision."
        )
