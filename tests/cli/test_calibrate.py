"""`muad calibrate`: a table, the promise in words, and verdicts afterwards."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Muad = Callable[..., Any]


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run that kept nothing for calibration."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Thirty images in a folder named like a category of the run."""
    random = np.random.default_rng(7)
    folder = tmp_path / "good" / "pill_blister"
    folder.mkdir(parents=True)
    for number in range(30):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder.parent


def test_limits_are_set_told_and_used(muad: Muad, run: Path, good: Path, tmp_path: Path) -> None:
    before = muad("predict", run, good, "--out", tmp_path / "before")
    assert before.err.count("no limits: run muad calibrate") == 1
    assert before.out == ""
    done = muad("calibrate", run, good, "--review-rate", "0.1", "--bad", good, "--device", "cpu")
    assert done.code == 0, done.err
    assert "pill_blister" in done.out
    assert "(3.2 %)" in done.out
    assert "(the coarsest limit, 0.5 % is wanted and needs 169 more images)" in done.err
    assert "at most 10 % of good parts" in done.err
    assert "bad images that pass: 2" in done.err
    assert "calibrate again on new photographs" in done.err
    assert str(run / "limits.toml") in done.err
    told = done.err.partition("what to do next\n")[2].splitlines()
    assert told[0].startswith("  1. No limits for printed_board")
    assert any("The 30 good photographs of pill_blister keep false alarms to 3.2 % at best" in line for line in told)
    for name in ("products.toml", "capture.toml"):  # noise looks like no product: judged by the score alone
        (run / name).unlink(missing_ok=True)
    after = muad("predict", run, good, "--out", tmp_path / "after")
    assert after.code == 0
    assert "no limits" not in after.err
    assert after.out.split()[-6:] == ["pill_blister", "28", "2", "0", "0", "0"]
    with (tmp_path / "after" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["verdict"] == "review" for row in rows) == 2
    assert all((float(row["p_value"]) <= 0.1) == (row["verdict"] == "review") for row in rows)


def test_another_rate_is_set_in_json(muad: Muad, run: Path, good: Path) -> None:
    muad("calibrate", run, good, "--device", "cpu")
    shutil.rmtree(good)
    done = muad("calibrate", run, "--false-alarm-rate", "0.1", "--review-rate", "0.2", "--json")
    limits = json.loads(done.out)["pill_blister"]
    assert limits["review"]["value"] < limits["reject"]["value"]
    assert limits["review"]["bound"] > 0.2


def test_faults_are_one_line(muad: Muad, run: Path, good: Path) -> None:
    assert "must have kept images for calibration" in muad("calibrate", run).error
    assert (
        "review_rate must be at least the false_alarm_rate"
        in muad("calibrate", run, good, "--false-alarm-rate", "0.2").error
    )
    (run / "limits.toml").write_text("[categories.screw]\nreview = 1\n", encoding="utf-8")
    assert "must name categories of the run" in muad("predict", run, good, "--out", good / "out").error


def test_limits_are_shown_without_a_change(muad: Muad, run: Path, good: Path) -> None:
    assert "must have limits" in muad("limits", run).error
    muad("calibrate", run, good, "--review-rate", "0.2", "--device", "cpu")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
    shown = muad("limits", run)
    assert shown.code == 0
    assert "at most 20 % of good parts" in shown.err
    assert "pill_blister" in shown.out
    told = [json.loads(muad(verb, run, "--json").out) for verb in ("limits", "calibrate")]
    assert told[0] == told[1]
    assert told[0]["pill_blister"]["rates"]["review_rate"] == 0.2
    assert told[0]["pill_blister"]["reject"]["carried"] == 1 / 31
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
    assert after == before
