"""The example of a detector of one's own: installed as a package, used like any other."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_detector"
SMALL = ("detector.encoder.name=random-vit-tiny", "detector.resize_px=[56, 56]", "detector.dimensions=8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(EXAMPLE, source)
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *how, str(source)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(target)
    monkeypatch.delitem(sys.modules, "own_detector", raising=False)


@pytest.mark.usefixtures("installed")
def test_it_trains_predicts_calibrates_evaluates_and_reports(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    recipe = tmp_path / "own.toml"
    recipe.write_text('[detector]\nname = "gaussian_patches"\nridge = 0.1\n', encoding="utf-8")
    settings = [part for setting in SMALL for part in ("--set", setting)]
    done = muad("train", tiny_data, "--out", run, "--recipe", recipe, "--device", "cpu", *settings)
    assert done.code == 0, done.err
    assert 'name = "gaussian_patches"' in (run / "config.toml").read_text(encoding="utf-8")
    assert muad("evaluate", run, tiny_data, "--device", "cpu").code == 0
    for number in range(20):  # of a folder named like the category
        source = tiny_data / "pill_blister" / "test" / "good" / "000.png"
        (tmp_path / "pill_blister").mkdir(exist_ok=True)
        lighter = Image.open(source).point(lambda value, number=number: min(255, value + number))
        lighter.save(tmp_path / "pill_blister" / f"{number}.png")
    done = muad("calibrate", run, tmp_path / "pill_blister", "--device", "cpu")
    assert done.code == 0, done.err
    done = muad("predict", run, tiny_data / "pill_blister" / "test", "--out", tmp_path / "found", "--device", "cpu")
    assert done.code in (0, 1), done.err
    with (tmp_path / "found" / "results.csv").open(encoding="utf-8", newline="") as file:
        assert all(float(row["score"]) > 0 for row in csv.DictReader(file))
    done = muad("report", run)
    assert done.code == 0, done.err
    assert "gaussian_patches" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("installed")
def test_without_a_recipe_its_defaults_are_taken_and_its_mistakes_are_said_in_one_line(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    bare = ("train", tiny_data, "--out", tmp_path / "run", "--set", "detector.name=gaussian_patches")
    assert muad(*bare, "--set", "detector.ridge=0").error == "detector.ridge must be above 0, got 0.0."
    assert "detector.ridge" in muad(*bare, "--set", "detector.rigde=1").error
    assert (
        "'detector.map_px', which detector.name = 'gaussian_patches' does not have"
        in muad(*bare, "--set", "detector.map_px=64").error
    )
