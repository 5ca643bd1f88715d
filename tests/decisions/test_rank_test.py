"""Mann and Whitney's test beside scipy's."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from muad.decisions.rank_test import chance_of_lying_lower


@pytest.mark.parametrize("decimals", [15, 1])
def test_chances_are_scipys_with_and_without_ties(decimals: int) -> None:
    random = np.random.default_rng(0)
    for _ in range(150):
        m, n = random.integers(1, 40, 2)
        lower = (random.normal(size=m) + random.choice([0, 0.5, -1])).round(decimals)
        other = random.normal(size=n).round(decimals)
        expected = float(mannwhitneyu(lower, other, alternative="less").pvalue)
        assert chance_of_lying_lower(lower.tolist(), other.tolist()) == pytest.approx(expected, rel=1e-12)


def test_equal_values_are_no_evidence() -> None:
    assert chance_of_lying_lower([0.5, 0.5], [0.5, 0.5, 0.5]) == 1
