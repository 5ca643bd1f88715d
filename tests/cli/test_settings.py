"""`muad settings`, and the options that stand for some of them."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muad.configuration.run_config import load_config, settings_tree
from muad.configuration.settings_table import find_settings
from muad.runs.faults import key_paths


def test_every_setting_there_is_is_listed_with_its_meaning() -> None:
    found = find_settings()
    assert {setting.path for setting in found} == set(key_paths(settings_tree()))
    assert [setting.path for setting in found if not setting.meaning] == []


def test_defaults_are_those_of_the_configuration() -> None:
    config = load_config()
    defaults = {setting.path: setting.default for setting in find_settings(detector="dinomaly")}
    assert defaults["optim.lr"] == config.optim.lr
    assert defaults["detector.resize_px"] == list(config.detector.resize_px)
    assert defaults["detector.encoder.name"] == config.encoder_name


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("training.calibration_share", "number; from 0 to 0.8"),
        ("training.mode", "multi_class, per_category"),
        ("images.tiles", "list of 2 whole numbers; rows and columns of at least 1 and at most 64 tiles"),
        ("images.roi_dir", "path, or left out"),
        ("training.skip_bad", "true or false"),
        ("optim.lr", "number; above 0 and at most 100"),
    ],
)
def test_what_a_setting_may_be_is_what_its_own_check_says(path: str, allowed: str) -> None:
    setting = next(setting for setting in find_settings(path) if setting.path == path)
    assert setting.allowed == allowed


def test_settings_are_found_by_part_meaning_and_star_and_by_detector(muad: Callable[..., Any]) -> None:
    shown = muad("settings", "tile_overlap")
    assert shown.out.startswith("images.tile_overlap = 0.2  (number; from 0 to 0.5)\n")
    assert "without" in shown.err.lower()
    listed = json.loads(muad("settings", "schedule.*", "--json").out)
    assert [entry["path"] for entry in listed] == [
        "schedule.kind", "schedule.total_steps", "schedule.warmup_steps", "schedule.final_lr", "schedule.drop_at",
    ]  # fmt: skip
    others = json.loads(muad("settings", "--detector", "diffusion_ad", "--json").out)
    assert {entry["detector"] for entry in others} == {None, "diffusion_ad"}
    assert "Did you mean 'optim.lr'?" in muad("settings", "optm.lr").error
    assert "detector must be one of" in muad("settings", "--detector", "dinomly").error


def test_detector_steps_and_seed_are_settings(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    short = ("--steps", "3", "--seed", "7", "--set", "schedule.warmup_steps=1")
    done = muad("train", tiny_data, "--out", run, "--recipe", tiny_recipe, *short, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    values = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert values["schedule"]["total_steps"] == 3
    assert values["training"]["seed"] == 7
    told = json.loads(done.out)
    assert told["run"] == str(run)
    assert told["seed"] == 7
    assert told["finished"] is True
    odd = muad("train", tiny_data, "--out", tmp_path / "other", "--detector", "dinomly").error
    assert "detector.name must be one of dinomaly, diffusion_ad" in odd
