"""Tests of change in a line: what they promise, and when they see something."""

from __future__ import annotations

import numpy as np
import pytest

from muad.service.followup.sequential import (
    BOTH_SIDES,
    HIGHER,
    ORDERS,
    Reference,
    ShiryaevRoberts,
    SinceTheStart,
    evidence,
    first_evidence,
    likely_shares,
    share_evidence,
    threshold,
    tie_break,
)

EVEN = (np.arange(20_000) + 0.5) / 20_000


def test_every_bet_on_a_rank_is_fair():
    """Its mean over ranks that nothing changed is 1."""
    np.testing.assert_allclose(evidence(EVEN, BOTH_SIDES)[:, :-1].mean(axis=0), 1, atol=1e-5)
    assert evidence(EVEN, BOTH_SIDES)[:, -1].mean() == pytest.approx(1, abs=0.01)  # its density has no end at the ends


@pytest.mark.parametrize(("begun_with", "added"), [(1, 0), (18, 0), (18, 7), (18, 1_900), (190, 3)])
def test_every_bet_on_the_first_parts_is_fair(begun_with: int, added: int):
    np.testing.assert_allclose(first_evidence(EVEN, begun_with, added).mean(axis=0), 1, atol=2e-3)


def test_the_first_bet_against_usual_values_alone_is_that_on_the_largest_of_several():
    np.testing.assert_allclose(first_evidence(0.7, 5, 0)[: len(ORDERS)], evidence(np.array(0.7), HIGHER))


def test_bets_on_events_lose_on_average_if_they_are_as_rare_as_allowed():
    bets = share_evidence(0.1, likely_shares(0.1))
    np.testing.assert_allclose(0.9 * bets[0] + 0.1 * bets[1], 1)
    assert (0.95 * bets[0] + 0.05 * bets[1] < 1).all()


def test_ranks_of_values_that_do_not_change_are_uniform_whatever_the_reference():
    """Against ten known values, of which the reference grows: no value is more usual than another."""
    random = np.random.default_rng(1)
    ranks = []
    for _ in range(60):
        values = random.lognormal(size=60)
        reference = Reference(values[:10])
        ranks += [reference.rank(value, random.random()) for value in values[10:]]
    counts = np.histogram(ranks, bins=10, range=(0, 1))[0]
    assert (abs(counts - 300) < 4 * 300**0.5).all()


def test_equal_values_share_the_ranks_between_them():
    reference = Reference([1.0, 1.0, 1.0])
    assert reference.place(1.0, 0.0) == 0
    assert reference.place(1.0, 0.5) == 0.5
    assert reference.place(2.0, 0.0) == 0.75


def test_a_reference_forgets_what_came_after_a_change_and_keeps_what_it_began_with():
    reference = Reference([1.0, 2.0])
    for at, value in enumerate((3.0, 4.0, 5.0)):
        reference.rank(value, 0.5, at)
    reference.forget_since(1)
    assert reference.values == (1.0, 2.0, 3.0)


def test_a_reference_stops_growing():
    reference = Reference([1.0], largest=3)
    for value in range(5):
        reference.rank(float(value), 0.5)
    assert len(reference) == 3


def test_the_statistic_is_the_sum_of_the_bets_begun_with_every_part():
    random = np.random.default_rng(2)
    bets = random.uniform(0.5, 1.6, (30, 3))
    test = ShiryaevRoberts(3)
    for at, each in enumerate(bets):
        test.step(each, at)
    sums = sum(bets[begin:].prod(axis=0) for begin in range(30))
    assert test.statistic == pytest.approx(sums.mean())


def test_the_beginning_is_where_the_bet_of_the_leading_alternative_is_best():
    random = np.random.default_rng(3)
    ranks = np.concatenate([random.random(200), random.random(60) ** 0.25])  # of four usual values the largest
    test = ShiryaevRoberts(len(HIGHER))
    for at, rank in enumerate(ranks):
        test.step(evidence(np.array(rank), HIGHER), at)
    bets = np.log(evidence(ranks, HIGHER)[:, test.leading])
    best = max(range(len(bets)), key=lambda begin: bets[begin:].sum())
    assert test.began == best
    assert test.parts_since == len(ranks) - best
    assert abs(best - 200) < 20


def test_false_alarms_are_as_rare_as_stated():
    """400 lines of 1,000 parts on which nothing changes, at a threshold that 20 % may reach."""
    random, least = np.random.default_rng(4), threshold(1_000, 0.2)
    sums, highest = np.zeros((400, len(BOTH_SIDES))), np.zeros(400)
    for _ in range(1_000):
        sums = (sums + 1) * evidence(random.random(400), BOTH_SIDES)
        highest = np.maximum(highest, sums.mean(axis=1))
    share = (highest >= least).mean()
    assert 0.01 < share <= 0.2


def test_parts_that_differ_from_the_first_one_on_are_seen_even_beside_few_calibration_images():
    random = np.random.default_rng(5)
    found = []
    for shift in (0.0, -1.5):
        reference, test = Reference(random.standard_normal(40)), SinceTheStart(40)
        for value in random.standard_normal(300) + shift:
            test.step(reference.rank(value, 0.5))
        found.append(test.statistic)
    assert found[0] < 20 < 1_000 < found[1]
    assert test.direction == "lower"


def test_the_order_of_equal_values_can_be_computed_again():
    assert tie_break("seed", "score", "a") == tie_break("seed", "score", "a")
    drawn = [tie_break("seed", "score", str(part)) for part in range(2_000)]
    assert 0.47 < float(np.mean(drawn)) < 0.53
    assert tie_break("other", "score", "a") != tie_break("seed", "score", "a")
