"""`muad predict --engine ray` on the command line, as far as no Ray has to start."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--engine spark", "engine must be here or ray, got 'spark'"),
        ("--engine ray --append", "append must be left out with engine ray"),
        ("--engine ray --device cuda", "device must be left out with engine ray"),
        ("--judges 2", "judges must be left out without engine ray, got 2. Add --engine ray"),
        ("--address auto", "address must be left out without engine ray"),
    ],
)
def test_options_of_the_other_engine_are_refused(
    muad: Callable[..., Any], patch_bundle: Path, tmp_path: Path, options: str, told: str
) -> None:
    assert told in muad("predict", patch_bundle, tmp_path, "--out", tmp_path / "out", *options.split()).error


def test_an_address_needs_ray(muad: Callable[..., Any], patch_bundle: Path, tmp_path: Path) -> None:
    told = muad("predict", patch_bundle, "s3://bucket/folder", "--out", tmp_path / "out").error
    assert told == "paths and out must be files and folders without engine ray, got s3://bucket/folder."


def test_what_ray_needs_is_named_where_it_is_missing(
    muad: Callable[..., Any], patch_bundle: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="muad[scale] is not installed")
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    told = muad(
        "predict", patch_bundle, tiny_data, "--out", tmp_path / "out", "--engine", "ray", "--backend", "onnx"
    ).error
    assert "pip install 'muad[scale]'" in told


def test_a_cluster_that_does_not_answer_is_one_line(
    muad: Callable[..., Any], patch_bundle: Path, tiny_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="muad[scale] is not installed")
    options = ("--engine", "ray", "--address", "127.0.0.1:1", "--backend", "onnx")
    told = muad("predict", patch_bundle, tiny_data, "--out", tmp_path / "out", *options).error
    assert told.startswith("address must be that of a Ray cluster that can be reached, got 127.0.0.1:1")
