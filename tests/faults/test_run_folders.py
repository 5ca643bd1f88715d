"""Run folders that were damaged, edited or never were one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def _nothing(run: Path) -> None:
    pass


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
