"""The tables of the documentation are made from what a comparison wrote."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from muad.comparison import Comparison


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "compared.py"
    spec = importlib.util.spec_from_file_location("compared", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measured_and_published_figures_stand_in_one_table(
    benchmark: ModuleType, finished: tuple[Comparison, Any]
) -> None:
    written = json.loads((finished[0].out / "compare.json").read_text(encoding="utf-8"))
    lines = benchmark.tables({"toy": written, "same": written}).splitlines()
    (row,) = [line for line in lines if line.startswith("| dinomaly | random-vit-tiny |") and "99.6, 99.8" in line]
    own = next(row for row in written["rows"] if row["detector"] == "dinomaly" and row["category"] == "mean")
    assert row.count(f"{100 * own['image_auroc']:.1f}, {100 * own['image_ap']:.1f}") == 2
    costs = [line for line in lines if line.startswith("| dinomaly") and "far below" in line]
    assert len(costs) == 2
    assert "4 of 4" in costs[0]
    figures, *others = [line for line in lines if line.startswith("| detector |")]
    assert figures.count("|") == row.count("|")
    assert {line.count("|") for line in others} == {costs[0].count("|")}
