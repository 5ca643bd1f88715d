"""Files of a run folder: every wrong type or value is one line that names the file and the key."""

import json
from pathlib import Path
from typing import Any

import pytest

from muad.errors import CheckpointError
from muad.runs.folder import read_run
from muad.runs.images import read_run_images
from muad.runs.schema import CheckpointState, ImagesFacts, ProbeFacts, RunFacts, read_json

RUN = {
    "format_version": 2,
    "mode": "multi_class",
    "categories": {"bolt": 5},
    "calibration": {"bolt": 0},
    "map_scale": [0.1, 0.5],
    "finished": True,
}
STATE = {"step": 5, "fingerprint": "abc", "optimizer": {"0": {"step": 5}}, "digests": {"weights.safetensors": "f"}}
IMAGES = {
    "format_version": 1,
    "data": "/d",
    "layout": "folder",
    "training": {"bolt": {"a.png": "0"}},
    "calibration": {},
}
PROBE = {"encoder": "x", "steps": 1, "image_px": 224, "data_hash": "sha256:0"}
SOUND: dict[type, dict[str, Any]] = {RunFacts: RUN, CheckpointState: STATE, ImagesFacts: IMAGES, ProbeFacts: PROBE}
NOT_A_NUMBER, ENDLESS = float("nan"), float("inf")

WRONG = [
    (RunFacts, "mode", "multi", "one of 'multi_class', 'per_category'"),
    (RunFacts, "mode", None, "one of 'multi_class', 'per_category'"),
    (RunFacts, "mode", ["multi_class"], "one of 'multi_class', 'per_category'"),
    (RunFacts, "categories", 5, "a table of keys"),
    (RunFacts, "categories", ["bolt"], "a table of keys"),
    (RunFacts, "categories", {"bolt": "5"}, "a whole number"),
    (RunFacts, "categories", {"bolt": -1}, "at least 0"),
    (RunFacts, "categories", {"": 5}, "a name"),
    (RunFacts, "calibration", {"bolt": 2.5}, "a whole number"),
    (RunFacts, "map_scale", "x", "a list"),
    (RunFacts, "map_scale", [1], "must be given"),
    (RunFacts, "map_scale", [1, 2, 3], "a shorter list"),
    (RunFacts, "map_scale", ["1", 2], "a number"),
    (RunFacts, "map_scale", [0, NOT_A_NUMBER], "a finite number"),
    (RunFacts, "map_scale", [ENDLESS, 1], "a finite number"),
    (RunFacts, "map_scale", [2, 1], "two rising numbers"),
    (RunFacts, "finished", "yes", "true or false"),
    (RunFacts, "finished", 1, "true or false"),
    (RunFacts, "seed", "1", "a whole number"),
    (RunFacts, "seed", True, "a whole number"),
    (RunFacts, "data", 7, "text"),
    (RunFacts, "created", 20260101, "text"),
    (RunFacts, "versions", {"torch": 2}, "text"),
    (RunFacts, "git", "abc", "a table of keys"),
    (RunFacts, "git", {"commit": "abc"}, "must hold 'git.dirty'"),
    (RunFacts, "encoder", {"name": "x"}, "must hold 'encoder.fingerprint'"),
    (RunFacts, "preprocessing", [], "a table of keys"),
    (CheckpointState, "step", "5", "a whole number"),
    (CheckpointState, "step", -5, "at least 0"),
    (CheckpointState, "fingerprint", None, "text"),
    (CheckpointState, "optimizer", {"0": 5}, "a table of keys"),
    (CheckpointState, "optimizer", {"0": {"step": "5"}}, "optimizer.0.step"),
    (CheckpointState, "digests", {"weights.safetensors": 5}, "text"),
    (ImagesFacts, "format_version", 2, "1"),
    (ImagesFacts, "data", None, "text"),
    (ImagesFacts, "training", [], "a table of keys"),
    (ImagesFacts, "training", {"bolt": ["a.png"]}, "a table of keys"),
    (ImagesFacts, "calibration", {"bolt": {"a.png": 5}}, "text"),
    (ProbeFacts, "steps", "1", "a whole number"),
]


@pytest.mark.parametrize(("kind", "key", "value", "constraint"), WRONG)
def test_a_wrong_value_names_the_file_and_the_key(
    kind: type, key: str, value: object, constraint: str, tmp_path: Path
) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({**SOUND[kind], key: value}), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        read_json(file, kind, "Restore it.")
    said = str(caught.value)
    assert said.startswith("facts.json")
    assert key in said
    assert constraint in said
    assert str(file) in said
    assert said.endswith("Restore it.")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("kind", "key"),
    [(RunFacts, "mode"), (CheckpointState, "step"), (CheckpointState, "fingerprint"), (ImagesFacts, "training"),
     (ProbeFacts, "encoder")],
)  # fmt: skip
def test_a_missing_key_is_named(kind: type, key: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({name: value for name, value in SOUND[kind].items() if name != key}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"facts.json must hold '{key}', got .* without it. Restore it."):
        read_json(file, kind, "Restore it.")


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", '"text"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_what_is_no_json_object_is_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^facts\.json must be readable, got .*Restore it\.$"):
        read_json(file, RunFacts, "Restore it.")


def test_bytes_that_are_no_text_and_a_folder_in_the_place_of_a_file_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    (tmp_path / "folder.json").mkdir()
    for name in ("bytes.json", "folder.json", "missing.json"):
        with pytest.raises(CheckpointError, match=rf"^{name} must be readable"):
            read_json(tmp_path / name, RunFacts, "Restore it.")


@pytest.mark.parametrize("kind", SOUND)
def test_keys_of_a_newer_release_are_left_alone(kind: type, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({**SOUND[kind], "from_tomorrow": [1]}), encoding="utf-8")
    checked, values = read_json(file, kind, "Restore it.")
    assert isinstance(checked, kind)
    assert values["from_tomorrow"] == [1]


def test_a_long_value_is_cut_short_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({**RUN, "mode": "x" * 10_000}), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        read_json(file, RunFacts, "Restore it.")
    assert len(str(caught.value)) < 300 + len(str(file))


def test_a_run_of_one_detector_each_names_its_categories(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format_version": 2, "mode": "per_category"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json: categories must name those with a detector"):
        read_run(tmp_path)


@pytest.mark.parametrize("version", [True, 2.5, "2", [2], {}])
def test_a_format_version_of_another_type_is_refused(version: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**RUN, "format_version": version}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="run folder must have format version 1 or 2, got"):
        read_run(tmp_path)


def test_names_of_images_that_are_no_text_here_are_read_back(tmp_path: Path) -> None:
    facts = {**IMAGES, "training": {"bolt": {"caf\udce9.png": "0"}}}
    (tmp_path / "images.json").write_text(json.dumps(facts), encoding="utf-8")
    images = read_run_images(tmp_path)
    assert images is not None
    assert images.training == {"bolt": {"caf\udce9.png": "0"}}
