"""Figures in the docs are those of the results they name: written by benchmarks/figures.py, not typed."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURES: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "figures.py"))
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if "<!-- table:" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == FIGURES["filled"](text), f"{page.name}: run python benchmarks/figures.py"


def test_every_result_is_shown_somewhere_with_its_commands() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for file in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        assert f"<!-- table: {file.stem} -->" in text
        assert result["commands"]
        assert isinstance(result["seed"], int)
        paths = [part for part in json.dumps(result).split('"') if part.startswith("/")]
        assert not paths, f"{file.name} must hold no path of a machine, got {paths}"


def test_the_front_page_has_the_figures_of_the_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("demo", "default"):
        mean = FIGURES["read"](name)["mean"]
        assert " · ".join(f"{100 * mean[metric]:.1f}" for metric in ("image_auroc", "pixel_ap", "pixel_aupro")) in text
