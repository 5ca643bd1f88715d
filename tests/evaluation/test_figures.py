"""Evaluation: what counts as a defect pixel, what is left out, and that the report says so."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muad import evaluate, open_catalog
from muad.checkpoints.checkpoint import load_detector
from muad.detectors import Detector
from muad.errors import ConfigError, DataError
from muad.evaluation.figures import evaluate_detector, find_protocol, ground_truth
from muad.images.reading import read_image
from muad.images.roi import InterestMasks
from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics
from muad.metrics.report import METRIC_NAMES
from muad.runtime.views import predict_views
from muad.types import Record


@pytest.fixture(scope="module")
def detector(tiny_run: Path) -> Detector:
    return load_detector(tiny_run)


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    return Path(copytree(tiny_data, tmp_path / "data"))


def _test_records(data: Path) -> tuple[Record, ...]:
    return open_catalog(data, for_training=False).select(split="test")


def test_any_takes_the_nearest_mask_pixel_and_every_trace_of_it() -> None:
    masks = np.zeros((1, 4, 4), np.uint8)
    masks[0, 0, 0] = 1  # sampled: 4 to 2 pixels takes rows and columns 0 and 2
    masks[0, 1, 3] = 255  # not sampled
    assert ground_truth(masks, (2, 2), "any").tolist() == [[[True, False], [False, False]]]


def test_half_takes_pixels_of_which_half_is_defect() -> None:
    masks = np.zeros((1, 4, 4), np.uint8)
    masks[0, 0, :2] = 128  # half of the first cell, just above half brightness
    masks[0, 0, 2:] = 127  # not defect
    masks[0, 2, 0] = 255  # a quarter
    masks[0, 2:, 2:] = 255
    assert ground_truth(masks, (2, 2), "half").tolist() == [[[True, False], [False, True]]]


@pytest.mark.parametrize("rule", ["any", "half"])
def test_at_the_same_size_a_clean_mask_stays_as_it_is(rule: str) -> None:
    masks = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (3, 9, 7))
    np.testing.assert_array_equal(ground_truth(masks, (9, 7), rule), masks > 0)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    side=st.tuples(st.integers(4, 90), st.integers(4, 90)),
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    seed=st.integers(0, 2**16),
)
def test_defect_pixels_are_those_of_pytorch(side: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    masks = np.random.default_rng(seed).choice(np.array([0, 1, 127, 128, 255], np.uint8), (2, *side))
    grey = torch.from_numpy(masks)[:, None].float()
    touched = torch.nn.functional.interpolate(grey, size, mode="nearest")[:, 0] > 0
    covered = torch.nn.functional.adaptive_avg_pool2d((grey >= 128).float(), size)[:, 0] >= 0.5
    np.testing.assert_array_equal(ground_truth(masks, size, "any"), touched.numpy())
    np.testing.assert_array_equal(ground_truth(masks, size, "half"), covered.numpy())


def test_half_keeps_the_area_where_maps_are_no_divisor_of_the_view() -> None:
    masks = np.zeros((1, 392, 392), np.uint8)
    masks[0, 100:300, 50:250] = 255
    found = ground_truth(masks, (256, 256), "half")
    assert found.mean() == pytest.approx((masks > 0).mean(), rel=0.02)


def test_the_report_is_the_metrics_of_the_maps(detector: Detector, tiny_data: Path) -> None:
    records = [record for record in _test_records(tiny_data) if record.category == "printed_board"]
    report = evaluate_detector(detector, records, protocol="exact", batch_size=4).categories["printed_board"]
    views = np.stack([detector.preprocessing.view(read_image(record.path)) for record in records])
    found = predict_views(detector, views, ["printed_board"] * len(views))
    maps, scores = found.maps, found.scores
    masks = [
        np.zeros((56, 56), np.uint8)
        if record.mask_path is None
        else detector.preprocessing.view(np.asarray(Image.open(record.mask_path)))
        for record in records
    ]
    pixel = pixel_metrics(maps, ground_truth(np.stack(masks), maps.shape[1:], "half"), aupro="exact")
    image = rank_metrics(np.array([record.is_anomalous for record in records]), scores)
    assert report.image_auroc == pytest.approx(image.auroc)
    assert report.pixel_ap == pytest.approx(pixel.average_precision, rel=1e-4)
    assert report.pixel_aupro == pytest.approx(pixel.aupro, rel=1e-4)
    assert report.images == 9


def test_progress_counts_to_the_end(detector: Detector, tiny_data: Path) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_detector(
        detector, _test_records(tiny_data), batch_size=5, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(5, 18), (9, 18), (14, 18), (18, 18)]


def test_protocols_differ_where_they_say(detector: Detector, tiny_data: Path) -> None:
    records = _test_records(tiny_data)
    published, exact = (evaluate_detector(detector, records, protocol=name) for name in ("dinomaly", "exact"))
    assert (published.protocol, exact.protocol) == ("dinomaly", "exact")
    assert published.mean["image_auroc"] == exact.mean["image_auroc"]
    assert published.mean["pixel_ap"] != exact.mean["pixel_ap"]
    with pytest.raises(ConfigError, match=r"protocol must be one of auto, dinomaly, exact, .*, got 'paper'"):
        find_protocol("paper")


def test_a_category_of_one_label_gives_null_and_says_why(detector: Detector, data: Path) -> None:
    for defect in (data / "pill_blister" / "test").iterdir():
        if defect.name != "good":
            for file in defect.iterdir():
                file.unlink()
            defect.rmdir()
    report = evaluate_detector(detector, _test_records(data))
    one_label, other = report.categories["pill_blister"], report.categories["printed_board"]
    assert set(one_label.values().values()) == {None}
    assert any("image_auroc" in note for note in one_label.notes)
    assert report.mean == other.values()
    assert report.to_json()["categories"]["pill_blister"]["image_auroc"] is None  # type: ignore[index, call-overload]


def test_anomalous_images_without_a_mask_count_at_image_level_alone(
    detector: Detector, data: Path, tiny_data: Path
) -> None:
    for mask in (data / "pill_blister" / "ground_truth" / "crack").iterdir():
        mask.unlink()
    before = evaluate_detector(detector, _test_records(tiny_data)).categories["pill_blister"]
    after = evaluate_detector(detector, _test_records(data)).categories["pill_blister"]
    assert after.image_auroc == before.image_auroc
    assert after.pixel_ap != before.pixel_ap
    assert after.notes == ("pixel metrics leave out 1 anomalous images without a mask",)


def test_a_category_without_masks_is_evaluated_at_image_level(detector: Detector, data: Path) -> None:
    for mask in (data / "pill_blister" / "ground_truth").glob("*/*"):
        mask.unlink()
    report = evaluate_detector(detector, _test_records(data)).categories["pill_blister"]
    assert report.image_auroc is not None
    assert [getattr(report, name) for name in METRIC_NAMES[3:]] == [None] * 4
    assert report.notes[0].startswith("pixel metrics leave out 6 anomalous images")


def test_a_mask_of_another_size_is_refused(detector: Detector, data: Path) -> None:
    mask = next((data / "pill_blister" / "ground_truth" / "stain").iterdir())
    Image.new("L", (64, 32)).save(mask)
    with pytest.raises(DataError, match="must have the size of its image, 64x64, got 32x64"):
        evaluate_detector(detector, _test_records(data))


def test_an_image_too_small_is_named(detector: Detector, data: Path) -> None:
    victim = data / "pill_blister" / "test" / "good" / "000.png"
    Image.new("RGB", (64, 15)).save(victim)
    with pytest.raises(DataError, match=r"000\.png must be at least 16 px high and wide, got 15x64"):
        evaluate_detector(detector, _test_records(data))


def test_nothing_to_evaluate_is_refused(detector: Detector, tiny_data: Path) -> None:
    with pytest.raises(DataError, match="must hold test images to evaluate on"):
        evaluate_detector(detector, open_catalog(tiny_data).select(split="train"))


def test_one_detector_per_category_gives_one_report(tiny_runs: Path, tiny_data: Path, tmp_path: Path) -> None:
    run = Path(copytree(tiny_runs, tmp_path / "run"))
    report = evaluate(run, tiny_data, device="cpu")
    assert report.images == 18
    for name, figures in report.categories.items():
        records = [record for record in _test_records(tiny_data) if record.category == name]
        alone = evaluate_detector(load_detector(run / "categories" / name), records)
        assert alone.categories[name].values() == pytest.approx(figures.values(), abs=1e-4)
    copytree(tiny_data / "pill_blister", tmp_path / "data" / "other")
    with pytest.raises(DataError, match="category must be one the run has a detector for, got other"):
        evaluate(run, tmp_path / "data", device="cpu")


def _interest(detector: Detector, folder: Path, hidden: np.ndarray) -> None:
    folder.mkdir()
    for category in ("pill_blister", "printed_board"):
        mask = np.where(hidden, 0, 255) if category == "pill_blister" else np.full_like(hidden, 255, np.uint8)
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{category}.png")
    detector.preprocessing = replace(detector.preprocessing, interest=InterestMasks(folder))


def test_pixels_outside_the_region_of_interest_count_for_nothing_and_hidden_defects_are_named(
    tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    detector, records = load_detector(tiny_run), _test_records(tiny_data)
    victim = next(record for record in records if record.category == "pill_blister" and record.mask_path is not None)
    hidden = np.asarray(Image.open(victim.mask_path)) > 0  # type: ignore[arg-type]
    before = evaluate_detector(detector, records).categories["printed_board"]
    _interest(detector, tmp_path / "roi", hidden)
    report = evaluate_detector(detector, records, protocol="exact")
    figures = report.categories["pill_blister"]
    assert figures.images == 8
    assert figures.notes[0] == (
        "left out, because their whole defect lies outside the region of interest: "
        f"{victim.defect_type}/{victim.path.name}"
    )
    assert figures.pixel_auroc is not None
    shown = report.categories["printed_board"]
    assert shown.notes == before.notes
    assert shown.image_auroc == before.image_auroc


def test_a_hidden_fault_of_the_map_changes_no_figure(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    """What lies outside may look like anything: the photographs are painted over before the detector sees them."""
    hidden = np.zeros((64, 64), bool)
    hidden[:, 40:] = True
    detector = load_detector(tiny_run)
    _interest(detector, tmp_path / "roi", hidden)
    data = Path(copytree(tiny_data / "pill_blister", tmp_path / "data" / "pill_blister")).parent
    before = evaluate_detector(detector, _test_records(data)).categories["pill_blister"]
    for file in data.glob("pill_blister/test/*/*.png"):
        pixels = np.asarray(Image.open(file)).copy()
        pixels[:, 40:] = 255
        Image.fromarray(pixels).save(file)
    after = evaluate_detector(detector, _test_records(data)).categories["pill_blister"]
    assert after == before
