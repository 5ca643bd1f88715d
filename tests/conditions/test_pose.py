"""Shift and rotation: pixels land where arithmetic says, and masks with them."""

import cv2
import numpy as np
import pytest

from muad.conditions.pose import moved, rotated, shifted, turned

IMAGE = np.random.default_rng(0).integers(0, 256, (21, 27, 3), np.uint8)


@pytest.mark.parametrize(("down", "right"), [(3, -4), (0, 5), (-2, 0), (-1, 1), (0, 0)])
def test_every_pixel_comes_from_where_it_was_or_from_its_mirror_image(down: int, right: int) -> None:
    height, width = IMAGE.shape[:2]

    def mirrored(place: int, length: int) -> int:
        return -place if place < 0 else 2 * (length - 1) - place if place >= length else place

    found = moved(IMAGE, down, right)
    for y in range(height):
        for x in range(width):
            assert (found[y, x] == IMAGE[mirrored(y - down, height), mirrored(x - right, width)]).all()


def test_a_shift_is_as_long_as_it_is_stated_and_takes_the_mask_along() -> None:
    image, mask = np.zeros((80, 80, 3), np.uint8), np.zeros((80, 80), np.uint8)
    image[40, 40], mask[40, 40] = 255, 255
    ways = set()
    for seed in range(40):
        one, truth = shifted(image, mask, 10, np.random.default_rng(seed))
        assert truth is not None
        (place,) = np.argwhere(truth)
        assert (one[tuple(place)] == 255).all()
        assert np.hypot(*(place - 40)) == pytest.approx(10, abs=0.75)
        ways.add(tuple(place))
    assert len(ways) > 20
    assert shifted(image, None, 10, np.random.default_rng(0))[1] is None


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    square = IMAGE[:21, :21]
    assert (rotated(square, 90, cv2.INTER_CUBIC) == np.rot90(square)).all()
    assert (rotated(square, 180, cv2.INTER_NEAREST) == np.rot90(square, 2)).all()


def test_a_turn_moves_a_defect_by_its_angle_and_masks_stay_as_sharp() -> None:
    image, mask = np.full((201, 201, 3), 90, np.uint8), np.zeros((201, 201), np.uint8)
    image[95:106, 170:181], mask[95:106, 170:181] = 255, 255
    sides = set()
    for seed in range(8):
        one, truth = turned(image, mask, 10, np.random.default_rng(seed))
        assert truth is not None
        assert set(np.unique(truth)) == {0, 255}
        y, x = np.argwhere(truth).mean(axis=0) - 100
        assert np.hypot(y, x) == pytest.approx(75, abs=1)
        angle = np.degrees(np.arctan2(-y, x))
        assert abs(angle) == pytest.approx(10, abs=0.5)
        sides.add(angle > 0)
        inside = cv2.erode(truth, np.ones((5, 5), np.uint8)) > 0
        assert (one[inside] > 200).all()
    assert sides == {True, False}
