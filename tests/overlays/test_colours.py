"""Overlays on one scale: the photograph where nothing is anomalous, yellow to red where something is."""

import numpy as np

from muad.overlays import draw_overlay

GREY = np.full((20, 30, 3), 100, np.uint8)


def test_an_overlay_leaves_the_photograph_as_it_is_where_nothing_is_anomalous() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(draw_overlay(image, np.full((20, 30), 0.5, np.float32), (0.5, 1.0)), image)
    np.testing.assert_array_equal(draw_overlay(image, np.zeros((20, 30), np.float32), (0.5, 1.0)), image)


def test_an_overlay_is_on_the_same_scale_for_all_images() -> None:
    anomaly_map = np.full((20, 30), 0.2, np.float32)
    anomaly_map[5, 5] = 0.6
    beside = anomaly_map.copy()
    beside[10, 10] = 9.0
    one, other = draw_overlay(GREY, anomaly_map, (0.2, 1.0)), draw_overlay(GREY, beside, (0.2, 1.0))
    np.testing.assert_array_equal(one[5, 5], other[5, 5])
    assert (one[5, 5] != GREY[5, 5]).any()


def test_an_overlay_turns_from_yellow_to_red_and_keeps_the_part_visible() -> None:
    anomaly_map = np.broadcast_to(np.linspace(0, 1, 30, dtype=np.float32), (20, 30))
    row = draw_overlay(GREY, anomaly_map, (0.0, 1.0))[0].astype(int)
    assert (np.diff(np.abs(row - 100).sum(axis=1)) >= 0).all()  # ever further from the photograph
    assert row[-1, 0] > 200 > 100 > row[-1, 1]
    assert row[12, 1] > row[12, 2]
    assert (draw_overlay(GREY + 100, anomaly_map, (0.0, 1.0))[0, -1] > row[-1]).all()


def test_an_overlay_darkens_what_was_never_looked_at() -> None:
    anomaly_map = np.zeros((20, 30), np.float32)
    anomaly_map[:4] = np.nan
    overlay = draw_overlay(GREY, anomaly_map, (0.0, 1.0))
    assert (overlay[:4] == 45).all()
    assert (overlay[4:] == 100).all()


def test_without_a_scale_the_range_of_the_map_is_taken() -> None:
    anomaly_map = np.full((20, 30), 3.0, np.float32)
    np.testing.assert_array_equal(draw_overlay(GREY, anomaly_map), GREY)
    anomaly_map[0, 0] = 4.0
    assert draw_overlay(GREY, anomaly_map)[0, 0, 0] > 200
