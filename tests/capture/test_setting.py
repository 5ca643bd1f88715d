"""Limits set from good photographs are passed by further good ones no more often than promised."""

import dataclasses
import math

import numpy as np
import pytest

from muad.capture import Capture, CaptureLimits
from muad.capture.limits import QUANTITIES, Bounds
from muad.capture.setting import Learned, learn_limits, least_photographs

_USUAL = Capture(
    brightness=120,
    highlights=200,
    dark=0.001,
    bright=0.002,
    contrast=0.3,
    grain=1.2,
    sharpness=0.8,
    blank=0.01,
    structure=90,
    range=150,
)


def _photographs(random: np.random.Generator, count: int, spread: float = 0.2) -> list[Capture]:
    """Every quantity as another log-normal number, heavy-tailed where it is a share; several move together."""
    found = []
    for _ in range(count):
        lamp = random.normal()
        factor = {name: math.exp(spread * (0.6 * lamp + 0.8 * random.normal())) for name in QUANTITIES}
        factor |= {name: math.exp(10 * spread * random.normal()) for name in ("dark", "bright", "blank")}
        values = {name: min(getattr(_USUAL, name) * factor[name], 1e6) for name in QUANTITIES}
        found.append(dataclasses.replace(_USUAL, **values))
    return found


def _flagged(learned: Learned, captured: Capture) -> list[str]:
    limits = CaptureLimits(rate=learned.rate, categories={"bolt": learned.bounds})
    return [reason.what for reason in limits.reasons("bolt", captured)]


@pytest.mark.parametrize(("count", "rate"), [(12, 0.005), (40, 0.005), (80, 0.005), (60, 0.05)])
def test_good_photographs_are_flagged_no_more_often_than_promised(count: int, rate: float) -> None:
    random, flagged, tried = np.random.default_rng(5), 0, 0
    for _ in range(120):
        learned = learn_limits(_photographs(random, count), [], rate)
        assert learned is not None
        flagged += sum(bool(_flagged(learned, each)) for each in _photographs(random, 25))
        tried += 25
    promised = max(rate, 1 / (count + 1))
    assert learned.rate == pytest.approx(promised)
    assert flagged / tried < promised + 3 * math.sqrt(promised / 120)  # draws of one calibration hang together
    assert flagged / tried > promised / 4  # nor are limits so far away that they say nothing


def test_photographs_that_repeat_each_other_count_once() -> None:
    photographs = _photographs(np.random.default_rng(0), 30)
    learned = learn_limits([*photographs, *photographs], [(place, place + 30) for place in range(30)], 0.005)
    assert learned is not None
    assert (learned.photographs, learned.independent) == (60, 30)
    assert learned.rate == pytest.approx(1 / 31)
    once = learn_limits(photographs, [], 0.005)
    assert once is not None
    for name, bounds in once.bounds.items():
        for side in ("at_least", "at_most"):
            value = getattr(bounds, side)
            assert value is None or getattr(learned.bounds[name], side) == pytest.approx(value, rel=0.1)


def test_one_odd_photograph_loosens_only_the_limit_it_is_odd_in() -> None:
    photographs = _photographs(np.random.default_rng(3), 60)
    odd = dataclasses.replace(_USUAL, structure=5.0)
    before, after = learn_limits(photographs, [], 0.005), learn_limits([*photographs, odd], [], 0.005)
    assert before is not None
    assert after is not None
    assert (after.bounds["structure"].at_least or 0) < 5 < (before.bounds["structure"].at_least or 0)
    assert (after.bounds["brightness"].at_least or 0) > 0.6 * (before.bounds["brightness"].at_least or 0)


def test_too_few_photographs_set_no_limits() -> None:
    photographs = _photographs(np.random.default_rng(0), least_photographs())
    assert least_photographs() == 9
    assert learn_limits(photographs, [], 0.005) is not None
    assert learn_limits(photographs[:-1], [], 0.005) is None
    assert learn_limits(photographs, [(0, 1)], 0.005) is None


def test_equal_photographs_leave_room_for_what_nobody_sees() -> None:
    learned = learn_limits([_USUAL] * 12, [], 0.005)
    assert learned is not None
    assert learned.bounds["brightness"].at_least == pytest.approx(120 / 1.1, rel=0.01)
    assert learned.bounds["brightness"].at_most == pytest.approx(120 * 1.1, rel=0.01)
    assert learned.bounds["sharpness"] == Bounds(at_least=pytest.approx(0.8 / 1.15, rel=0.001))
    for name in ("dark", "bright", "blank"):
        assert learned.bounds[name].at_least is None
        assert 0.02 < (learned.bounds[name].at_most or 0) < 0.1


def test_limits_that_nothing_can_pass_are_not_there() -> None:
    bright = [dataclasses.replace(each, brightness=240.0) for each in _photographs(np.random.default_rng(1), 20)]
    learned = learn_limits(bright, [], 0.005)
    assert learned is not None
    assert learned.bounds["brightness"].at_most is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"brightness": 50.0}, ["too dark"]),
        ({"brightness": 220.0}, ["too bright"]),
        ({"highlights": 100.0}, ["too dark"]),
        ({"dark": 0.9, "brightness": 20.0}, ["too dark"]),
        ({"bright": 0.9}, ["too bright"]),
        ({"contrast": 0.05}, ["low contrast"]),
        ({"sharpness": 0.3}, ["blurred"]),
        ({"grain": 0.3, "sharpness": 0.3}, ["blurred"]),
        ({"grain": 3.0}, ["noisy"]),
        ({"structure": 5.0}, ["no content"]),
        ({"blank": 0.9}, ["no content"]),
        ({"structure": 0.0, "range": 0.0, "contrast": 0.0, "grain": 1.0}, ["no content"]),
        ({"structure": 0.0, "range": 0.0, "brightness": 0.0, "dark": 1.0}, ["no content", "too dark"]),
    ],
)
def test_each_fault_has_its_own_words_said_once(change: dict[str, float], expected: list[str]) -> None:
    learned = learn_limits(_photographs(np.random.default_rng(2), 30, spread=0.02), [], 0.005)
    assert learned is not None
    assert _flagged(learned, dataclasses.replace(_USUAL, **change)) == expected
    assert _flagged(learned, _USUAL) == []
