"""Observed rates, and whether their intervals hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hypergeom

from muad.service.followup.rates import Observed, Stratum, fewest, found_or_more

PASSED = Stratum(total=9_500, asked=190, good=188, bad=2)
REVIEW = Stratum(total=400, asked=400, good=380, bad=20)
NONE = Stratum(total=0, asked=0, good=0, bad=0)
REJECT = Stratum(total=100, asked=100, good=30, bad=70)


def observed(**changes: object) -> Observed:
    return replace(Observed(passed=(PASSED,), review=REVIEW, reject=REJECT, shares=(0.02,)), **changes)


def test_chances_of_a_draw_agree_with_scipy():
    random = np.random.default_rng(1)
    for _ in range(200):
        total = int(random.integers(1, 3_000))
        having, drawn = (int(random.integers(0, total + 1)) for _ in range(2))
        found = int(random.integers(0, drawn + 1))
        expected = hypergeom.sf(found - 1, total, having, drawn)
        assert found_or_more(total, having, drawn, found) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_the_fewest_is_the_first_number_that_is_not_refuted():
    for total, drawn, found in [(50, 10, 3), (1_000, 100, 1), (20_000, 400, 7), (30, 30, 4), (100, 5, 5)]:
        least = fewest(total, drawn, found, 0.05)
        assert hypergeom.sf(found - 1, total, least, drawn) > 0.05
        assert least == found or hypergeom.sf(found - 1, total, least - 1, drawn) <= 0.05


def test_every_drawn_part_stands_for_those_that_were_not():
    bad_passed = 9_500 * 2 / 190
    rates = observed()
    assert rates.rate("misses").value == pytest.approx(bad_passed / (bad_passed + 90))
    assert rates.rate("false alarms").value == pytest.approx(30 / (10_000 - bad_passed - 90))
    assert rates.rate("stopped good parts").value == pytest.approx(410 / (10_000 - bad_passed - 90))
    assert rates.rate("bad parts not rejected").value == pytest.approx((bad_passed + 20) / (bad_passed + 90))


def test_intervals_hold_the_estimate_and_are_wider_with_more_confidence():
    for usual, sure in zip(observed().rates, observed(confidence=0.99).rates, strict=True):
        assert sure.low <= usual.low < usual.value < usual.high <= sure.high


def test_those_who_do_not_answer_make_intervals_wider_but_move_no_estimate():
    silent = replace(PASSED, asked=380, good=188, bad=2)
    usual, wider = observed().rate("misses"), observed(passed=(silent,)).rate("misses")
    assert wider.value == usual.value
    assert wider.high > usual.high + 0.1
    assert wider.low <= usual.low


def test_known_bad_parts_outside_the_sample_raise_the_lower_end_only():
    usual = observed().rate("misses")
    known = observed(passed=(replace(PASSED, known_bad=80),)).rate("misses")
    assert known.low > usual.low
    assert (known.value, known.high) == (usual.value, usual.high)


def test_where_everybody_was_asked_the_chance_of_the_line_is_left():
    rate = observed(passed=(Stratum(total=900, asked=900, good=890, bad=10),)).rate("misses")
    assert (rate.value, round(rate.low, 3), round(rate.high, 3)) == (0.1, 0.049, 0.176)


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"passed": (replace(PASSED, asked=0, good=0, bad=0),)}, "false alarms", "words on stopped parts alone"),
        ({"passed": (replace(PASSED, good=0, bad=0),)}, "misses", "none of the 190 passed parts"),
        ({"reject": replace(REJECT, good=0, bad=0)}, "misses", "100 stopped parts"),
        (
            {"passed": (replace(PASSED, good=190, bad=0),), "review": replace(REVIEW, good=400, bad=0)}
            | {"reject": replace(REJECT, good=100, bad=0)},
            "misses",
            "no bad part is known",
        ),
        ({"passed": (), "review": NONE, "reject": NONE}, "misses", "no part"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_not_said(changes: dict[str, object], name: str, reason: str):
    rate = observed(**changes).rate(name)
    assert rate.value is None
    assert reason in rate.reason
    assert 0 <= rate.low <= rate.high <= 1


def test_which_sample_it_is_from_is_said():
    said = observed(passed=(replace(PASSED, known_bad=3), replace(PASSED, good=100)), shares=(0.02, 0.05)).sentence
    assert "from 292 of 380 answers on 19000 parts that passed, drawn at random (2 % and 5 % of all)" in said
    assert "500 of 500 on stopped ones" in said
    assert "3 words on passed parts that were not drawn" in said


def test_intervals_hold_as_often_as_they_say():
    """100 times of a line that is known, with an audit of 5 % and people who answer nine in ten."""
    random, held = np.random.default_rng(2), {"false alarms": 0, "misses": 0}
    truth = {"false alarms": 0.02, "misses": 0.2}
    for _ in range(100):
        good, bad = random.multinomial(1_900, (0.02, 0.05, 0.93)), random.multinomial(100, (0.7, 0.1, 0.2))
        strata = []
        for place, share in enumerate((1, 1, 0.05)):
            drawn = random.binomial([good[place], bad[place]], share)
            answered = random.binomial(drawn, 0.9)
            strata.append(
                Stratum(
                    total=int(good[place] + bad[place]),
                    asked=int(drawn.sum()),
                    good=int(answered[0]),
                    bad=int(answered[1]),
                )
            )
        seen = Observed(passed=(strata[2],), review=strata[1], reject=strata[0])
        rates = {rate.name: rate for rate in seen.rates}
        for name, true in truth.items():
            rate = rates[name]
            held[name] += rate.low <= true <= rate.high
    assert min(held.values()) >= 95
