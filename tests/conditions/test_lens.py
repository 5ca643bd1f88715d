"""Blur against sums over a kernel, dust against its own geometry."""

import cv2
import numpy as np
import pytest

from muad.conditions.lens import DEPTHS, DIAMETERS, blurred, dusty, transmission


@pytest.mark.parametrize("sigma", [1.0, 1.7])
def test_blur_is_the_sum_over_a_gaussian(sigma: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 15, 3), np.uint8)
    reach = 8
    line = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    line /= line.sum()
    around = np.pad(image.astype(float), [(reach, reach), (reach, reach), (0, 0)], mode="reflect")
    expected = np.zeros(image.shape)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            expected += line[down] * line[right] * around[down : down + 12, right : right + 15]
    assert np.abs(blurred(image, sigma) - expected).max() <= 1.5  # levels: eight bits, and a kernel cut at 3 sigma


def test_an_edge_through_a_blur_is_as_wide_as_the_blur_says() -> None:
    image = np.zeros((5, 101, 3), np.uint8)
    image[:, 50:] = 200
    slope = np.diff(blurred(image, 4.0)[2, :, 0].astype(float)) / 200
    places = np.arange(100) + 0.5
    middle = (slope * places).sum()
    assert np.sqrt((slope * np.square(places - middle)).sum()) == pytest.approx(4.0, rel=0.05)


def test_dust_lies_in_round_specks_and_takes_what_is_stated() -> None:
    through = transmission((400, 600), 1, np.random.default_rng(3))
    row, column, diameter, depth = np.random.default_rng(3).uniform(size=4)
    y, x = np.indices(through.shape)
    away = np.hypot(y - row * 399, x - column * 599)
    radius = 600 * (DIAMETERS[0] + diameter * (DIAMETERS[1] - DIAMETERS[0])) / 2
    assert (through[away > radius] == 1).all()
    darkest = 1 - (DEPTHS[0] + depth * (DEPTHS[1] - DEPTHS[0]))
    assert through[away <= 0.6 * radius] == pytest.approx(darkest)
    rim = (away > 0.6 * radius) & (away < radius)
    assert ((through[rim] > darkest - 1e-6) & (through[rim] < 1)).all()


def test_dust_darkens_as_many_places_as_there_are_specks_and_lies_still() -> None:
    image = np.full((500, 500, 3), 200, np.uint8)
    first = dusty(image, 12, np.random.default_rng(0))
    spots, _ = cv2.connectedComponents((first[..., 0] < 200).astype(np.uint8))
    assert 8 <= spots - 1 <= 12  # some may touch
    assert (first == dusty(image, 12, np.random.default_rng(0))).all()
    larger = transmission((1000, 1000), 12, np.random.default_rng(0))
    half = cv2.resize(larger, (500, 500), interpolation=cv2.INTER_AREA)
    assert np.abs(half - transmission((500, 500), 12, np.random.default_rng(0))).mean() < 1e-3


def test_a_speck_at_the_border_is_cut_off() -> None:
    assert dusty(np.full((3, 3, 3), 100, np.uint8), 50, np.random.default_rng(0)).shape == (3, 3, 3)
