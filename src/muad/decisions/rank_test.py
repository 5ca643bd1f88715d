"""The chance that one sample lies so low, or lower, beside another of the same distribution: Mann and Whitney's test.

References:
    Mann, Whitney, On a test of whether one of two random variables is stochastically larger than the other, 1947.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_SMALL = 8  # up to here all arrangements are counted, beyond it the normal distribution is near enough


def chance_of_lying_lower(lower: Sequence[float], other: Sequence[float]) -> float:
    """One-sided p-value that `lower` comes from a distribution below that of `other`.

    Exact where one of them has at most eight values and none are equal; else by the normal distribution, with the
    corrections for ties and for continuity.

    Args:
        lower: At least one value.
        other: At least one value.

    Example:
        >>> chance_of_lying_lower([1.0, 2.0], [3.0, 4.0])
        0.16666666666666666
    """
    first, second = np.asarray(lower, np.float64), np.asarray(other, np.float64)
    m, n = len(first), len(second)
    ascending = np.sort(second)
    below = np.searchsorted(ascending, first, side="left")
    not_above = np.searchsorted(ascending, first, side="right")
    pairs = float((below + not_above).sum()) / 2  # in which the first value is the larger one, equal ones by halves
    counts = np.unique(np.concatenate([first, second]), return_counts=True)[1].astype(np.float64)
    if min(m, n) <= _SMALL and counts.max() == 1:
        return _share_of_arrangements(m, n, int(pairs))
    total = m + n
    ties = float((counts**3 - counts).sum()) / (total * (total - 1))
    deviation = math.sqrt(m * n / 12 * (total + 1 - ties))
    if deviation == 0:  # all values are equal
        return 1.0
    return 0.5 * math.erfc(-(pairs - m * n / 2 + 0.5) / deviation / math.sqrt(2))


def _share_of_arrangements(m: int, n: int, pairs: int) -> float:
    """Of all ways to arrange m and n values, those with at most so many pairs in which the first is the larger.

    Their number with u pairs is the coefficient of x^u in the Gaussian binomial, which is built factor by factor.
    """
    few, many = min(m, n), max(m, n)
    ways = [1] + [0] * pairs
    for factor in range(1, few + 1):
        for place in range(pairs, many + factor - 1, -1):
            ways[place] -= ways[place - many - factor]
        for place in range(factor, pairs + 1):
            ways[place] += ways[place - factor]
    return sum(ways) / math.comb(m + n, few)
