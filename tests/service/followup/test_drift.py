"""What is followed of a product, and what is raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from muad.capture.limits import Bounds
from muad.service.followup.baseline import Baseline, baseline_of
from muad.service.followup.drift import (
    DISTANCE,
    FROM_THE_START,
    HIGH_SCORES,
    OUTSIDE,
    SCORE,
    DriftSettings,
    Ended,
    Part,
    ProductWatch,
    Signal,
)

BEGIN = datetime(2026, 1, 31, tzinfo=UTC)


def calibrated(count: int = 60, seed: int = 0) -> Baseline:
    scores = tuple(np.sort(np.random.default_rng(seed).standard_normal(count)).tolist())
    return baseline_of(scores, {"brightness": Bounds(at_least=-3, at_most=3), "grain": Bounds(at_most=9)}, 0.005)


def parts(seed: int, count: int, change_at: int = 10**9, **shifts: float) -> Iterator[Part]:
    random = np.random.default_rng(seed)
    for place in range(count):
        values = dict(zip(("score", "brightness", "sharpness"), random.standard_normal(3).tolist(), strict=True))
        values["product_p"] = float(np.ceil(50 * random.random()) / 50)
        if place >= change_at:
            values = {name: value + shifts.get(name, 0) for name, value in values.items()}
        yield Part(id=f"{place:06d}", at=BEGIN + timedelta(seconds=place), verdict="pass", **values)


def follow(watch: ProductWatch, seen: Iterator[Part]) -> list[Signal | Ended]:
    return [one for part in seen for one in watch.see(part)]


def test_a_line_on_which_nothing_changes_raises_nothing():
    assert follow(ProductWatch(calibrated(), DriftSettings(), "seed"), parts(1, 800)) == []


@pytest.mark.parametrize(
    ("quantity", "shifts", "direction"),
    [
        (SCORE, {"score": -1.0}, "lower"),
        (HIGH_SCORES, {"score": 2.5}, "more"),
        ("brightness", {"brightness": 1.0}, "higher"),
        ("sharpness", {"sharpness": -1.0}, "lower"),
        (DISTANCE, {"product_p": -0.6}, "higher"),
        (OUTSIDE, {"brightness": 4.0}, "more"),
    ],
)
def test_a_signal_says_what_changed_when_it_began_and_which_parts_show_it(
    quantity: str, shifts: dict[str, float], direction: str
):
    raised = follow(ProductWatch(calibrated(), DriftSettings(), "seed"), parts(2, 420, 250, **shifts))
    signal = next(one for one in raised if one.quantity == quantity)
    assert isinstance(signal, Signal)
    assert signal.direction == direction
    changed = BEGIN + timedelta(seconds=250)
    assert abs((signal.began_at - changed).total_seconds()) < 30
    assert signal.raised_at - signal.began_at < timedelta(seconds=150)
    assert signal.statistic >= signal.threshold == DriftSettings().threshold
    assert signal.shown_by
    assert all(int(part) >= 240 for part in signal.shown_by)


def test_parts_unlike_the_calibration_images_from_the_start_are_told_apart_from_a_later_change():
    raised = follow(ProductWatch(calibrated(), DriftSettings(), "seed"), parts(3, 200, 0, score=-1.2))
    assert raised[0].quantity == FROM_THE_START
    assert isinstance(raised[0], Signal)
    assert raised[0].direction == "lower"
    assert raised[0].began_at == BEGIN
    assert [one.quantity for one in raised].count(FROM_THE_START) == 1


def test_usual_bad_parts_are_no_change():
    random = np.random.default_rng(4)
    watch = ProductWatch(calibrated(), DriftSettings(), "seed")
    usual = (
        Part(id=str(place), at=BEGIN + timedelta(seconds=place), verdict="pass", score=float(score))
        for place, score in enumerate(random.standard_normal(700) + 5 * (random.random(700) < 0.04))
    )
    assert follow(watch, usual) == []


def test_a_signal_stands_until_nothing_is_seen_for_long_and_is_not_repeated_meanwhile():
    watch = ProductWatch(calibrated(), DriftSettings(), "seed")
    random, raised = np.random.default_rng(5), []
    for place, level in enumerate(random.standard_normal(1_900) + 1.5 * np.repeat([0, 1, 0], [300, 500, 1_100])):
        part = Part(id=str(place), at=BEGIN + timedelta(seconds=place), verdict="pass", brightness=float(level))
        raised += watch.see(part)
        if place == 700:
            assert watch.standing == ("brightness",)
    assert [type(one) for one in raised] == [Signal, Ended]
    assert watch.standing == ()


def test_what_is_accepted_is_the_usual_from_then_on():
    watch = ProductWatch(calibrated(), DriftSettings(), "seed")
    raised = follow(watch, parts(6, 500, 300, brightness=2.0))
    assert "brightness" in [one.quantity for one in raised]
    watch.accept("brightness")
    assert "brightness" not in watch.standing
    assert [one for one in follow(watch, parts(7, 700, 0, brightness=2.0)) if one.quantity == "brightness"] == []


def test_the_same_parts_give_the_same_signals_again():
    both = [follow(ProductWatch(calibrated(), DriftSettings(), "seed"), parts(8, 500, 300, score=-1)) for _ in "ab"]
    assert both[0] == both[1]
    assert both[0]


def test_without_calibration_only_the_station_itself_is_compared_with():
    raised = follow(ProductWatch(Baseline(), DriftSettings(), "seed"), parts(9, 400, 200, score=5, sharpness=2))
    assert {one.quantity for one in raised} == {"sharpness"}


def test_the_cut_is_a_calibration_score_that_few_exceed():
    baseline = calibrated(199)
    assert baseline.cut == baseline.calibrated[189]
    assert len(baseline.scores) == 189
    assert 0.05 < baseline.above < 0.1
    assert list(baseline.ranges) == ["brightness"]
