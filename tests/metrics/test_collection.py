"""Maps kept small give the figures of maps kept whole, in memory that hardly grows with their number."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from muad.errors import DataError
from muad.metrics import counting
from muad.metrics.collection import MapCollection
from muad.metrics.inputs import MetricInputError
from muad.metrics.region import PixelMetrics, pixel_metrics, pixel_metrics_of

FIGURES = ("auroc", "average_precision", "f1_max", "f1_max_threshold", "aupro", "aupimo")


def enlarge(grids: np.ndarray) -> np.ndarray:
    """Grids as maps eight times as large, smoothed."""
    maps = np.repeat(np.repeat(grids, 8, axis=1), 8, axis=2)
    return (maps + np.roll(maps, 3, axis=1) + np.roll(maps, 3, axis=2)).astype(np.float32)


def sample(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grids, and masks of every second image."""
    generator = np.random.default_rng(seed)
    grids = generator.gamma(4, 0.03, (count, 8, 8)).astype(np.float32)
    masks = np.zeros((count, 64, 64), bool)
    for index in range(0, count, 2):
        top, left = generator.integers(0, 50, 2)
        masks[index, top : top + 7, left : left + 9] = masks[index, 60:62, 3:8] = True
        grids[index, top // 8, left // 8] += 0.2
    return grids, masks


def collect(grids: np.ndarray, masks: np.ndarray, *, with_grids: bool, batch: int = 4) -> MapCollection:
    kept = MapCollection(enlarge)
    for begin in range(0, len(grids), batch):
        part = slice(begin, begin + batch)
        kept.add(enlarge(grids[part]), masks[part], grids[part] if with_grids else None)
    return kept


def figures(metrics: PixelMetrics) -> list[float | None]:
    return [getattr(metrics, name) for name in FIGURES]


@pytest.mark.parametrize("with_grids", [True, False], ids=["as grids", "in a file"])
@pytest.mark.parametrize("definition", ["exact", "thresholds_200"])
def test_figures_are_those_of_the_whole_maps(with_grids, definition):
    grids, masks = sample(11)
    whole = pixel_metrics(enlarge(grids), masks, aupro=definition)
    with collect(grids, masks, with_grids=with_grids) as kept:
        assert figures(pixel_metrics_of(kept, aupro=definition)) == pytest.approx(figures(whole), abs=1e-7)
        assert pixel_metrics_of(kept, aupro=definition, threads=3) == pixel_metrics_of(kept, aupro=definition)


@pytest.mark.parametrize("with_grids", [True, False], ids=["as grids", "in a file"])
def test_four_times_the_images_take_hardly_more_memory(with_grids, monkeypatch):
    monkeypatch.setattr(counting, "_CHUNK_PIXELS", 50 * 64 * 64)
    monkeypatch.setattr(counting, "_BAND_PIXELS", 8000)

    def peak(count: int) -> int:
        grids, masks = sample(40)
        tracemalloc.start()
        with MapCollection(enlarge) as kept:
            for _ in range(count // 40):
                kept.add(enlarge(grids), masks, grids if with_grids else None)
            pixel_metrics_of(kept, threads=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    as_arrays = 1200 * 64 * 64 * 5  # what 1,200 maps and masks more would take
    assert peak(1600) - peak(400) < as_arrays / 10


def test_masks_come_back_as_they_were():
    grids, masks = sample(6)
    masks[1] = True
    with collect(grids, masks, with_grids=True) as kept:
        np.testing.assert_array_equal(kept.masks(np.array([4, 1, 3])), masks[[4, 1, 3]])
        assert kept.anomalous_pixels.tolist() == np.count_nonzero(masks, axis=(1, 2)).tolist()


def test_an_empty_collection_has_no_figures():
    with MapCollection(enlarge) as kept:
        kept.add(np.empty((0, 64, 64), np.float32), np.empty((0, 64, 64), bool))
        assert set(pixel_metrics_of(kept).reasons.values()) == {"there are no masks"}
        with pytest.raises(MetricInputError, match="maps must be added before"):
            kept.extremes()


def test_a_map_that_is_not_finite_is_refused():
    grids, masks = sample(4)
    grids[1, 0, 0] = np.nan
    with collect(grids, masks, with_grids=False) as kept, pytest.raises(MetricInputError, match="maps must be finite"):
        pixel_metrics_of(kept, aupro="thresholds_200")


def test_no_room_for_the_maps_is_said_with_the_remedy(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    grids, masks = sample(2)
    with pytest.raises(DataError, match=r"temporary folder must hold the maps .*No such file.*set TMPDIR"):
        collect(grids, masks, with_grids=False)


@pytest.mark.parametrize("definition", ["exact", "thresholds_200"])
@pytest.mark.parametrize("band_pixels", [1 << 21, 100])
def test_what_was_not_inspected_counts_for_nothing(definition, band_pixels, monkeypatch):
    """NaN in the right half gives the figures of the left halves alone; the seam cuts regions as a rim does."""
    monkeypatch.setattr(counting, "_BAND_PIXELS", band_pixels)
    grids, masks = sample(9)
    maps = enlarge(grids)
    left = pixel_metrics(maps[:, :, :32], masks[:, :, :32], aupro=definition)
    maps[:, :, 32:] = np.nan
    with MapCollection(enlarge, partial=True) as kept:
        kept.add(maps[:5], masks[:5])
        kept.add(maps[5:], masks[5:])
        assert figures(pixel_metrics_of(kept, aupro=definition)) == pytest.approx(figures(left), abs=1e-7)


def test_nan_is_a_fault_where_everything_is_inspected():
    grids, masks = sample(4)
    maps = enlarge(grids)
    maps[1, 0, 0] = np.nan
    with MapCollection(enlarge) as kept:
        kept.add(maps, masks)
        with pytest.raises(MetricInputError, match="maps must be finite"):
            pixel_metrics_of(kept)
