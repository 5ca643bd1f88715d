"""Differences are judged by limits and spread: figures of a few images, worked out by hand."""

import math

import numpy as np
import pytest

from muad.acceleration.deviation import Compared, Scale, compared, from_json, judge, to_json

SCALE = {"screw": Scale(score=0.1, map=0.2, limits=(0.4, 0.5))}


def image(expected: float = 0.3, score: float = 0.3, *, category: str = "screw", **values: float) -> Compared:
    given = {"usual": 0.1, "peak": 0.6, "map_deviation": 0.0} | values
    return Compared(category=category, expected=expected, score=score, **given)


def test_parts_are_of_the_way_to_the_limit() -> None:
    found = judge([image(), image(0.30, 0.305), image(map_deviation=0.02)], SCALE)
    assert found.score_part == pytest.approx(0.05)
    assert found.map_part == pytest.approx(0.1)
    assert (found.changed, found.count, found.accepted) == (0, 3, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": 0.311},  # 11 % of the way
        {"map_deviation": 0.041},  # 20.5 %
        {"expected": 0.396, "score": 0.403},  # from pass to review
        {"expected": 0.503, "score": 0.497},  # from reject to review
        {"map_deviation": math.nan},
        {"score": math.nan},
    ],
)
def test_one_image_too_far_off_is_enough(wrong) -> None:
    assert not judge([image(), image(**wrong), image()], SCALE).accepted


def test_a_score_at_the_limit_itself_may_fall_on_either_side() -> None:
    found = judge([image(0.4, 0.4009)], SCALE)
    assert (found.changed, found.accepted) == (0, True)
    assert judge([image(0.397, 0.401)], SCALE).changed == 1


def test_without_limits_the_spread_of_good_images_is_the_measure() -> None:
    scores = [0.1, 0.2, 0.3]
    found = judge([image(score, score + 0.02, category="nut", map_deviation=0.05) for score in scores], SCALE)
    assert found.score_part == pytest.approx(0.2)  # of the way from 0.2 to 0.3
    assert found.map_part == pytest.approx(0.1)  # of the way from 0.1 to 0.6
    assert found.shift == pytest.approx(0.2)
    assert found.shifted == "nut"
    assert not found.accepted


def test_a_wide_spread_excuses_no_broken_network() -> None:
    wide = {"screw": Scale(score=10.0, map=10.0)}
    assert judge([image(map_deviation=0.04)], wide).accepted
    assert not judge([image(map_deviation=0.06)], wide).accepted
    assert not judge([], wide).accepted


def test_a_detector_that_finds_nothing_is_not_infinitely_sensitive() -> None:
    flat = {"usual": 0.1, "peak": 0.1}
    assert judge([image(0.1, 0.1 + 1e-6, **flat), image(0.1, 0.1, **flat)], {}).accepted


def test_what_is_kept_is_what_was_compared() -> None:
    maps = np.array([[0.1, 0.1], [0.1, 0.7]], np.float32)
    found = compared("screw", (0.4, maps), (0.41, maps + np.float32(0.5)))
    assert found.usual == pytest.approx(0.1)
    assert found.peak == pytest.approx(0.7)
    assert found.map_deviation == pytest.approx(0.5)
    assert from_json(to_json([found])) == [found]
