"""Shift and rotation: pixels land where arithmetic says, masks with them, and nothing is invented at the border."""

import cv2
import numpy as np
import pytest

from muad.conditions.pose import pose, shifted, turned


@pytest.mark.parametrize(
    ("size", "degrees", "way"),
    [
        ((60, 80), 2, (0, 0)),
        ((80, 60), -20, (0, 0)),
        ((64, 64), 0, (4, -3)),
        ((50, 90), 0, (0, 7)),
        ((9, 9), 90, (0, 0)),
    ],
)
def test_all_that_comes_into_view_was_photographed_and_it_is_enlarged_no_more_than_that_takes(
    size: tuple[int, int], degrees: float, way: tuple[float, float]
) -> None:
    height, width = size
    back = cv2.invertAffineTransform(pose(size, degrees, way))
    corners = np.array([(x, y, 1) for x in (0, width - 1) for y in (0, height - 1)])
    x, y = back @ corners.T
    room = np.array([x.min(), y.min(), width - 1 - x.max(), height - 1 - y.max()])
    assert room.min() == pytest.approx(0, abs=1e-9)


def test_a_shift_is_as_long_as_it_is_stated_and_takes_the_mask_along() -> None:
    image, mask = np.full((201, 201, 3), 90, np.uint8), np.zeros((201, 201), np.uint8)
    image[95:106, 95:106], mask[95:106, 95:106] = 255, 255
    sides = set()
    for seed in range(12):
        one, truth = shifted(image, mask, 10, np.random.default_rng(seed))
        assert truth is not None
        assert set(np.unique(truth)) == {0, 255}
        y, x = np.argwhere(truth).mean(axis=0) - 100
        assert np.hypot(y, x) == pytest.approx(10, abs=0.75)
        sides.add((x > 0, y > 0))
        assert (one[cv2.erode(truth, np.ones((5, 5), np.uint8)) > 0] > 200).all()
        assert (one[cv2.dilate(truth, np.ones((7, 7), np.uint8)) == 0] < 110).all()
    assert len(sides) == 4
    assert shifted(image, None, 10, np.random.default_rng(0))[1] is None


def test_a_quarter_turn_of_a_square_is_a_quarter_turn() -> None:
    square = np.random.default_rng(0).integers(0, 256, (21, 21, 3), np.uint8)
    found, truth = turned(square, square[..., 0], 90, np.random.default_rng(0))
    way = next(way for way in (1, -1) if (found == np.rot90(square, way)).all())
    assert truth is not None
    assert (truth == np.rot90(square[..., 0], way)).all()


def test_a_turn_moves_a_defect_by_its_angle() -> None:
    image, mask = np.full((201, 201, 3), 90, np.uint8), np.zeros((201, 201), np.uint8)
    image[95:106, 150:161], mask[95:106, 150:161] = 255, 255
    scale = np.cos(np.radians(10)) + np.sin(np.radians(10))
    sides = set()
    for seed in range(8):
        one, truth = turned(image, mask, 10, np.random.default_rng(seed))
        assert truth is not None
        y, x = np.argwhere(truth).mean(axis=0) - 100
        assert np.hypot(y, x) == pytest.approx(55 * scale, abs=1)
        angle = np.degrees(np.arctan2(-y, x))
        assert abs(angle) == pytest.approx(10, abs=0.5)
        sides.add(angle > 0)
        assert (one[cv2.erode(truth, np.ones((5, 5), np.uint8)) > 0] > 200).all()
    assert sides == {True, False}


def test_a_photograph_of_one_pixel_stays() -> None:
    assert turned(np.full((1, 1, 3), 7, np.uint8), None, 3, np.random.default_rng(0))[0].tolist() == [[[7, 7, 7]]]
