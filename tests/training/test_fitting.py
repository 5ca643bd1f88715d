"""Training without gradients goes through the same door: progress, interruption, checkpoints, run folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.configuration.run_config import RunConfig
from muad.datasets.index import open_catalog
from muad.detectors import PatchCore
from muad.errors import CheckpointError, ConfigError, DataError
from muad.runs.folder import checkpoints

SMALL = (
    "detector.name=patchcore", "detector.encoder.name=random-vit-tiny", "detector.resize_px=[56, 56]",
    "detector.crop_px=[56, 56]", "detector.coreset_fraction=0.1", "training.batch_size=2",
)  # fmt: skip
Fit = Callable[..., RunConfig]


class PowerCut(BaseException):
    """What a crash looks like from the inside."""


@pytest.fixture
def fit(photos: Path) -> Fit:
    def train(out: Path, *overrides: str, data: Path = photos, **how: object) -> RunConfig:
        return muad.train(data, out, overrides=[*SMALL, *overrides], device="cpu", **how)

    return train


def memory(run: Path) -> torch.Tensor:
    return load_detector(run).trainable_state()["memory"]


@pytest.mark.parametrize("encoder", ["random-vit-tiny", "random-resnet18"])
def test_a_run_predicts_what_its_memory_says(fit: Fit, tmp_path: Path, photos: Path, encoder: str) -> None:
    fit(tmp_path / "run", f"detector.encoder.name={encoder}")
    places = 16 if encoder == "random-vit-tiny" else 7 * 7
    assert len(memory(tmp_path / "run")) == 2 * int(0.1 * 5 * places)
    assert [found.step for found in checkpoints(tmp_path / "run")] == [5, 10]
    assert {file.name for file in (tmp_path / "run/checkpoints/00000010").iterdir()} == {
        "weights.safetensors", "state.json",
    }  # fmt: skip
    facts = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert facts["finished"]
    assert facts["map_scale"][0] < facts["map_scale"][1]
    assert facts["encoder"]["name"] == encoder
    report = muad.evaluate(tmp_path / "run", photos, device="cpu")
    assert report.images == 8
    image = photos / "bolt/test/scratch/007.png"
    (found,) = muad.Predictor(tmp_path / "run", device="cpu").predict([image])
    detector = load_detector(tmp_path / "run")
    views = detector.preprocessing.views(detector.preprocessing.read(image), "image")
    predicted = detector.predict(torch.from_numpy(detector.preprocessing.normalise(np.asarray(views))))
    assert found.score == pytest.approx(float(predicted.score[0]))


def test_an_interrupted_run_goes_on_after_the_last_whole_category(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    looks: list[tuple[str, int]] = []

    def cut(what: str, done: int, total: int, loss: float | None) -> None:
        looks.append((what, done))
        if len([entry for entry in looks if entry[0] == "look"]) == 4:  # 2 of 5, 4, 5, then 2 of the second category
            raise PowerCut

    with pytest.raises(PowerCut):
        fit(tmp_path / "run", progress=cut)
    assert [found.step for found in checkpoints(tmp_path / "run")] == [5]
    looks.clear()
    fit(tmp_path / "run", resume=True, progress=lambda what, done, *_: looks.append((what, done)))
    assert [done for what, done in looks if what == "look"] == [2, 4, 5]
    assert memory(tmp_path / "run").equal(memory(tmp_path / "whole"))
    looks.clear()
    fit(tmp_path / "run", resume=True, progress=lambda what, *_: looks.append((what, 0)))
    assert not [what for what, _ in looks if what == "look"]


def test_one_memory_for_all_is_another_than_one_for_each(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "each")
    fit(tmp_path / "all", "detector.coreset_of=all")
    assert [found.step for found in checkpoints(tmp_path / "all")] == [10]
    assert len(memory(tmp_path / "all")) == 16 == 2 * len(memory(tmp_path / "each")) // 2
    assert not memory(tmp_path / "all").equal(memory(tmp_path / "each"))


def test_a_detector_for_each_category_remembers_its_own(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "run", "training.mode=per_category")
    bolt, cloth = (memory(tmp_path / "run/categories" / name) for name in ("bolt", "cloth"))
    fit(tmp_path / "together")
    assert memory(tmp_path / "together").equal(torch.cat([bolt, cloth]))


def test_the_batch_changes_nothing_but_rounding(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "two", "detector.coreset=random")
    fit(tmp_path / "five", "detector.coreset=random", "training.batch_size=5")
    assert torch.allclose(memory(tmp_path / "two"), memory(tmp_path / "five"), atol=1e-4)


def test_unreadable_images_are_left_out_and_named_or_stop_the_run(fit: Fit, tmp_path: Path, photos: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "bolt/train/good/001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"001\.png.*Or train with --skip-bad"):
        fit(tmp_path / "stopped", data=data)
    notes: list[str] = []
    fit(tmp_path / "run", "training.skip_bad=true", data=data, note=notes.append)
    assert [note for note in notes if note.startswith("left out of training") and "001.png" in note]
    assert len(memory(tmp_path / "run")) == int(0.1 * 4 * 16) + int(0.1 * 5 * 16)


def test_what_has_no_meaning_without_steps_is_refused_or_said(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.ema_decay must be 0 for patchcore, which takes no steps"):
        fit(tmp_path / "run", "training.ema_decay=0.9")
    notes: list[str] = []
    fit(tmp_path / "run", "schedule.total_steps=20", note=notes.append)
    assert any("one look at all images" in note for note in notes)


def test_a_memory_of_another_width_is_refused(fit: Fit, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    fit(tmp_path / "run")
    (newest,) = checkpoints(tmp_path / "run")[-1:]
    state = json.loads((newest.folder / "state.json").read_text(encoding="utf-8"))
    (newest.folder / "state.json").write_text(json.dumps({**state, "digests": {}}), encoding="utf-8")
    save_file({"memory": torch.zeros(4, 7)}, newest.folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"memory \(4, 7\) instead of \(4, 384\)"):
        load_detector(tmp_path / "run")
    save_file({"other": torch.zeros(4, 7)}, newest.folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"memory missing, other unexpected"):
        load_detector(tmp_path / "run")


def test_the_run_is_of_the_detector_it_names(fit: Fit, tmp_path: Path, photos: Path) -> None:
    config = fit(tmp_path / "run")
    assert config.detector.name == "patchcore"
    assert isinstance(load_detector(tmp_path / "run"), PatchCore)
    assert len(open_catalog(photos).select(split="train")) == 10


def test_encoders_side_by_side_are_recorded_each_with_its_licence(fit: Fit, tmp_path: Path, photos: Path) -> None:
    names = ["random-vit-tiny", "random-efficientnet-lite0"]
    small = [text for text in SMALL if "encoder" not in text]
    muad.train(photos, tmp_path / "run", overrides=[*small, f"detector.encoders={json.dumps(names)}"], device="cpu")
    facts = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert facts["encoder"]["name"] == " + ".join(names)
    assert [(one["name"], one["licence"]) for one in facts["encoders"]] == [(name, "Apache-2.0") for name in names]
    report = muad.evaluate(tmp_path / "run", photos, device="cpu")
    assert report.images == 8
    with pytest.raises(ConfigError, match=r"must be left out for patchcore, which has several, each with its own"):
        load_detector(tmp_path / "run", tmp_path / "other.safetensors")


def test_too_little_memory_is_said_before_any_image_is_looked_at(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muad.training.fitting.free_memory_bytes", lambda _: 1000)
    with pytest.raises(ConfigError, match=r"free memory must be .* GiB for what 5 images leave.*candidate_fraction"):
        fit(tmp_path / "run")
    assert checkpoints(tmp_path / "run") == []


def test_images_are_remembered_at_other_exposures(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "plain", "detector.coreset_fraction=1")
    fit(tmp_path / "more", "detector.coreset_fraction=1", "detector.exposure_gains=[0.8, 1.25]")
    assert len(memory(tmp_path / "more")) == 3 * len(memory(tmp_path / "plain"))
    with pytest.raises(ConfigError, match=r"detector\.exposure_gains must be from 0\.1 to 10, got \[0\.0\]"):
        fit(tmp_path / "dark", "detector.exposure_gains=[0.0]")


def test_one_look_at_each_image_remembers_half_of_them_in_other_light(fit: Fit, tmp_path: Path) -> None:
    whole = ("detector.coreset=random", "detector.coreset_fraction=1", "detector.exposure_looks=one")
    fit(tmp_path / "plain", *whole[:2])
    fit(tmp_path / "one", *whole, "detector.exposure_gains=[0.8, 1.25]")
    plain, one = memory(tmp_path / "plain"), memory(tmp_path / "one")
    assert one.shape == plain.shape
    apart = torch.cdist(one, plain, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert int((apart < 1e-5).sum()) == 6 * 16  # of five images of each category, the first, third and fifth drawn
    with pytest.raises(ConfigError, match=r"detector\.exposure_gains must name a gain with detector\.exposure_looks"):
        fit(tmp_path / "none", *whole)


def test_images_are_remembered_turned_at_every_exposure(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path / "plain", "detector.coreset_fraction=1")
    settings = ("detector.coreset_fraction=1", "detector.turns=[90, 45.5]", "detector.exposure_gains=[0.8]")
    fit(tmp_path / "turned", *settings)
    assert len(memory(tmp_path / "turned")) == 6 * len(memory(tmp_path / "plain"))
    with pytest.raises(ConfigError, match=r"detector\.turns must be above 0 and below 360, got \[0\.0\]"):
        fit(tmp_path / "none", "detector.turns=[0.0]")
