"""The promises of calibration: exact ranks, valid p-values, and rates that hold as often as stated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from muad.decisions.conformal import (
    binomial_interval,
    coarsest_rate,
    coarsest_sure_rate,
    images_needed,
    limit_rank,
    p_values,
    rate_bound,
    sure_images_needed,
    sure_rank,
)
from muad.errors import ConfigError

RATES = st.sampled_from([0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.001])
COUNTS = st.integers(1, 400)
# Few distinct values, so that ties are common.
SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 3.5, 1e9]), min_size=1, max_size=60)


@given(SCORES, st.sampled_from([0.5, 0.25, 0.2, 0.1, 0.05]))
def test_of_n_plus_one_good_images_at_most_the_promised_share_is_above_the_limit_of_the_others(
    scores: list[float], rate: float
) -> None:
    """The guarantee itself, as a fact about any set: each of the n + 1 is as likely to be the new one."""
    values = np.array([*scores, 2.0])
    above = 0
    for place, score in enumerate(values):
        others = np.sort(np.delete(values, place))
        rank = limit_rank(len(others), rate)
        above += rank is not None and score > others[rank - 1]
    assert above <= rate * len(values) + 1e-9


@given(SCORES)
def test_p_values_of_good_images_are_small_only_as_often_as_they_say(scores: list[float]) -> None:
    values = np.array([*scores, 0.5])
    found = np.array([p_values(score[None], np.delete(values, place))[0] for place, score in enumerate(values)])
    for level in np.unique(found):
        assert (found <= level).mean() <= level + 1e-12


@given(SCORES, RATES)
def test_a_score_is_above_the_limit_exactly_where_its_p_value_is_within_the_rate(
    scores: list[float], rate: float
) -> None:
    calibration = np.sort(np.array(scores))
    rank = limit_rank(len(calibration), rate)
    for score in (-1.0, 0.25, 0.3, 3.0, 3.2, 1e9, 2e9):
        above = rank is not None and score > calibration[rank - 1]
        p_value = p_values(np.array([score]), calibration)[0]
        assert above == (p_value <= rate * (1 + 1e-12))


def test_p_values_count_ties_against_the_image() -> None:
    assert p_values(np.array([3.0, 3.1]), np.array([1.0, 3.0, 3.0])).tolist() == [0.75, 0.25]
    assert p_values(np.array([3.0]), np.array([])).tolist() == [1.0]


def test_ranks_are_exact_where_floating_point_is_not() -> None:
    assert math.floor(100 * 0.29) == 28  # what is avoided
    assert limit_rank(99, 0.29) == 71
    assert limit_rank(199, 0.005) == 199
    assert limit_rank(19, 0.05) == 19
    assert limit_rank(18, 0.05) is None
    assert limit_rank(0, 0.5) is None


@given(RATES)
def test_with_the_images_needed_there_is_a_limit_and_with_one_less_there_is_none(rate: float) -> None:
    needed = images_needed(rate)
    assert limit_rank(needed, rate) is not None
    assert limit_rank(needed - 1, rate) is None


@given(RATES, st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
def test_a_sure_limit_needs_the_images_it_says(rate: float, confidence: float) -> None:
    needed = sure_images_needed(rate, confidence)
    assert sure_rank(needed, rate, confidence) is not None
    assert sure_rank(needed - 1, rate, confidence) is None


@settings(max_examples=60)
@given(COUNTS, RATES, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_sure_rank_is_the_lowest_that_is_sure(count: int, rate: float, confidence: float) -> None:
    """Against the definition: the chance that too few of the images above the true quantile came."""
    doubts = [binom.cdf(count - rank, count, rate) for rank in range(1, count + 1)]
    allowed = (1 - confidence) * (1 + 1e-12)  # equal but for the last digit, as 0.5 and 0.5 can be
    sure = [rank for rank, doubt in enumerate(doubts, 1) if doubt <= allowed]
    assert sure_rank(count, rate, confidence) == (min(sure) if sure else None)


@settings(max_examples=60)
@given(COUNTS, RATES)
def test_the_bound_of_a_sure_limit_is_the_rate_or_less(count: int, rate: float) -> None:
    rank = sure_rank(count, rate, 0.9)
    if rank is not None:
        assert rate_bound(count, rank, 0.9) <= rate + 1e-9
        assert rank >= (limit_rank(count, rate) or 0)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (60, 0.05), (199, 0.01), (30, 0.2)])
def test_both_promises_hold_over_many_calibration_sets(count: int, rate: float) -> None:
    """Uniform scores, so that the long-run rate of a limit is known: 1 - limit."""
    draws = np.sort(np.random.default_rng(5).random((20_000, count)), axis=1)
    rank = limit_rank(count, rate)
    assert rank is not None
    long_run = 1 - draws[:, rank - 1]
    assert long_run.mean() == pytest.approx((count + 1 - rank) / (count + 1), rel=0.03)
    assert long_run.mean() <= rate * 1.03
    assert (long_run <= rate_bound(count, rank, 0.95)).mean() == pytest.approx(0.95, abs=0.006)


def test_intervals_are_those_of_scipy() -> None:
    for events, trials in ((0, 30), (3, 30), (30, 30), (1, 1)):
        known = binomtest(events, trials).proportion_ci(0.9, method="exact")
        assert binomial_interval(events, trials, 0.9) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, math.nan])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    for refuse in (
        lambda: limit_rank(10, rate),
        lambda: images_needed(rate),
        lambda: sure_rank(10, 0.1, rate),
        lambda: rate_bound(10, 10, rate),
    ):
        with pytest.raises(ConfigError, match="must be above 0 and below 1"):
            refuse()
    with pytest.raises(ConfigError, match="must be from 0 to the number of trials"):
        binomial_interval(1, 0, 0.9)


@given(COUNTS)
def test_the_coarsest_rate_is_carried_and_no_finer_one(count: int) -> None:
    rate = coarsest_rate(count)
    assert images_needed(rate + 1e-9) <= count < images_needed(rate - 1e-9)


@given(COUNTS)
def test_the_coarsest_sure_rate_is_carried_and_no_finer_one(count: int) -> None:
    rate = coarsest_sure_rate(count, 0.95)
    assert sure_images_needed(min(rate * 1.001, 0.9999), 0.95) <= count < sure_images_needed(rate * 0.999, 0.95)


def test_without_images_no_rate_is_carried() -> None:
    for find in (coarsest_rate, lambda count: coarsest_sure_rate(count, 0.95)):
        with pytest.raises(ConfigError, match="at least 1 calibration image"):
            find(0)
