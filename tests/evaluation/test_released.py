"""Protocols of one data set, from files on disk to figures, against what the definitions give on the same pixels."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score

from muad.datasets.index import open_catalog
from muad.evaluation.figures import evaluate_detector, find_protocol
from muad.images.preprocessing import Preprocessing
from muad.metrics.collection import ArrayMaps
from muad.metrics.region import pixel_metrics
from muad.metrics.report import Report
from muad.metrics.saturated import SaturatedRegion, saturated_overlap
from muad.runtime.views import ViewScores

SIDE = 32


class Brightness:
    """Scores every pixel by how bright it is, and an image by its brightest."""

    preprocessing = Preprocessing(resize_px=(SIDE, SIDE), crop_px=(SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1))

    def score_views(self, views: np.ndarray, categories: Sequence[str | None]) -> ViewScores:
        assert len(categories) == len(views)
        maps = self.preprocessing.normalise(views).mean(axis=1)
        return ViewScores(maps=maps, scores=maps.max(axis=(1, 2)))

    def expand_grids(self, grids: np.ndarray) -> np.ndarray:
        raise AssertionError("there are no grids")


def _save(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_kinds_of_defect_are_measured_apart_and_overlap_saturates(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "pushpins"
    maps, regions, labels, kinds = [], {}, [], []
    _save(folder / "train/good/000.png", np.zeros((SIDE, SIDE), np.uint8))
    for kind, count in (("good", 4), ("logical_anomalies", 3), ("structural_anomalies", 3)):
        for number in range(count):
            image = rng.integers(0, 120, (SIDE, SIDE)).astype(np.uint8)
            if kind != "good":
                own = []
                for part in range(2):
                    mask, top = np.zeros((SIDE, SIDE), bool), int(rng.integers(0, 20))
                    mask[top : top + 6, 3 + 12 * part : 11 + 12 * part] = True
                    image[mask] += rng.integers(0, 90, int(mask.sum())).astype(np.uint8)
                    enough, value = (10, 255) if kind[0] == "l" else (24, 240)
                    own.append(SaturatedRegion(mask=mask, enough=enough))
                    stored = np.where(mask, np.uint8(value), np.uint8(0))
                    _save(folder / f"ground_truth/{kind}/{number:03}/{part:03}.png", stored)
                regions[len(maps)] = own
            _save(folder / f"test/{kind}/{number:03}.png", image)
            maps.append(image.astype(np.float32) / 255)
            labels.append(kind != "good")
            kinds.append(kind)
    entries = [("missing", 255, 10, False), ("broken", 240, 0.5, True)]
    keys = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
    (folder / "defects_config.json").write_text(json.dumps([dict(zip(keys, one, strict=True)) for one in entries]))
    catalog = open_catalog(tmp_path)
    rules = find_protocol("auto", catalog.layout)
    assert rules.name == "mvtec_loco"
    report = evaluate_detector(Brightness(), catalog.records, protocol=rules.name)
    found = report.categories["pushpins"].more
    labelled, images = ArrayMaps(np.stack(maps), np.zeros((len(maps), SIDE, SIDE), bool)), range(len(maps))
    scores, labels = np.array([one.max() for one in maps]), np.array(labels)
    for kind in ("logical", "structural"):
        chosen = [n for n in images if kinds[n] == "good" or kinds[n].startswith(kind)]
        overlap = saturated_overlap(labelled, regions, chosen)
        assert found[f"pixel_spro_{kind}"] == pytest.approx(overlap, abs=1e-6)
        assert found[f"image_auroc_{kind}"] == pytest.approx(roc_auc_score(labels[chosen], scores[chosen]))
    assert found["pixel_spro"] == pytest.approx((found["pixel_spro_logical"] + found["pixel_spro_structural"]) / 2)
    assert Report.from_json(json.loads(json.dumps(report.to_json()))).categories["pushpins"].more == found
    assert report.mean_more == found


def test_the_limit_of_the_pixels_comes_from_validation_and_lights_are_told_apart(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    def image(top: int) -> np.ndarray:
        return rng.integers(0, top, (SIDE, SIDE)).astype(np.uint8)

    _save(tmp_path / "can/train/good/000_regular.png", image(100))
    good = [_save(tmp_path / f"can/validation/good/{n:03}_regular.png", image(100)) for n in range(3)]
    maps, masks, lights = [], [], []
    for number, light in enumerate(("regular", "underexposed", "regular", "underexposed")):
        mask, pixels = np.zeros((SIDE, SIDE), bool), image(150)
        if number < 2:
            mask[4:12, 6:20] = True
            pixels[mask] += 90
            stored = np.where(mask, np.uint8(255), np.uint8(0))
            _save(tmp_path / f"can/test_public/ground_truth/bad/{number:03}_{light}_mask.png", stored)
        _save(tmp_path / f"can/test_public/{'bad' if number < 2 else 'good'}/{number:03}_{light}.png", pixels)
        maps.append(pixels / 255)
        masks.append(mask)
        lights.append(light)
    catalog = open_catalog(tmp_path)
    rules = find_protocol("auto", catalog.layout)
    assert (rules.name, rules.fpr_limit) == ("mvtec_ad_2", 0.05)
    validation = catalog.select(split="validation")
    report = evaluate_detector(Brightness(), catalog.records, protocol=rules.name, validation=validation)
    found = report.categories["can"].more
    limit = np.mean(np.stack(good) / 255) + 3 * np.std(np.stack(good) / 255)
    assert 0.3 < limit < 0.9
    for name, chosen in (("", range(4)), ("_regular", [0, 2]), ("_underexposed", [1, 3])):
        truth = np.concatenate([masks[n].ravel() for n in chosen])
        above = np.concatenate([maps[n].ravel() > limit for n in chosen])
        assert found[f"pixel_seg_f1{name}"] == pytest.approx(f1_score(truth, above), abs=1e-3)
    without = evaluate_detector(Brightness(), catalog.records, protocol=rules.name).categories["can"]
    assert without.more == {"pixel_seg_f1": None}
    assert any("there are no validation images" in note for note in without.notes)


def test_a_part_of_two_senses_is_scored_by_their_sum_and_pixels_are_measured_apart(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    folder, maps, masks, sums, labels = tmp_path / "capsule", {}, {}, [], []
    rows = ["object,RGB,Infrared,Pointcloud"]
    for sense in ("RGB", "Infrared"):
        _save(folder / sense / "train/0.png", np.zeros((SIDE, SIDE), np.uint8))
    for kind, count in (("good", 5), ("hole", 5)):
        for number in range(count):
            shows = {"RGB": kind == "hole" and number in (0, 1), "Infrared": kind == "hole" and number in (1, 2, 3)}
            total = 0.0
            for sense, is_shown in shows.items():
                mask = np.zeros((SIDE, SIDE), bool)
                image = rng.integers(0, 150, (SIDE, SIDE)).astype(np.uint8)
                if is_shown:
                    mask[4:10, 5:15] = True
                    image[mask] += 60
                    _save(folder / sense / f"GT/hole/{number}.png", np.where(mask, np.uint8(255), np.uint8(0)))
                _save(folder / sense / f"test/{kind}/{number}.png", image)
                total += image.max() / 255
                if kind == "good" or number != 4:  # the last is seen in the point cloud alone
                    maps.setdefault(sense, []).append(image)
                    masks.setdefault(sense, []).append(mask)
            sums.append(total)
            labels.append(kind == "hole")
            if kind == "hole":
                rows.append(f"{number},{int(shows['RGB'])},{int(shows['Infrared'])},{int(number == 4)}")
    (folder / "RGB/GT/hole/data.csv").write_text("\n".join(rows), encoding="utf-8")
    catalog = open_catalog(tmp_path)
    report = evaluate_detector(Brightness(), catalog.records, protocol=find_protocol("auto", catalog.layout).name)
    found = report.categories["capsule"].more
    assert report.protocol == "mulsen_ad"
    assert found["object_auroc"] == pytest.approx(roc_auc_score(labels, np.round(sums, 6)), abs=1e-6)
    for sense, name in (("RGB", "rgb"), ("Infrared", "infrared")):
        truth, values = np.stack(masks[sense]), np.stack(maps[sense])
        assert found[f"pixel_auroc_{name}"] == pytest.approx(roc_auc_score(truth.ravel(), values.ravel()))
        expected = pixel_metrics(values.astype(np.float32), truth, aupro="thresholds_200").aupro
        assert found[f"pixel_aupro_{name}"] == pytest.approx(expected, abs=0.01)


def test_other_layouts_keep_the_published_protocol() -> None:
    assert find_protocol("auto", "mvtec").name == "dinomaly"
    assert find_protocol("auto", "mvtec_3d").more == ""
