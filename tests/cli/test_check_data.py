"""`muad check-data`: table, page, JSON, exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def data(photos: Path, tmp_path: Path) -> Path:
    """One product, one picture of which is in training and test."""
    root = tmp_path / "data"
    shutil.copytree(photos / "bolt", root / "bolt")
    shutil.copy(root / "bolt/train/good/001.png", root / "bolt/test/good/leak & <b>.png")
    return root


def test_findings_are_told_and_shown_and_are_no_failure(
    muad: Callable[..., Any], data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    done = muad("check-data", data, "--recipe", tiny_recipe, "--out", tmp_path / "check.html")
    assert done.code == 0, done.err
    assert "leakage: 1 (settle first), the same picture in training and test" in done.out
    assert "  -> leave one side out" in done.out
    assert "training: about" in done.out
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "leak &amp; &lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert "data:image/jpeg" in page
    assert "http" not in page


def test_strict_fails_on_findings(muad: Callable[..., Any], data: Path, tiny_recipe: Path) -> None:
    done = muad("check-data", data, "--recipe", tiny_recipe, "--strict", "--json")
    assert done.code == 1
    assert "leakage" in {finding["kind"] for finding in json.loads(done.out)["findings"]}


@pytest.mark.parametrize(
    ("arguments", "told"), [(("none",), "must exist"), ((".", "--recipe", "nothing"), "recipe must be")]
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], told: str, muad: Callable[..., Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    assert told in muad("check-data", *arguments).error


def test_a_page_that_cannot_be_written_is_one_line(
    muad: Callable[..., Any], data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    assert "page must be a file" in muad("check-data", data, "--recipe", tiny_recipe, "--out", tmp_path).error
