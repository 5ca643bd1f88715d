"""F1 of pixels at one limit, which comes from good images alone: what a segmentation is worth once it is set to work.

References:
    Heckler-Kram et al., The MVTec AD 2 Dataset, arXiv:2503.21622: SegF1, at the mean of all map values of the
    validation images plus three standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.metrics.inputs import as_float, require_finite

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from muad.metrics.collection import LabelledMaps

SIGMAS = 3.0
"""Standard deviations above the mean, as published."""
_AT_ONCE = 32


class PixelLimit:
    """A limit for map values from maps of good images, taken in a few at a time; NaN is what was not inspected."""

    def __init__(self) -> None:
        self._count, self._mean, self._spread = 0, 0.0, 0.0  # of squares about the mean

    def add(self, maps: Shaped[np.ndarray, "b H W"]) -> None:
        """Take in maps.

        Raises:
            MetricInputError: A value is infinite.
        """
        values = as_float(maps)
        values = values[~np.isnan(values)].astype(np.float64)
        if not values.size:
            return
        require_finite(values, "maps")
        mean, total = float(values.mean()), self._count + values.size
        step = mean - self._mean
        self._spread += float(((values - mean) ** 2).sum()) + step**2 * self._count * values.size / total
        self._mean += step * values.size / total
        self._count = total

    def limit(self, sigmas: float = SIGMAS) -> float | None:
        """Mean plus so many standard deviations; None before the first value."""
        return self._mean + sigmas * math.sqrt(self._spread / self._count) if self._count else None


def segmentation_f1(labelled: LabelledMaps, images: Sequence[int], limit: float) -> float | None:
    """F1 over all pixels of some images together, where anomalous is what lies above the limit.

    Args:
        labelled: Maps and masks.
        images: Numbers of the images to look at.
        limit: From `PixelLimit`.

    Returns:
        F1 in [0, 1]; None where no pixel is anomalous, neither in truth nor by the limit.
    """
    hits = wrong = 0
    for begin in range(0, len(images), _AT_ONCE):
        chunk = np.array(images[begin : begin + _AT_ONCE])
        maps, masks = labelled.maps(chunk), labelled.masks(chunk)
        inspected = ~np.isnan(maps) if labelled.partial else np.ones_like(masks)
        above, truth = (maps > limit) & inspected, masks & inspected
        hits += int(np.count_nonzero(above & truth))
        wrong += int(np.count_nonzero(above ^ truth))
    return 2 * hits / (2 * hits + wrong) if hits + wrong else None
