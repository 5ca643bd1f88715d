"""Turned and random looks against what a loop over pixels says they must be."""

import itertools
import math

import numpy as np
import pytest

from muad.images.augmentation import random_look, turned


def ramps(height: int, width: int) -> np.ndarray:
    """A view whose values say where each pixel lies."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([2 * rows, 2 * columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def by_loop(view: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the centre, pixel by pixel; outside, the view is mirrored at its outermost pixels."""
    height, width = view.shape[:2]
    angle, found = math.radians(degrees), np.zeros(view.shape)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2

    def value(y: int, x: int) -> np.ndarray:
        def inside(place: int, length: int) -> int:
            place = abs(place) % (2 * (length - 1))
            return min(place, 2 * (length - 1) - place)

        return view[inside(y, height), inside(x, width)].astype(float)

    for row, column in itertools.product(range(height), range(width)):
        y, x = row - middle_y, column - middle_x
        from_x = math.cos(angle) * x - math.sin(angle) * y + middle_x
        from_y = math.sin(angle) * x + math.cos(angle) * y + middle_y
        top, left = math.floor(from_y), math.floor(from_x)
        down, right = from_y - top, from_x - left
        found[row, column] = (1 - down) * ((1 - right) * value(top, left) + right * value(top, left + 1)) + down * (
            (1 - right) * value(top + 1, left) + right * value(top + 1, left + 1)
        )
    return found


@pytest.mark.parametrize("degrees", [45.0, 135.0, 300.0])
def test_a_turn_is_that_of_a_loop_over_pixels(degrees: float) -> None:
    view = np.random.default_rng(1).integers(0, 255, (20, 17, 3), np.uint8)
    smooth = np.kron(view[::5, ::5], np.ones((5, 5, 1))).astype(np.uint8)[:20, :17]
    (found,) = turned(smooth[None], degrees)
    assert (
        np.abs(found.astype(float) - by_loop(smooth, degrees)).max() <= 255 / 32 + 1
    )  # OpenCV has 32 steps to a pixel


def test_quarters_of_a_turn_are_exact() -> None:
    views = np.random.default_rng(2).integers(0, 255, (2, 12, 12, 3), np.uint8)
    for quarter in range(4):
        assert np.array_equal(turned(views, 90.0 * quarter), np.rot90(views, quarter, axes=(1, 2)))
    oblong = views[:, :, :9]
    assert np.array_equal(turned(oblong, 180.0), oblong[:, ::-1, ::-1])
    assert turned(oblong, 90.0).shape == oblong.shape


def test_a_random_look_shows_a_part_of_the_stated_area_and_shape_in_one_of_eight_positions() -> None:
    view, crop, seen, lefts = ramps(120, 120), (100, 100), set(), []
    for seed in range(200):
        look = random_look(view, crop, seed)[..., :2].astype(float) / 2
        assert look.shape == (100, 100, 2)
        # Values rise evenly, so the slopes of both say how the part lies, and how large it is.
        down, right = (look[89, 50] - look[10, 50]) / 79, (look[50, 89] - look[50, 10]) / 79
        turned_over = abs(down[0]) < 0.5
        height, width = (abs(right[0]), abs(down[1])) if turned_over else (abs(down[0]), abs(right[1]))
        assert height * width == pytest.approx(1, abs=0.03)
        assert 0.94 < width / height < 1.06
        seen.add(tuple(np.sign(np.round(np.concatenate([down, right])))))
        lefts.append(look[..., 1].min())
    assert len(seen) == 8
    assert 0 <= min(lefts) < 3
    assert 13 < max(lefts) <= 20 + 6


def test_a_look_depends_on_its_seed_alone_and_the_whole_view_is_only_turned_and_mirrored() -> None:
    view = np.random.default_rng(3).integers(0, 255, (30, 30, 3), np.uint8)
    assert np.array_equal(random_look(view, (24, 24), 5), random_look(view.copy(), (24, 24), 5))
    eight = [np.rot90(one, quarter) for one in (view, view[:, ::-1]) for quarter in range(4)]
    for seed in range(20):
        look = random_look(view, (30, 30), seed)
        assert sum(np.array_equal(look, one) for one in eight) == 1


def test_two_senses_are_cropped_and_turned_alike() -> None:
    first, second = np.random.default_rng(5).integers(0, 256, (2, 40, 40, 3), np.uint8)
    both = np.concatenate([first, second], axis=2)
    for seed in range(4):
        expected = [random_look(one, (30, 30), seed) for one in (first, second)]
        np.testing.assert_array_equal(random_look(both, (30, 30), seed), np.concatenate(expected, axis=2))
    expected = [turned(one[None], 30.0) for one in (first, second)]
    np.testing.assert_array_equal(turned(both[None], 30.0), np.concatenate(expected, axis=3))
