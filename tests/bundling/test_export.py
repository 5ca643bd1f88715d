"""A run as a bundle: what is in it, and that it says what the run says."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy

from muad.acceleration.deviation import Scale, compared
from muad.bundles.bundle import open_bundle
from muad.bundling import export as subject
from muad.bundling.export import export
from muad.bundling.forms import FP32, Form
from muad.bundling.networks import export_network
from muad.bundling.parity import ParityError, parity_of, require_parity
from muad.checkpoints.checkpoint import load_detector
from muad.decisions.limits import CategoryLimits, Limits
from muad.errors import CheckpointError, ConfigError, DataError
from muad.runtime.predictor import Predictor


def test_it_says_what_the_run_says(made, tiny_data: Path) -> None:
    photos = sorted(tiny_data.rglob("test/*/*.png"))
    pairs = zip(
        Predictor(made.run, device="cpu").predict(photos), Predictor(made.bundle.path).predict(photos), strict=True
    )
    for by_run, by_bundle in pairs:
        assert by_bundle.verdict == by_run.verdict
        assert by_bundle.recognised_category == by_run.recognised_category
        assert by_bundle.score == pytest.approx(by_run.score, abs=1e-5)
        np.testing.assert_allclose(by_bundle.anomaly_map, by_run.anomaly_map, atol=1e-5)


def test_how_far_it_is_from_torch_is_measured_and_said(made) -> None:
    (found,) = made.exported.parity[""]
    assert found.form == FP32
    assert 0 < found.map_deviation < 1e-5
    assert found.changed == 0
    assert any(str(found) == note for note in made.notes)


def test_its_manifest_says_what_it_was_made_of(made) -> None:
    manifest = made.bundle.manifest
    assert manifest.networks[""].batch == "dynamic"
    assert manifest.networks[""].combine.outputs == 2
    assert manifest.detector.settings["encoder"]["name"] == "random-custom"
    assert manifest.encoders[0].licence
    assert manifest.made_with["torch"]
    assert {sample.category for sample in manifest.golden} == set(manifest.categories)
    assert b"/src/muad" not in made.bundle.read("networks/all/network.onnx")


def test_golden_samples_go_through_the_complete_network(made) -> None:
    session = onnxruntime.InferenceSession(made.bundle.read("networks/all/complete.onnx"))
    sample = safetensors.numpy.load(made.bundle.read(made.bundle.manifest.golden[0].member))
    maps, scores = session.run(["map", "score"], {"pixels": np.repeat(sample["pixels"], 3, axis=0)})
    np.testing.assert_allclose(maps[2], sample["maps"][0], atol=1e-5)
    np.testing.assert_allclose(scores[:1], sample["scores"], atol=1e-5)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(made, monkeypatch) -> None:
    before = made.exported.path.read_bytes()
    monkeypatch.setattr(subject, "load_detector", lambda *_: pytest.fail("reached"))
    with pytest.raises(CheckpointError, match=r"must be a new file, got .* use --force"):
        export(made.run, made.exported.path)
    with pytest.raises(CheckpointError, match="must be in an existing folder"):
        export(made.run, made.run / "no" / "such.muad")
    with pytest.raises(CheckpointError, match=r"must be a file, got .* a folder"):
        export(made.run, made.run, force=True)
    assert made.exported.path.read_bytes() == before


def test_each_category_has_its_network_every_form_is_held_to_torch_and_bytes_are_the_same_again(
    tiny_data: Path, train_tiny: Callable[..., Any], tmp_path: Path, monkeypatch
) -> None:
    pytest.importorskip("openvino")
    shutil.copytree(tiny_data / "pill_blister", tmp_path / "data" / "pill_blister")
    small = ("detector.encoder.layout.depth=2", "detector.encoder.tap_layers=[0, 1]", "schedule.total_steps=2")
    train_tiny(tmp_path / "run", "training.mode=per_category", *small, data=tmp_path / "data")
    monkeypatch.setattr(subject, "has_products", lambda _: False)
    found = export(tmp_path / "run", tmp_path / "forms.muad", openvino=True)
    assert [own.form for own in found.parity["pill_blister"]] == [FP32, Form("fp32", openvino=True)]
    assert all(own.map_deviation < 1e-4 for own in found.parity["pill_blister"])
    bundle = open_bundle(found.path)
    assert bundle.manifest.networks["pill_blister"].files.openvino["fp32"] == ("networks/0/network.xml",)
    assert bundle.manifest.recogniser is None
    again = export_network(load_detector(tmp_path / "run" / "categories" / "pill_blister"))
    assert again.graph.SerializeToString() == bundle.read("networks/0/network.onnx")


def test_a_network_too_far_off_is_refused_with_the_figures() -> None:
    maps = np.zeros((4, 4), np.float32)
    images = [compared("nut", (score, maps + score), (score + 0.05, maps + score)) for score in (0.1, 0.2, 0.3)]
    limits = Limits(categories={"nut": CategoryLimits(review=0.22)}, calibration={})
    found = parity_of(FP32, images, {}, limits)
    assert (found.verdicts, found.changed) == (3, 1)
    with pytest.raises(ParityError, match=r"scores within 0.1% .* got fp32: scores within 5.0e-02 .* 1 of 3 verdicts"):
        require_parity(found, images, {})


def test_a_photograph_whose_score_is_the_limit_may_fall_on_either_side_of_it() -> None:
    maps = np.zeros((4, 4), np.float32)
    images = [compared("nut", (score, maps), (score + 5e-5, maps)) for score in (0.1, 0.2, 0.3)]
    limits = Limits(categories={"nut": CategoryLimits(review=0.2)}, calibration={})
    scales = {"nut": Scale(score=0.1, map=1.0, limits=(0.2,))}
    found = parity_of(FP32, images, scales, limits)
    assert found.changed == 1
    require_parity(found, images, scales)


def test_without_photographs_of_the_run_others_are_asked_for(
    made, tiny_data: Path, tmp_path: Path, monkeypatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    for name in ("run.json", "images.json"):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace(str(tiny_data), "/nowhere"), encoding="utf-8")
    with pytest.raises(DataError, match=r"photographs must be there .* --images GOOD_IMAGES"):
        export(run, tmp_path / "a.muad")
    seen = []
    monkeypatch.setattr(subject, "_add_network", lambda _, __, files, *___: seen.extend(files) or sys.exit(0))
    with pytest.raises(SystemExit):
        export(run, tmp_path / "a.muad", images=tiny_data / "pill_blister" / "train")
    assert {category for category, _ in seen} == {"pill_blister"}


def test_what_cannot_be_asked_for_is_refused(made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="precision must be fp32, bf16 or int8, got 'fp16'"):
        export(made.run, tmp_path / "a.muad", precisions=("fp16",))
