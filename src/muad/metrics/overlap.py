"""Areas under curves of overlap against false-positive rate: AUPRO over regions, AUPIMO over images.

AUPRO: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, and the reference implementation published
with MVTec AD. AUPIMO: Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and
Low Tolerance", BMVC 2024, arXiv:2401.01984.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from muad.metrics.inputs import require_finite

# Bounds of the false-positive rate in AUPIMO, fixed by its definition.
_AUPIMO_LOW, _AUPIMO_HIGH = 1e-5, 1e-4


def exact_aupro(
    rate_above: Float[np.ndarray, " k"],
    rate_from: Float[np.ndarray, " k"],
    region_share: Float[np.ndarray, " k"],
    fpr_limit: float,
) -> float:
    """Mean overlap per region, averaged over false-positive rates from 0 to the limit.

    Lowering the threshold past one score adds that score's share while the rate grows from `rate_above` to
    `rate_from` (a straight line, as trapezoids have it); beyond, the share counts in full. So the area is a sum of
    clipped ramps, and the curve itself is never built.

    Args:
        rate_above: False-positive rate just before each distinct anomalous score is reached.
        rate_from: The rate once it is reached; larger only where normal pixels have the same score.
        region_share: What the pixels of that score add to the mean overlap.
        fpr_limit: Where the integral ends, by interpolation.

    Returns:
        The area; of a part of the scores, what they add to it.
    """
    width = rate_from - rate_above
    climbed = np.clip(fpr_limit - rate_above, 0, width)
    ramp = np.divide(climbed * climbed, 2 * width, out=np.zeros_like(width), where=width > 0)
    plateau = np.maximum(fpr_limit - rate_from, 0)
    return float(np.sum(region_share * (ramp + plateau)) / fpr_limit)


def coarse_thresholds(extremes: tuple[float, float], dtype: np.dtype[Any]) -> Float[np.ndarray, " t"]:
    """The authors' thresholds: 200 equal steps from the smallest value, the largest left out; none if all are equal.

    Args:
        extremes: Lowest and highest value of a whole category's maps.
        dtype: Type in which scores and thresholds are compared.
    """
    ends = np.array(extremes).astype(dtype)
    require_finite(ends, "maps")
    low, high = ends
    if low == high:
        return np.empty(0, dtype=dtype)
    # In the maps' own precision, as numpy 2 runs the authors' line: a threshold may coincide with a score.
    return np.arange(low, high, (high - low) / 200, dtype=dtype)


def coarse_overlap(
    thresholds: Float[np.ndarray, " t"], scores: Float[np.ndarray, " k"], region_share: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " t"]:
    """Mean share of each region that exceeds each threshold; what parts of the scores give adds up.

    Args:
        thresholds: From `coarse_thresholds`, of the maps' float type.
        scores: Distinct anomalous scores, ascending.
        region_share: What the pixels of each score add to the mean overlap.
    """
    share_from = np.append(np.cumsum(region_share[::-1])[::-1], 0)
    overlap: np.ndarray = share_from[np.searchsorted(scores, thresholds, side="right")]
    return overlap


def coarse_aupro(rates: Float[np.ndarray, " t"], overlap: Float[np.ndarray, " t"], fpr_limit: float) -> float | None:
    """AUPRO as the authors of Dinomaly compute it: few thresholds, the curve cut at the limit, then stretched.

    A pixel is found if its score exceeds the threshold. Thresholds at or past the limit are dropped, the remaining
    rates divided by their largest, and the area taken by trapezoids; no point at rate 0, none at the limit.

    Args:
        rates: False-positive rate at each threshold, thresholds ascending.
        overlap: Mean share of each region found at each threshold.
        fpr_limit: Rates must be below it.

    Returns:
        The area, or None where fewer than two thresholds are left or none of them has a false positive.
    """
    kept = rates < fpr_limit
    if np.count_nonzero(kept) < 2 or rates[kept].max() == 0:
        return None
    # Rates fall as thresholds rise, hence the reversal.
    return float(np.trapezoid(overlap[kept][::-1], (rates[kept] / rates[kept].max())[::-1]))


def aupimo(rate_from: Float[np.ndarray, " k"], image_share: Float[np.ndarray, " k"]) -> float:
    """Mean share of each image's defect found, averaged over log false-positive rates from 1e-5 to 1e-4.

    A pixel is found at every rate from its own upwards. Over the logarithm of the rate that is a fixed part of the
    range for each pixel, so the exact integral is a weighted mean of those parts. The published code samples
    thresholds instead, and comes to this value when they are dense.

    Args:
        rate_from: False-positive rate on normal images at the threshold that just finds each anomalous score.
        image_share: What the pixels of that score add to the mean over images.
    """
    reached = np.clip(rate_from, _AUPIMO_LOW, _AUPIMO_HIGH)
    part = np.log(_AUPIMO_HIGH / reached) / math.log(_AUPIMO_HIGH / _AUPIMO_LOW)
    return float(np.sum(image_share * part))
