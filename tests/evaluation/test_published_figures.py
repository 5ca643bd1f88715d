"""Published figures stand beside measured ones where they are of the same categories, and nowhere else."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from muad.configuration.run_config import load_config
from muad.datasets.published import EXPECTED_COUNTS
from muad.evaluation.published_figures import PublishedFigures, published_figures
from muad.metrics.report import CategoryReport, Report

MVTEC = EXPECTED_COUNTS["MVTec AD"].categories


def _of(recipe: str, categories: Iterable[str] = MVTEC, changed: Iterable[str] | None = ()) -> PublishedFigures | None:
    return published_figures(load_config(recipe).published, categories, recipe, changed)


def test_figures_are_those_of_the_recipe_on_its_data_set() -> None:
    found = _of("dinomaly-mvtec")
    assert found is not None
    assert (found.data, found.figures["image_auroc"], found.changed) == ("MVTec AD", 0.996, ())
    assert found.sentence().startswith("published: mean over MVTec AD, Guo et al.")
    assert "settings" not in found.sentence()


def test_other_categories_have_none() -> None:
    assert _of("dinomaly-mvtec", sorted(MVTEC)[:14]) is None
    assert _of("dinomaly-mvtec", EXPECTED_COUNTS["VisA"].categories) is None
    assert _of("diffusionad-dagm", [f"Class{n}" for n in range(1, 11)]) is None
    assert published_figures(load_config().published, MVTEC, None, None) is None


def test_settings_that_are_not_the_recipes_are_named() -> None:
    found = _of("dinomaly-mvtec", changed=["schedule.total_steps"])
    assert found is not None
    assert found.sentence().endswith("other settings than dinomaly-mvtec: schedule.total_steps")


def test_a_run_that_did_not_record_them_is_said_to_have_not() -> None:
    found = _of("dinomaly-mvtec", changed=None)
    assert found is not None
    assert found.sentence().endswith("was trained with the settings of dinomaly-mvtec was not recorded")
    alone = published_figures(load_config("dinomaly-mvtec").published, MVTEC, None, None)
    assert alone is not None
    assert "recorded" not in alone.sentence()


def test_they_are_a_row_of_the_table_and_of_the_report(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from muad import report
    from muad.cli.display import show_report

    figures = Report(
        protocol="dinomaly", images=1, categories={name: CategoryReport(image_auroc=0.5) for name in MVTEC}
    )
    show_report(figures, _of("dinomaly-mvtec"))
    shown = capsys.readouterr()
    (row,) = [line.split() for line in shown.out.splitlines() if line.lstrip().startswith("published")]
    assert row[1:3] == ["0.9960", "0.9980"]
    assert "Guo et al." in shown.err
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    text = (run / "config.toml").read_text(encoding="utf-8").partition("[published]")[0]
    text += '[published]\nsource = "Guo et al."\ndata = "MVTec AD"\nimage_auroc = 0.996\n'
    (run / "config.toml").write_text(text, encoding="utf-8")
    (run / "evaluation.json").write_text(json.dumps(figures.to_json()), encoding="utf-8")
    page = report(run, device="cpu").read_text(encoding="utf-8")
    assert "<td>published: MVTec AD</td><td>0.996</td>" in page


def test_a_run_remembers_its_recipe_and_what_was_changed(
    train_tiny: Callable[..., Any], tiny_recipe: Path, tmp_path: Path
) -> None:
    train_tiny(tmp_path / "run", "schedule.total_steps=2", "schedule.warmup_steps=1", "training.seed=7")
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["recipe"] == str(tiny_recipe)
    assert facts["changed_settings"] == ["schedule.total_steps", "schedule.warmup_steps"]
