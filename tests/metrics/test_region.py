"""Pixel metrics against scikit-learn, curves built threshold by threshold, closed forms, and their own invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from muad.errors import ConfigError, MuadError
from muad.metrics import counting
from muad.metrics.collection import ArrayMaps
from muad.metrics.region import PixelMetrics, pixel_metrics

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def regions_of(masks: np.ndarray) -> list[np.ndarray]:
    """Each defect region as a boolean array over all maps; corners connect."""
    regions = []
    for image, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for label in range(1, count + 1):
            region = np.zeros_like(masks)
            region[image] = labelled == label
            regions.append(region)
    return regions


def curve_by_thresholds(masks: np.ndarray, found_at: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """False-positive rate and mean overlap per region for each given set of found pixels."""
    regions = regions_of(masks)
    rates = [found[~masks].mean() for found in found_at]
    overlaps = [np.mean([found[region].mean() for region in regions]) for found in found_at]
    return np.array(rates), np.array(overlaps)


def mvtec_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """The definition of MVTec AD: all thresholds, trapezoids, the last one cut by interpolation at the limit."""
    thresholds = np.unique(maps)[::-1]
    rates, overlaps = curve_by_thresholds(masks, [maps >= threshold for threshold in thresholds])
    rates, overlaps = np.concatenate([[0], rates]), np.concatenate([[0], overlaps])
    area = 0.0
    for left in range(len(rates) - 1):
        x0, x1, y0, y1 = rates[left], rates[left + 1], overlaps[left], overlaps[left + 1]
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def authors_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """The definition of Dinomaly's authors: 200 equal steps, strictly above, cut below the limit and stretched."""
    low, high = maps.min(), maps.max()
    thresholds = np.arange(low, high, (high - low) / 200, dtype=maps.dtype)
    rates, overlaps = curve_by_thresholds(masks, [maps > threshold for threshold in thresholds])
    kept = rates < limit
    rates, overlaps = rates[kept] / rates[kept].max(), overlaps[kept]
    return sum((rates[i] - rates[i + 1]) * (overlaps[i] + overlaps[i + 1]) / 2 for i in range(len(rates) - 1))


def stepwise_aupimo(maps: np.ndarray, masks: np.ndarray) -> float:
    """Each image's recall at every false-positive rate that normal images allow, step by step over log rate."""
    low, high = 1e-5, 1e-4
    with_defect = masks.any(axis=(1, 2))
    normal = np.sort(maps[~with_defect].ravel())[::-1]
    areas = []
    for anomaly_map, mask in zip(maps[with_defect], masks[with_defect], strict=True):
        area = 0.0
        for allowed in range(math.ceil(high * normal.size)):
            start, end = max(allowed / normal.size, low), min((allowed + 1) / normal.size, high)
            if end > start:
                # So many false positives are not exceeded by exactly the thresholds above the next normal score.
                area += (anomaly_map[mask] > normal[allowed]).mean() * math.log(end / start)
        areas.append(area / math.log(high / low))
    return float(np.mean(areas))


