"""The notebooks run from first to last cell, smaller here, show pictures, are short, and hold nobody's output."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from muad.detectors.registry import DETECTORS

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))
SIZES = re.compile(r"^PHOTO_PX, GOOD, SIZE_PX, ENCODER = .*$", re.MULTILINE)
SMALL = {"research": '64, 4, 56, "random-vit-tiny"', "engineer": '64, 32, 56, "random-resnet18"'}
pytestmark = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return [cell for cell in found["cells"] if cell["cell_type"] == kind]


def run(source: str, name: str, module: ModuleType) -> object:
    """The value of a cell's last line, as a notebook shows it."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), vars(module))
    return None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), vars(module))


def test_it_runs_and_shows_pictures(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType(f"notebook_{notebook.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    before = dict(DETECTORS)
    try:
        shown = []
        for cell in cells(notebook, "code"):
            source = SIZES.sub(f"PHOTO_PX, GOOD, SIZE_PX, ENCODER = {SMALL[notebook.stem]}", "".join(cell["source"]))
            shown.append(run(source, f"{notebook.name}, {cell['id']}", module))
    finally:
        DETECTORS.clear()
        DETECTORS.update(before)
    assert sum(hasattr(value, "_repr_png_") for value in shown) >= 2
    assert len(capsys.readouterr().out.splitlines()) >= 6


def test_it_holds_no_output_and_is_short(notebook: Path) -> None:
    code = cells(notebook, "code")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert sum(len(cell["source"]) for cell in code) < 130
    assert max(len(line) for cell in code for line in cell["source"]) < 130
    assert notebook.stat().st_size < 20_000
    assert len(cells(notebook, "markdown")) >= 6


def test_a_detector_of_ones_own_takes_forty_lines(notebook: Path) -> None:
    own = [cell for cell in cells(notebook, "code") if "class Spread(" in "".join(cell["source"])]
    assert all(len([line for line in cell["source"] if line.strip()]) <= 40 for cell in own)
    assert len(own) == (notebook.stem == "research")
