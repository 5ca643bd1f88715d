"""Regions of a map: where they are, how large, how high; checked against a plain search."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muad.decisions.regions import draw_outlines, draw_place, find_regions, highest_place


def test_two_blobs_are_two_regions_the_higher_first() -> None:
    anomaly_map = np.zeros((40, 60), np.float32)
    anomaly_map[5:10, 10:30] = 2
    anomaly_map[20:30, 40:45] = 3
    anomaly_map[25, 42] = 7
    high, low = find_regions(anomaly_map, 1.0)
    assert (high.area_px, high.peak, high.peak_at) == (50, 7.0, (42, 25))
    assert high.mean == pytest.approx((49 * 3 + 7) / 50)
    assert sorted(low.polygon) == [(10, 5), (10, 9), (29, 5), (29, 9)]
    assert (low.area_px, low.mean) == (100, 2.0)


def test_values_at_the_limit_and_what_was_not_inspected_are_in_no_region() -> None:
    anomaly_map = np.full((20, 20), 1.0, np.float32)
    anomaly_map[:5] = np.nan
    assert find_regions(anomaly_map, 1.0) == ()
    anomaly_map[4:8, 4:8] = 2
    anomaly_map[4] = np.nan
    (region,) = find_regions(anomaly_map, 1.0)
    assert region.area_px == 12


def test_corners_that_touch_join_and_a_single_pixel_is_a_region() -> None:
    anomaly_map = np.zeros((10, 10), np.float32)
    anomaly_map[2, 2] = anomaly_map[3, 3] = 1
    anomaly_map[8, 8] = 5
    assert [region.area_px for region in find_regions(anomaly_map, 0.5)] == [1, 2]


def test_a_hole_is_not_area() -> None:
    anomaly_map = np.zeros((30, 30), np.float32)
    anomaly_map[5:25, 5:25] = 1
    anomaly_map[10:20, 10:20] = 0
    (region,) = find_regions(anomaly_map, 0.5)
    assert region.area_px == 300


@given(st.integers(0, 10_000))
def test_every_pixel_above_is_in_the_polygon_of_one_region_or_a_pixel_off(seed: int) -> None:
    random = np.random.default_rng(seed)
    anomaly_map = cv2.GaussianBlur(random.random((50, 70), np.float32), (0, 0), 3)
    limit = float(np.quantile(anomaly_map, 0.9))
    regions = find_regions(anomaly_map, limit)
    assert sum(region.area_px for region in regions) == int((anomaly_map > limit).sum())
    assert [region.peak for region in regions] == sorted((region.peak for region in regions), reverse=True)
    covered = np.zeros((50, 70), np.uint8)
    for region in regions:
        assert region.peak == anomaly_map[region.peak_at[1], region.peak_at[0]]
        cv2.fillPoly(covered, [np.array(region.polygon, np.int32)], 1)
    missed = (anomaly_map > limit) & (cv2.dilate(covered, np.ones((3, 3), np.uint8)) == 0)
    assert not missed.any()


def test_outlines_are_drawn_on_a_copy() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    anomaly_map = np.zeros((60, 60), np.float32)
    anomaly_map[20:40, 20:40] = 1
    drawn = draw_outlines(image, find_regions(anomaly_map, 0.5))
    assert (image == 90).all()
    assert (drawn[20, 20:40] != 90).any(axis=1).all()
    assert (drawn[25:35, 25:35] == 90).all()
    np.testing.assert_array_equal(draw_outlines(image, ()), image)


def test_the_highest_place_is_round_the_peak_and_small() -> None:
    anomaly_map = np.random.default_rng(0).random((60, 80)).astype(np.float32) * 0.1
    anomaly_map[:8] = np.nan
    anomaly_map[30:36, 50:58] = 0.5
    anomaly_map[32, 53] = 0.6
    place = highest_place(anomaly_map)
    assert place is not None
    assert place.peak_at == (53, 32)
    assert place.area_px == 48
    ramp = np.broadcast_to(np.linspace(0, 1, 400, dtype=np.float32), (100, 400))
    place = highest_place(ramp)
    assert place is not None
    assert place.area_px <= 0.06 * ramp.size
    assert highest_place(np.full((20, 20), 3.0, np.float32)) is None


@given(st.integers(0, 10_000))
def test_every_map_that_is_not_flat_has_a_highest_place_that_can_be_drawn(seed: int) -> None:
    random = np.random.default_rng(seed)
    anomaly_map = random.choice([0.0, 1.0, 1.0 + 1e-7], (24, 30)).astype(np.float32)
    anomaly_map[0] = 0
    anomaly_map[random.integers(1, 24), random.integers(0, 30)] = 1
    anomaly_map[:, :3] = np.nan
    place = highest_place(anomaly_map)
    if place is not None:
        assert place.peak == np.nanmax(anomaly_map)
        image = np.full((24, 30, 3), 90, np.uint8)
        assert (draw_place(image, place) != image).any()
