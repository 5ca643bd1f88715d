"""Every training image is scored by a detector that had not seen it, whatever happens on the way."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import muad
from muad import Predictor
from muad.datasets.content_hash import relative_name
from muad.decisions.limits import read_calibration
from muad.errors import CheckpointError, ConfigError, DataError
from muad.runs.images import read_run_images
from muad.training.cross_fitting import cross_fit, deal
from muad.types import Record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen good bolts, two of them photographed twice, and one nut in three photographs alike."""
    root, random = tmp_path_factory.mktemp("parts") / "data", np.random.default_rng(1)
    for category, count in (("bolt", 14), ("nut", 1)):
        folder = root / category / "train/good"
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(60, 160, (40, 40, 3), np.uint8)
            again = {"bolt": int(number < 2), "nut": 2}[category]
            for copy in range(1 + again):
                Image.fromarray(pixels + np.uint8(5 * copy)).save(folder / f"{number:03d}_{copy}.png")
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that kept a few bolts; not to be changed."""
    run = tmp_path_factory.mktemp("trained") / "run"
    muad.train(data, run, recipe=tiny_recipe, overrides=["training.calibration_share=0.2"], device="cpu")
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_groups_are_dealt_whole_and_folds_are_even(tmp_path: Path) -> None:
    groups = [
        [
            Record(path=tmp_path / f"{n}_{i}.png", category="a", split="train", is_anomalous=False)
            for i in range(1 + n % 3)
        ]
        for n in range(30)
    ]
    found = deal(groups, 5, tmp_path)
    assert all(len({found[relative_name(record.path, tmp_path)] for record in group}) == 1 for group in groups)
    sizes = np.bincount(list(found.values()))
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 3
    assert deal(groups[::-1], 5, tmp_path) == found
    assert set(deal(groups[:3], 5, tmp_path).values()) == {0, 1, 2}


def test_every_image_is_scored_by_a_detector_that_had_not_seen_it_and_limits_count_all(run: Path, data: Path) -> None:
    said: list[str] = []
    kept = read_run_images(run)
    assert kept is not None
    found = cross_fit(run, 3, device="cpu", note=said.append)
    assert any("cross-fitting trains 3 more detectors of 12 steps, about 1 minute" in text for text in said)
    assert set(found) == {"bolt"}  # all nuts are one
    (folder,) = (run / "cross_fit").iterdir()
    scored: set[str] = set()
    for fold in (1, 2, 3):
        own = read_run_images(folder / f"fold_{fold}")
        assert own is not None
        seen = {digest for digests in own.training.values() for digest in digests.values()}
        names = json.loads((folder / f"fold_{fold}.json").read_text())["bolt"]
        assert not seen & {kept.training["bolt"][name] for name in names}
        assert len(seen) == len(kept.training_names) - len(names)
        name = next(iter(names))
        (again,) = Predictor(folder / f"fold_{fold}", device="cpu").predict(data / name, category="bolt")
        assert again.score == pytest.approx(names[name][0], abs=1e-5)
        scored |= set(names)
    assert scored == set(kept.training["bolt"])
    groups = len(scored) - sum("_1" in name for name in scored)
    assert (found["bolt"].count, found["bolt"].images, found["bolt"].folds) == (groups, len(scored), 3)
    result = muad.calibrate(run, cross_fitted=found, device="cpu")["bolt"]
    assert result.count == groups + result.kept_out or result.refuted
    stored = read_calibration(run)
    assert stored is not None
    assert stored.cross_fit == found
    assert muad.calibrate(run)["bolt"] == result


def test_interrupted_it_goes_on_to_the_same_scores(run: Path, trained: Path, tmp_path: Path) -> None:
    whole = cross_fit(Path(shutil.copytree(trained, tmp_path / "whole")), 2, device="cpu")
    done: list[str] = []

    def stop(what: str, step: int, total: int, loss: float | None) -> None:
        done.append(what)
        if what == "train (fold 2 of 2)" and step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_fit(run, 2, device="cpu", progress=stop)
    done.clear()
    again = cross_fit(run, 2, device="cpu", progress=lambda what, *_: done.append(what))
    assert not any("fold 1" in what for what in done)
    assert again["bolt"].scores == whole["bolt"].scores
    done.clear()
    assert cross_fit(run, 2, device="cpu", progress=lambda what, *_: done.append(what))["bolt"].scores
    assert done == []


def test_what_cannot_be_cross_fitted_is_told(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folds must be at least 2, got 1"):
        cross_fit(run, 1)
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    images = json.loads((run / "images.json").read_text())
    (run / "images.json").write_text(json.dumps({**images, "data": str(moved)}), encoding="utf-8")
    (moved / next(iter(images["training"]["bolt"]))).unlink()
    with pytest.raises(DataError, match="training images must be where they were and as they were, got 1"):
        cross_fit(run, 2)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "finished": False}))
    with pytest.raises(CheckpointError, match="must be trained to its end"):
        cross_fit(run, 2)


def test_the_command_says_what_it_costs_and_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from muad.cli.main import app

    found = CliRunner().invoke(app, ["calibrate", str(run), "--cross-fit", "2", "--device", "cpu", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["bolt"]["folds"] in (0, 2)