def blobs(n: int, size: int, seed: int, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise, brighter in rectangles that are the defects of two images in three."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.normal(size=(n, size, size)), (0, 1, 1))
    masks = np.zeros(maps.shape, dtype=bool)
    for image in range(n):
        for _ in range(image % 3):
            top, left = rng.integers(0, size - 5, 2)
            height, width = rng.integers(1, 6, 2)
            masks[image, top : top + height, left : left + width] = True
    maps = (maps + rng.random((n, 1, 1)) * masks).astype(np.float32)
    return (maps if decimals is None else np.round(maps, decimals)), masks


@st.composite
def tied_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Small integer maps, full of ties, with masks that hold both labels."""
    n, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = rng.integers(0, draw(st.integers(1, 8)), (n, height, width), endpoint=True).astype(np.float32)
    masks = rng.random(maps.shape) < draw(st.sampled_from([0.1, 0.4, 0.8]))
    masks.flat[0], masks.flat[-1] = True, False
    return maps, masks


def values(metrics: PixelMetrics) -> list[float | None]:
    """All but the threshold, which moves with the scale."""
    return [metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.aupro, metrics.aupimo]


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "tied"])
def test_pixel_ranking_agrees_with_scikit_learn(decimals):
    maps, masks = blobs(9, 48, seed=1, decimals=decimals)
    metrics = pixel_metrics(maps, masks)
    truth, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert metrics.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert metrics.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert metrics.f1_max == pytest.approx(f1.max(), abs=1e-12)
    found = maps >= metrics.f1_max_threshold
    assert 2 * (found & masks).sum() / (found.sum() + masks.sum()) == pytest.approx(metrics.f1_max, abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("decimals", [2, 1, 0])
def test_exact_aupro_is_the_area_of_the_curve_built_threshold_by_threshold(decimals, limit):
    maps, masks = blobs(6, 24, seed=2, decimals=decimals)
    assert pixel_metrics(maps, masks, fpr_limit=limit).aupro == pytest.approx(mvtec_aupro(maps, masks, limit), abs=1e-9)


@PROPERTY
@given(tied_maps(), st.sampled_from([0.05, 0.3, 0.77, 1.0]))
def test_exact_aupro_holds_on_maps_full_of_ties(sample, limit):
    maps, masks = sample
    assert pixel_metrics(maps, masks, fpr_limit=limit).aupro == pytest.approx(mvtec_aupro(maps, masks, limit), abs=1e-9)


@pytest.mark.parametrize("limit", [0.1, 0.3])
@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "tied"])
def test_aupro_of_200_thresholds_is_the_authors_loop(decimals, limit):
    maps, masks = blobs(6, 32, seed=3, decimals=decimals)
    metrics = pixel_metrics(maps, masks, aupro="thresholds_200", fpr_limit=limit)
    assert metrics.aupro == pytest.approx(authors_aupro(maps, masks, limit), abs=1e-9)


def test_a_score_at_a_threshold_is_not_found_and_a_rate_at_the_limit_is_dropped():
    rng = np.random.default_rng(4)
    # From 0 to 200, so that every threshold is a score; normal scores all differ, so that one rate is 50 / 200.
    normal, defect = rng.permutation(200).reshape(20, 10), rng.integers(90, 201, (20, 10))
    defect[0, 0] = 200
    maps, masks = np.stack([normal, defect]).astype(np.float32), np.zeros((2, 20, 10), dtype=bool)
    masks[1] = True
    expected = authors_aupro(maps, masks, 0.25)
    assert pixel_metrics(maps, masks, aupro="thresholds_200", fpr_limit=0.25).aupro == pytest.approx(expected, abs=1e-9)


def test_the_two_definitions_of_aupro_differ_and_nothing_else_does():
    maps, masks = blobs(6, 32, seed=3)
    exact, coarse = pixel_metrics(maps, masks), pixel_metrics(maps, masks, aupro="thresholds_200")
    assert abs(exact.aupro - coarse.aupro) > 1e-4
    assert (exact.auroc, exact.average_precision, exact.f1_max, exact.aupimo) == (
        coarse.auroc,
        coarse.average_precision,
        coarse.f1_max,
        coarse.aupimo,
    )


@pytest.mark.parametrize(("limit", "expected"), [(0.3, 1 / 6), (0.25, 5 / 36), (0.9, 1 / 2), (1.0, 11 / 20)])
def test_aupro_of_a_ramp_has_its_closed_form(limit, expected):
    # Normal pixels spread evenly over scores 0 to 9, defect pixels over 1 to 9: overlap = rate * 10 / 9, at most 1.
    normal = np.tile(np.arange(10.0), (9, 1))
    defect = np.tile(np.arange(1.0, 10.0)[:, None], (1, 10))
    masks = np.stack([np.zeros((9, 10), dtype=bool), np.ones((9, 10), dtype=bool)])
    assert pixel_metrics(np.stack([normal, defect]), masks, fpr_limit=limit).aupro == pytest.approx(expected, abs=1e-12)


def test_every_region_counts_alike_whatever_its_size():
    maps, masks = np.zeros((1, 8, 8)), np.zeros((1, 8, 8), dtype=bool)
    masks[0, 0, 0] = masks[0, 4:8, 4:8] = True
    maps[0, 0, 0] = 1.0
    # The single pixel is found at once, the square only with everything else, on the ramp from rate 0 to 1.
    assert pixel_metrics(maps, masks).aupro == pytest.approx(0.5 + 0.5 * 0.3 / 2, abs=1e-12)


def test_pixels_that_touch_at_a_corner_are_one_region():
    maps, masks = np.zeros((1, 6, 6)), np.zeros((1, 6, 6), dtype=bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[0, 4, 4] = True
    maps[0, 4, 4] = 1.0
    assert pixel_metrics(maps, masks, fpr_limit=1.0).aupro == pytest.approx(0.5 + 0.5 / 2, abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 2], ids=["distinct", "tied"])
def test_aupimo_is_the_area_taken_step_by_step(decimals):
    maps, masks = blobs(7, 200, seed=4, decimals=decimals)
    expected = stepwise_aupimo(maps, masks)
    assert 0 < expected < 1
    assert pixel_metrics(maps, masks).aupimo == pytest.approx(expected, abs=1e-9)


def test_aupimo_counts_false_positives_on_normal_images_only():
    maps, masks = blobs(6, 64, seed=5)
    before = pixel_metrics(maps, masks)
    disturbed = maps.copy()
    disturbed[masks.any(axis=(1, 2))[:, None, None] & ~masks] += 5
    after = pixel_metrics(disturbed, masks)
    assert after.aupimo == before.aupimo
    assert after.auroc < before.auroc


@PROPERTY
@given(tied_maps(), st.sampled_from(["exact", "thresholds_200"]), st.sampled_from([0.25, 1024.0]))
def test_metrics_are_invariant_to_linear_rescaling(sample, definition, factor):
    maps, masks = sample
    assert values(pixel_metrics(maps, masks, aupro=definition)) == values(
        pixel_metrics(maps * factor, masks, aupro=definition)
    )


@PROPERTY
@given(tied_maps())
def test_exact_metrics_are_invariant_to_monotone_rescaling(sample):
    maps, masks = sample
    assert values(pixel_metrics(maps, masks)) == values(pixel_metrics(np.exp(3 * maps.astype(np.float64)) - 40, masks))


@PROPERTY
@given(tied_maps(), st.integers(0, 2**32))
def test_metrics_do_not_depend_on_the_order_of_images(sample, seed):
    maps, masks = sample
    order = np.random.default_rng(seed).permutation(len(maps))
    assert values(pixel_metrics(maps, masks)) == pytest.approx(values(pixel_metrics(maps[order], masks[order])))


@pytest.mark.parametrize("definition", ["exact", "thresholds_200"])
def test_metrics_do_not_depend_on_chunks_and_threads(monkeypatch, definition):
    maps, masks = blobs(11, 24, seed=6, decimals=2)
    whole = pixel_metrics(maps, masks, aupro=definition, threads=1)
    for chunk_pixels in (1, 3 * 24 * 24, 5 * 24 * 24):
        monkeypatch.setattr(counting, "_CHUNK_PIXELS", chunk_pixels)
        for threads in (1, 2, 7, None):
            assert pixel_metrics(maps, masks, aupro=definition, threads=threads) == whole


@pytest.mark.parametrize("definition", ["exact", "thresholds_200"])
@pytest.mark.parametrize("decimals", [1, 6], ids=["tied", "distinct"])
def test_metrics_do_not_depend_on_bands_of_scores(monkeypatch, definition, decimals):
    maps, masks = blobs(11, 24, seed=6, decimals=decimals)
    whole = pixel_metrics(maps, masks, aupro=definition)
    for band_pixels in (20, 60):
        monkeypatch.setattr(counting, "_BAND_PIXELS", band_pixels)
        assert len(counting.score_bands(ArrayMaps(maps, masks))) > 1
        in_bands = pixel_metrics(maps, masks, aupro=definition)
        assert values(in_bands) == pytest.approx(values(whole), abs=1e-12)
        assert in_bands.f1_max_threshold == whole.f1_max_threshold


def test_bands_hold_about_as_many_anomalous_pixels_each(monkeypatch):
    maps, masks = blobs(11, 24, seed=6)
    monkeypatch.setattr(counting, "_BAND_PIXELS", 60)
    monkeypatch.setattr(counting, "_SAMPLE", 200)
    anomalous = maps[masks]
    held = [int(band.holds(anomalous).sum()) for band in counting.score_bands(ArrayMaps(maps, masks))]
    assert sum(held) == anomalous.size
    assert max(held) < 2 * 60


def test_a_map_that_is_not_finite_is_refused_with_bands_too(monkeypatch):
    maps, masks = blobs(4, 24, seed=6)
    monkeypatch.setattr(counting, "_BAND_PIXELS", 60)
    maps[1, 0, 0] = math.nan
    with pytest.raises(ValueError, match="maps must be finite, got nan"):
        pixel_metrics(maps, masks)


def test_input_is_left_as_it_was():
    maps, masks = blobs(4, 16, seed=7)
    maps_before, masks_before = maps.copy(), masks.copy()
    pixel_metrics(maps, masks)
    np.testing.assert_array_equal(maps, maps_before)
    np.testing.assert_array_equal(masks, masks_before)


def test_tensors_strided_mapped_and_half_precision_maps_give_the_same(tmp_path):
    maps, masks = blobs(5, 20, seed=8, decimals=0)
    expected = pixel_metrics(maps, masks)
    assert pixel_metrics(torch.from_numpy(maps), torch.from_numpy(masks)) == expected
    assert pixel_metrics(maps.astype(np.float16), masks.astype(np.uint8)) == expected
    assert pixel_metrics(maps.astype(np.int8), masks) == expected
    assert pixel_metrics(np.asfortranarray(maps), np.asfortranarray(masks)) == expected
    assert pixel_metrics(maps[::-1, ::-1][::-1, ::-1], masks[..., ::-1].copy()[..., ::-1]) == expected
    np.save(tmp_path / "maps.npy", maps)
    assert pixel_metrics(np.load(tmp_path / "maps.npy", mmap_mode="r"), masks) == expected


def test_maps_far_above_one_do_not_saturate():
    maps, masks = np.full((2, 4, 4), 100.0), np.zeros((2, 4, 4), dtype=bool)
    masks[0, :2], maps[0, :2] = True, 150.0
    assert values(pixel_metrics(maps, masks)) == [1.0] * 5


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (None, "there are no masks"),
        (np.zeros((2, 3, 3), dtype=bool), "no pixel is anomalous"),
        (np.ones((2, 3, 3), dtype=bool), "no pixel is normal"),
    ],
)
def test_a_single_label_gives_none_and_the_reason(masks, said):
    metrics = pixel_metrics(np.zeros((2, 3, 3)), masks)
    assert values(metrics) == [None] * 5
    assert set(metrics.reasons.values()) == {said}
    assert {"auroc", "average_precision", "f1_max", "aupro", "aupimo"} <= metrics.reasons.keys()


def test_only_aupimo_is_undefined_without_a_normal_image():
    masks = np.zeros((1, 3, 3), dtype=bool)
    masks[0, 1, 1] = True
    metrics = pixel_metrics(np.arange(9.0).reshape(1, 3, 3), masks)
    assert metrics.aupimo is None
    assert metrics.reasons == {"aupimo": "every image has an anomalous pixel"}
    assert None not in (metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.aupro)


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["constant maps", "no false positive below the limit"])
def test_aupro_of_200_thresholds_is_none_where_the_authors_divide_by_zero(level):
    maps, masks = np.zeros((2, 4, 4), dtype=np.float32), np.zeros((2, 4, 4), dtype=bool)
    masks[0, 0], maps[0, 0] = True, level
    metrics = pixel_metrics(maps, masks, aupro="thresholds_200")
    assert metrics.aupro is None
    assert "below 0.3" in metrics.reasons["aupro"]
    assert metrics.auroc is not None


@pytest.mark.parametrize("definition", ["exact", "thresholds_200"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [(0, 0, 0), (0, 2, 2), (1, 1, 1)], ids=["defect", "beside it", "normal image"])
def test_a_map_that_is_not_finite_is_refused_wherever_it_is(where, wrong, definition):
    maps, masks = np.ones((2, 3, 3)), np.zeros((2, 3, 3), dtype=bool)
    masks[0, 0, 0], maps[where] = True, wrong
    with pytest.raises(ValueError, match=r"maps must be finite, got -?(nan|inf)") as caught:
        pixel_metrics(maps, masks, aupro=definition)
    assert isinstance(caught.value, MuadError)


@pytest.mark.parametrize(
    ("shape", "masks", "said"),
    [
        ((2, 3, 3), np.zeros((2, 3, 4), dtype=bool), r"maps and masks must be of one shape, got \(2, 3, 3\) and"),
        ((3, 3), np.zeros((3, 3), dtype=bool), r"maps must be of shape \(n, H, W\), none of them 0, got \(3, 3\)"),
        ((0, 3, 3), np.zeros((0, 3, 3), dtype=bool), r"none of them 0, got \(0, 3, 3\)"),
        ((2, 3, 3), np.full((2, 3, 3), 255), "masks must be boolean or 0 and 1, got 255"),
    ],
)
def test_maps_and_masks_that_do_not_fit_are_refused_by_name(shape, masks, said):
    with pytest.raises(ValueError, match=said):
        pixel_metrics(np.zeros(shape), masks)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"fpr_limit": 0.0}, r"fpr_limit must be in \(0, 1\], got 0.0"),
        ({"fpr_limit": math.nan}, r"fpr_limit must be in \(0, 1\], got nan"),
        ({"aupro": "official"}, "aupro must be exact or thresholds_200, got 'official'"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name(setting, said):
    with pytest.raises(ConfigError, match=said):
        pixel_metrics(np.zeros((1, 2, 2)), np.eye(2, dtype=bool)[None], **setting)
