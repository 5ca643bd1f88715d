"""Binomial tails and beta quantiles beside scipy's."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from muad.decisions.binomial import beta_quantile, binomial_at_most


def test_tails_are_scipys_for_one_trial_and_for_a_million() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        trials, probability = int(10 ** random.uniform(0, 6)), float(10 ** random.uniform(-5, -0.01))
        spread = np.sqrt(trials * probability * (1 - probability))
        events = int(np.clip(round(trials * probability + 3 * random.normal() * spread), 0, trials))
        expected = float(binom.cdf(events, trials, probability))
        # Against 30 digits, ours are 5e-14 off at most, scipy's 4e-11.
        assert binomial_at_most(events, trials, probability) == pytest.approx(expected, rel=1e-10), (events, trials)


def test_quantiles_are_scipys() -> None:
    random = np.random.default_rng(1)
    for share in (0.025, 0.5, 0.95, 0.975, 0.999):
        for trials in (1, 2, 9, 59, 199, 598, 10_000):
            for events in {1, trials, int(random.integers(1, trials + 1))}:
                expected = float(beta.ppf(share, trials + 1 - events, events))
                assert beta_quantile(share, trials + 1 - events, events) == pytest.approx(expected, rel=1e-12)


def test_nothing_and_everything_have_closed_forms() -> None:
    assert binomial_at_most(-1, 5, 0.3) == 0
    assert binomial_at_most(5, 5, 0.3) == 1
    assert binomial_at_most(0, 1_000_000, 1e-6) == pytest.approx(np.exp(1e6 * np.log1p(-1e-6)), rel=1e-14)
    assert binomial_at_most(0, 100_000, 0.5) == 0  # smaller than any number
