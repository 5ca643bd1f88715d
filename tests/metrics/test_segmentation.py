"""F1 at a limit of good images against its definition."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from muad.metrics.collection import ArrayMaps, MapCollection
from muad.metrics.inputs import MetricInputError
from muad.metrics.segmentation import PixelLimit, segmentation_f1


def test_the_limit_is_the_mean_of_all_pixels_and_three_standard_deviations() -> None:
    maps = np.random.default_rng(0).normal(1e4, 0.5, (7, 20, 30)).astype(np.float32)
    taken = PixelLimit()
    assert taken.limit() is None
    for begin in range(0, 7, 3):
        taken.add(maps[begin : begin + 3])
    assert taken.limit() == pytest.approx(np.mean(maps, dtype=np.float64) + 3 * np.std(maps, dtype=np.float64))
    taken.add(np.full((1, 2, 2), np.nan, np.float32))
    assert taken.limit() == pytest.approx(np.mean(maps, dtype=np.float64) + 3 * np.std(maps, dtype=np.float64))
    with pytest.raises(MetricInputError, match="maps must be finite"):
        taken.add(np.full((1, 2, 2), np.inf, np.float32))


def test_f1_is_that_of_all_pixels_together() -> None:
    rng = np.random.default_rng(1)
    maps, masks = rng.integers(0, 9, (5, 12, 14)).astype(np.float32), rng.random((5, 12, 14)) < 0.1
    maps[masks] += 3
    labelled = ArrayMaps(maps, masks)
    for images in (range(5), [1, 3]):
        expected = f1_score(masks[list(images)].ravel(), (maps[list(images)] > 7).ravel())
        assert segmentation_f1(labelled, images, 7) == pytest.approx(expected)
    assert segmentation_f1(labelled, range(5), 99) == 0
    assert segmentation_f1(ArrayMaps(maps, np.zeros_like(masks)), range(5), 99) is None


def test_what_was_not_inspected_counts_for_nothing() -> None:
    maps, masks = np.array([[[2, np.nan], [0, 3]]], np.float32), np.array([[[True, True], [False, False]]])
    with MapCollection(lambda grids: grids, partial=True) as kept:
        kept.add(maps, masks, maps)
        assert segmentation_f1(kept, [0], 1) == pytest.approx(2 / 3)
