"""Run folders that were damaged, edited or never were one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from muad.metrics.report import METRIC_NAMES

Spoil = Callable[[Path], None]


def _json(name: str, **changes: Any) -> Spoil:
    """Keys of a JSON file set, or taken away where they are None."""

    def spoil(run: Path) -> None:
        (file,) = run.glob(name)
        values = {**json.loads(file.read_text(encoding="utf-8")), **changes}
        file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), "utf-8")

    return spoil


def _text(name: str, content: str | bytes) -> Spoil:
    def spoil(run: Path) -> None:
        file = next(run.glob(name), run / name)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def _flip(name: str, place: int = -7) -> Spoil:
    """One bit of a file changed, and its time kept."""

    def spoil(run: Path) -> None:
        (file,) = run.glob(name)
        content = bytearray(file.read_bytes())
        content[place] ^= 16
        file.write_bytes(content)

    return spoil


def _without(name: str) -> Spoil:
    def spoil(run: Path) -> None:
        for path in run.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _folder(name: str) -> Spoil:
    """A folder in the place of a file."""

    def spoil(run: Path) -> None:
        path = next(run.glob(name), run / name)
        path.unlink(missing_ok=True)
        path.mkdir()

    return spoil


def _back_to_10(spoil: Spoil) -> Spoil:
    """As if the training had been interrupted after the tenth of its twelve steps, and then something else."""

    def spoil_both(run: Path) -> None:
        shutil.rmtree(run / "checkpoints/00000012")
        _json("run.json", finished=None)(run)
        spoil(run)

    return spoil_both


def _nothing(run: Path) -> None:
    pass


SCORED = {"scores": [1.0, 2.0], "map_peaks": [1.0, 2.0], "data_hash": "sha256:0", "source": "x", "created": "today"}
CALIBRATION = {
    "format_version": 1, "muad": "0", "weights": "0", "limits_digest": "0", "false_alarm_rate": 0.005,
    "review_rate": 0.05, "confidence": 0.95, "sure": False, "good": {"pill_blister": SCORED}, "bad": {},
}  # fmt: skip


def _calibration(**changes: Any) -> Spoil:
    values = {key: value for key, value in {**CALIBRATION, **changes}.items() if value is not None}
    return _text("calibration.json", json.dumps(values))


def _scored(**changes: Any) -> Spoil:
    values = {key: value for key, value in {**SCORED, **changes}.items() if value is not None}
    return _calibration(good={"pill_blister": values})


FIGURES = dict.fromkeys(METRIC_NAMES, 0.5)
EVALUATION = {"protocol": "exact", "categories": {"pill_blister": FIGURES}, "mean": FIGURES, "images": 5}
SEEN = {"checked": True, "compared": 5, "trained_on": 0, "calibrated_on": 0, "by_pixels": True}


def _odd_products(run: Path) -> None:
    """A file of an older release, without a digest, that holds something else."""
    file = run / "products.toml"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(line for line in lines if "digest" not in line), encoding="utf-8")
    save_file({name: torch.zeros(3) for name in load_file(run / "products.safetensors")}, run / "products.safetensors")


LAST, STATE = "checkpoints/00000012/weights.safetensors", "checkpoints/00000012/state.json"
PREDICT, EVALUATE = ("predict", "{run}", "{image}", "--out", "{out}"), ("evaluate", "{run}", "{data}")
REPORT, CALIBRATE, LIMITS = ("report", "{run}"), ("calibrate", "{run}"), ("limits", "{run}")

CASES: dict[str, tuple[Spoil, tuple[str, ...], str]] = {
    "no run.json": (_without("run.json"), PREDICT, "no run.json"),
    "run.json is empty": (_text("run.json", ""), PREDICT, "run.json must be readable"),
    "run.json is cut": (_text("run.json", '{"format_version": 2, "mo'), PREDICT, "run.json must be readable"),
    "run.json is a list": (_text("run.json", "[1]"), PREDICT, "run.json must be readable"),
    "run.json is binary": (_text("run.json", b"\xff\xfe\x00"), PREDICT, "run.json must be readable"),
    "run.json is a folder": (_folder("run.json"), PREDICT, "no run.json"),
    "run.json of tomorrow": (_json("run.json", format_version=99), PREDICT, "format version"),
    "unknown mode": (_json("run.json", mode="multi"), PREDICT, "run.json: mode must be one of"),
    "unknown mode, evaluated": (_json("run.json", mode="multi"), EVALUATE, "run.json: mode must be one of"),
    "unknown mode, reported": (_json("run.json", mode="multi"), REPORT, "run.json: mode must be one of"),
    "no mode": (_json("run.json", mode=None), PREDICT, "run.json must hold 'mode'"),
    "categories is a number": (_json("run.json", categories=5), PREDICT, "run.json: categories must be a table"),
    "categories is a number, evaluated": (_json("run.json", categories=5), EVALUATE, "run.json: categories"),
    "categories is a number, calibrated": (_json("run.json", categories=5), CALIBRATE, "run.json: categories"),
    "categories is a list": (_json("run.json", categories=["a"]), PREDICT, "run.json: categories"),
    "a category counts text": (_json("run.json", categories={"a": "5"}), PREDICT, "categories.a must be a whole"),
    "map_scale is text": (_json("run.json", map_scale="x"), PREDICT, "run.json: map_scale must be a list"),
    "map_scale is one number": (_json("run.json", map_scale=[1]), PREDICT, "run.json: map_scale"),
    "map_scale is three numbers": (_json("run.json", map_scale=[1, 2, 3]), PREDICT, "run.json: map_scale"),
    "map_scale is not finite": (_json("run.json", map_scale=[0, float("nan")]), PREDICT, "run.json: map_scale"),
    "map_scale falls": (_json("run.json", map_scale=[2, 1]), PREDICT, "map_scale must be two rising"),
    "finished is text": (_json("run.json", finished="yes"), PREDICT, "run.json: finished must be true or false"),
    "calibration is text": (_json("run.json", calibration="x"), REPORT, "run.json: calibration"),
    "versions is a list": (_json("run.json", versions=[]), REPORT, "run.json: versions"),
    "git is text": (_json("run.json", git="abc"), REPORT, "run.json: git"),
    "encoder is text": (_json("run.json", encoder="x"), REPORT, "run.json: encoder"),
    "created is a number": (_json("run.json", created=5), REPORT, "run.json: created must be text"),
    "data is a number": (_json("run.json", data=5), EVALUATE, "run.json: data must be text"),
    "a mode with folders that are not there": (
        _json("run.json", mode="per_category"), PREDICT, "must be a folder written by `muad train`"),
    "a category that leads out": (
        _json("run.json", mode="per_category", categories={"../up": 1}), PREDICT, "usable as a folder name"),
    "no config.toml": (_without("config.toml"), PREDICT, "config.toml"),
    "config.toml is no TOML": (_text("config.toml", "[detector"), PREDICT, "must be valid TOML"),
    "config.toml is binary": (_text("config.toml", b"\xff\xfe"), PREDICT, "must be a readable TOML file"),
    "config.toml has a foreign key": (_text("config.toml", "[detector]\nsize = 1"), PREDICT, "known one"),
    "config.toml is of another detector": (_text("config.toml", '[detector]\nname="yolo"'), PREDICT, "must be one of"),
    "config.toml of other sizes": (_text("config.toml", ""), PREDICT, "encoder weights must be those"),
    "no checkpoint": (_without("checkpoints"), PREDICT, "must hold a checkpoint"),
    "no checkpoint, evaluated": (_without("checkpoints"), EVALUATE, "must hold a checkpoint"),
    "no checkpoint, calibrated": (_without("checkpoints"), CALIBRATE, "must hold a checkpoint"),
    "no weights": (_without(LAST), PREDICT, "weights.safetensors must be a readable"),
    "weights are empty": (_text(LAST, ""), PREDICT, "weights.safetensors must be as it was written"),
    "weights are text": (_text(LAST, "weights"), PREDICT, "weights.safetensors must be as it was written"),
    "weights have one bit changed": (_flip(LAST), PREDICT, "weights.safetensors must be as it was written"),
    "weights changed, evaluated": (_flip(LAST), EVALUATE, "weights.safetensors must be as it was written"),
    "weights changed in the head": (_flip(LAST, 20), PREDICT, "weights.safetensors must be as it was written"),
    "weights are a folder": (_folder(LAST), PREDICT, "weights.safetensors must be a readable"),
    "no state": (_without(STATE), PREDICT, "state.json must be readable"),
    "state is cut": (_text(STATE, '{"step": 1'), PREDICT, "state.json must be readable"),
    "state of another step": (_json(STATE, step=13), PREDICT, "state.json: step must be that of its folder"),
    "state with a step in words": (_json(STATE, step="twelve"), PREDICT, "state.json: step must be a whole"),
    "state without a fingerprint": (_json(STATE, fingerprint=None), PREDICT, "state.json must hold 'fingerprint'"),
    "state with another encoder": (_json(STATE, fingerprint="0" * 64), PREDICT, "encoder weights must be those"),
    "state with digests that are none": (_json(STATE, digests=[1]), PREDICT, "state.json: digests"),
    "images.json is cut": (_text("images.json", "{"), EVALUATE, "images.json must be readable"),
    "images.json of tomorrow": (_json("images.json", format_version=9), EVALUATE, "images.json: format_version"),
    "images.json without images": (_json("images.json", training=None), EVALUATE, "must hold 'training'"),
    "images.json with a list": (_json("images.json", training=[]), EVALUATE, "images.json: training"),
    "images.json with numbers": (_json("images.json", training={"a": {"b": 5}}), EVALUATE, "images.json: training"),
    "images.json with odd pixels": (_json("images.json", pixels=5), EVALUATE, "images.json: pixels"),
    "products.toml is no TOML": (_text("products.toml", "rate ="), PREDICT, "products.toml must be readable"),
    "products.toml is empty": (_text("products.toml", ""), PREDICT, "products.toml must hold"),
    "no product tensors": (_without("products.safetensors"), PREDICT, "products.safetensors must be"),
    "product tensors changed": (_flip("products.safetensors"), PREDICT, "products.safetensors must be as it was"),
    "calibration.json is cut": (_text("calibration.json", "{"), CALIBRATE, "calibration.json must be readable"),
    "calibration.json is a list": (_text("calibration.json", "[]"), REPORT, "calibration.json must be readable"),
    "calibration.json of tomorrow": (_calibration(format_version=9), REPORT, "calibration.json: format_version"),
    "calibration.json without weights": (_calibration(weights=None), REPORT, "must hold 'weights'"),
    "calibration.json with a rate in words": (_calibration(review_rate="5 %"), REPORT, "review_rate must be a number"),
    "calibration.json with a rate above 1": (_calibration(review_rate=5), REPORT, "review_rate must be below 1"),
    "calibration.json with rates the wrong way": (_calibration(review_rate=0.001), REPORT, "review_rate must be at"),
    "calibration.json with sure in words": (_calibration(sure="yes"), REPORT, "sure must be true or false"),
    "calibration.json with a list of products": (_calibration(good=[1]), REPORT, "calibration.json: good"),
    "calibration.json with a number for a product": (_calibration(good={"a": 5}), REPORT, "calibration.json: good.a"),
    "calibration.json without scores": (_scored(scores=None), REPORT, "must hold 'good.pill_blister.scores'"),
    "calibration.json with scores in words": (_scored(scores=["high"]), REPORT, "scores.0 must be a number"),
    "calibration.json with endless scores": (
        _scored(scores=[1.0, float("inf")]), REPORT, "scores.1 must be a finite number"),
    "calibration.json with falling scores": (_scored(scores=[2.0, 1.0]), REPORT, "scores must rise"),
    "calibration.json with too few peaks": (_scored(map_peaks=[1.0]), REPORT, "map_peaks must be as many as scores"),
    "calibration.json with a date that is none": (_scored(created=5), REPORT, "created must be text"),
    "evaluation.json with a share of 5": (
        _text("evaluation.json", json.dumps({**EVALUATION, "categories": {"a": {**FIGURES, "image_ap": 5}}})),
        REPORT, "image_ap must be in [0, 1]"),
    "evaluation.json with figures in words": (
        _text("evaluation.json", json.dumps({**EVALUATION, "categories": {"a": {**FIGURES, "image_ap": "x"}}})),
        REPORT, "image_ap must be a number"),
    "evaluation.json with a count in words": (
        _text("evaluation.json", json.dumps({**EVALUATION, "images": "5"})), REPORT, "images must be a whole number"),
    "evaluation.json with a claim in words": (
        _text("evaluation.json", json.dumps({**EVALUATION, "seen": "no"})), REPORT, "seen must be an object"),
    "evaluation.json with half a claim": (
        _text("evaluation.json", json.dumps({**EVALUATION, "seen": {"checked": True}})), REPORT, "seen must have the"),
    "evaluation.json with a claim of another type": (
        _text("evaluation.json", json.dumps({**EVALUATION, "seen": {**SEEN, "checked": "true"}})),
        REPORT, "seen.checked must be true or false"),
    "capture.toml is no TOML": (_text("capture.toml", "[categories"), PREDICT, "capture.toml"),
    "capture.toml with a foreign product": (_text("capture.toml", "[categories.screw]"), PREDICT, "capture.toml"),
    "capture.toml with a number for a product": (
        _text("capture.toml", "[categories]\npill_blister = 5"), PREDICT, "capture.toml"),
    "capture.toml with a rate of 5": (_text("capture.toml", "capture_rate = 5"), PREDICT, "capture_rate"),
    "products.toml with a rate in words": (
        _text("products.toml", 'unknown_rate = "low"'), PREDICT, "products.toml"),
    "old products of another shape": (_odd_products, PREDICT, "products.safetensors"),
    "evaluation.json is cut": (_text("evaluation.json", "{"), REPORT, "evaluation.json must be readable"),
    "evaluation.json is a list": (_text("evaluation.json", "[1]"), REPORT, "evaluation.json must be a report"),
    "evaluation.json is empty": (_text("evaluation.json", "{}"), REPORT, "evaluation.json must be a report"),
    "evaluation.csv is of another table": (_text("evaluation.csv", "a,b\n1,2\n"), REPORT, "must have the columns"),
    "evaluation.csv is binary": (_text("evaluation.csv", b"\xff\xfe\x00"), REPORT, "must be a readable table"),
    "evaluation.csv with a score in words": (
        _text("evaluation.csv", "path,category,is_anomalous,defect_type,score\na.png,a,1,,high\n"), REPORT, "row 2"),
    "evaluation.csv with a short row": (
        _text("evaluation.csv", "path,category,is_anomalous,defect_type,score\na.png\n"), REPORT, "row 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_spoiled_run_is_one_line(
    name: str, run: Path, tiny_data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    spoil, command, words = CASES[name]
    spoil(run)
    image = next((tiny_data / "pill_blister/test/good").iterdir())
    places = {"run": run, "data": tiny_data, "image": image, "out": tmp_path / "out"}
    assert words in refused(*(part.format(**places) for part in command))
    assert not (tmp_path / "out").exists()


RESUME: dict[str, tuple[Spoil, tuple[str, ...], str]] = {
    "a finished run, anew": (_nothing, (), "run folder must be new"),
    "a finished run with another rate": (_nothing, ("--resume", "--set", "optim.lr=1.0"), "optim.lr must stay"),
    "a finished run with other steps": (
        _nothing, ("--resume", "--set", "schedule.total_steps=13"), "schedule.total_steps must stay"),
    "run.json is cut": (_text("run.json", "{"), ("--resume",), "run.json must be readable"),
    "another mode": (_json("run.json", mode="x"), ("--resume",), "run.json: mode must be one of"),
    "other categories": (_json("run.json", categories={"pill_blister": 5}), ("--resume",), "data must be what"),
    "config.toml is cut": (_text("config.toml", "[optim"), ("--resume",), "must be valid TOML"),
    "images.json is cut": (_text("images.json", "{"), ("--resume",), "images.json must be readable"),
    "weights of the last checkpoint changed": (_back_to_10(_flip("checkpoints/00000010/weights.safetensors")),
                                               ("--resume",), "weights.safetensors must be as it was written"),
    "optimizer changed": (_back_to_10(_flip("checkpoints/00000010/optimizer.safetensors")),
                          ("--resume",), "optimizer.safetensors must be as it was written"),
    "optimizer missing": (_back_to_10(_without("checkpoints/00000010/optimizer.safetensors")),
                          ("--resume",), "must hold the optimizer's state"),
    "optimizer without numbers": (_back_to_10(_json("checkpoints/00000010/state.json", optimizer=None)),
                                  ("--resume",), "must hold 'optimizer'"),
    "optimizer with odd numbers": (_back_to_10(_json("checkpoints/00000010/state.json", optimizer={"a": {}})),
                                   ("--resume",), "must have a number for each parameter"),
    "optimizer in words": (_back_to_10(_json("checkpoints/00000010/state.json", optimizer={"0": {"step": "x"}})),
                           ("--resume",), "state.json: optimizer"),
}  # fmt: skip


@pytest.mark.parametrize("name", RESUME)
def test_a_run_that_cannot_go_on_is_one_line(
    name: str, run: Path, tiny_data: Path, refused: Callable[..., str]
) -> None:
    spoil, options, words = RESUME[name]
    spoil(run)
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert words in refused("train", tiny_data, "--out", run, "--device", "cpu", *options)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before, "nothing that was computed is lost"
