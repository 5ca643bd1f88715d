"""Every verb of the line takes a bundle where it takes a run folder."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.bundles.bundle import open_bundle, read_manifest_of
from muad.bundles.manifest import GoldenLimits
from muad.bundles.writing import write_bundle
from muad.runtime.predictor import Predictor

from .conftest import Ran

Muad = Callable[..., Ran]


@pytest.fixture
def bundle(patch_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(patch_bundle, tmp_path / "bolts.muad"))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """20 good photographs of one product, no two alike."""
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 64, 3), np.uint8)
        place = tmp_path / "good" / "bolt" / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return tmp_path / "good"


def test_predict_judges_by_a_bundle(muad: Muad, bundle: Path, good: Path, tmp_path: Path) -> None:
    ran = muad("predict", bundle, good, "--out", tmp_path / "out", "--backend", "onnx")
    assert ran.code == 0, ran.err
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert {row["category"] for row in rows} == {"bolt"}
    assert {row["verdict"] for row in rows} <= {"pass", "review", "reject"}


def test_a_bundle_without_limits_predicts_without_verdicts_and_says_so(
    muad: Muad, write_patch_bundle: Callable[..., Path], good: Path, tmp_path: Path
) -> None:
    bundle = write_patch_bundle(tmp_path / "b.muad", limits=False)
    ran = muad("predict", bundle, good, "--out", tmp_path / "out", "--json", "--backend", "onnx")
    assert "no limits" in ran.err
    assert {row["verdict"] for row in json.loads(ran.out)} == {None}
    assert "must have limits" in muad("limits", bundle).error


def test_watch_judges_by_a_bundle(muad: Muad, bundle: Path, good: Path, tmp_path: Path) -> None:
    ran = muad("watch", good, "--run", bundle, "--out", tmp_path / "out", "--once", "--settle", 0, "--backend", "onnx")
    assert ran.code == 0, ran.err
    assert "20 images judged" in ran.err


def test_limits_of_a_bundle_are_changed_with_their_history_and_its_networks_stay(
    muad: Muad, bundle: Path, tmp_path: Path
) -> None:
    before = read_manifest_of(bundle)
    predictor = Predictor(bundle, backend="onnx")
    image = np.zeros((60, 60, 3), np.uint8)
    assert predictor.predict(image, category="bolt")[0].limits.reject == 0.9
    ran = muad("limits", bundle, "--set", "bolt.reject=0.95", "--set", "cloth.review=0.2", "--json")
    assert ran.code == 0, ran.err
    shown = json.loads(ran.out)
    assert (shown["bolt"]["reject"]["value"], shown["cloth"]["review"]["value"]) == (0.95, 0.2)
    found = predictor.predict(image, category="bolt")[0]
    assert found.limits.reject == 0.95
    after = read_manifest_of(bundle)
    assert [(one.what, one.old, one.new, one.by) for one in after.history] == [
        ("bolt.reject", 0.9, 0.95, "limits"),
        ("cloth.review", None, 0.2, "limits"),
    ]
    assert after.networks == before.networks
    assert all(after.members[name] == before.members[name] for name in before.needed)
    assert [name for name in after.members if name.startswith("run/limits/")]
    assert [file.name for file in tmp_path.iterdir()] == ["bolts.muad"]
    assert open_bundle(bundle).read("networks/all/network.onnx")


def test_wrong_limits_leave_the_bundle_as_it_was(muad: Muad, bundle: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    assert "review must be at most reject" in muad("limits", bundle, "--set", "bolt.review=2").error
    assert "category must be one of bolt, cloth" in muad("limits", bundle, "--set", "nut.review=2").error
    assert muad("limits", bundle).code == 0
    assert bundle.read_bytes() == before


def test_calibrate_sets_limits_of_a_bundle_from_good_photographs(muad: Muad, bundle: Path, good: Path) -> None:
    ran = muad("calibrate", bundle, good, "--backend", "onnx")
    assert ran.code == 0, ran.err
    assert "muad-" not in ran.err  # no private folder is named
    assert "--cross-fit" not in ran.err
    assert f"muad calibrate {bundle} GOOD" in ran.err
    found = open_bundle(bundle)
    assert {one.by for one in found.manifest.history} == {"calibrate"}
    (prediction,) = Predictor(bundle, backend="onnx").predict(good / "bolt" / "00.png")
    assert prediction.p_value is not None
    again = muad("calibrate", bundle, "--review-rate", "0.2", "--backend", "onnx")
    assert again.code == 0, again.err
    assert "cross_fit must be left out for a bundle" in muad("calibrate", bundle, "--cross-fit", "2").error


def test_calibrate_without_photographs_says_what_a_bundle_lacks(muad: Muad, bundle: Path) -> None:
    error = muad("calibrate", bundle, "--backend", "onnx").error
    assert "must have kept images for calibration" in error
    assert str(bundle) in error


def test_evaluate_and_report_take_a_bundle(muad: Muad, bundle: Path, photos: Path) -> None:
    ran = muad("evaluate", bundle, photos, "--json", "--backend", "onnx")
    assert ran.code == 0, ran.err
    assert read_manifest_of(bundle).accuracy["images"] == json.loads(ran.out)["images"] == 8
    page = muad("report", bundle)
    assert page.code == 0, page.err
    assert Path(page.out.strip()) == bundle.with_name("bolts.report.html")
    assert "muad-" not in bundle.with_name("bolts.report.html").read_text(encoding="utf-8").split("<style>")[0]


def test_check_bundle_measures_every_runtime_and_ends_with_1_where_figures_do_not_hold(
    muad: Muad, bundle: Path, tmp_path: Path
) -> None:
    ran = muad("check-bundle", bundle, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert {one["backend"] for one in found["runtimes"]} == {"onnx", "openvino"}
    assert all(one["holds"] and one["map_deviation"] < 1e-5 and one["ms_per_view"] > 0 for one in found["runtimes"])
    assert "the approved figures hold here" in muad("check-bundle", bundle, "--backend", "onnx").err
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
    import dataclasses

    strict = dataclasses.replace(read_manifest_of(bundle), golden_limits=GoldenLimits(map=0.0, score=0.0))
    write_bundle(tmp_path / "strict.muad", strict, contents)
    refused = muad("check-bundle", tmp_path / "strict.muad", "--backend", "onnx")
    assert refused.code == 1
    assert "do not hold here" in refused.err


@pytest.mark.parametrize("verb", ["predict", "check-bundle", "limits", "calibrate", "report", "evaluate"])
def test_a_damaged_bundle_is_one_line_and_nothing_is_written(
    muad: Muad, bundle: Path, good: Path, tmp_path: Path, verb: str
) -> None:
    bundle.write_bytes(bundle.read_bytes()[:-100])
    before = sorted(tmp_path.rglob("*"))
    more = {"predict": [good, "--out", tmp_path / "out"], "evaluate": [good], "calibrate": [good]}
    assert "bundle must be a whole file" in muad(verb, bundle, *more.get(verb, [])).error
    assert sorted(tmp_path.rglob("*")) == before
