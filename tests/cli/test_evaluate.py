"""`muad evaluate`: the JSON, the table, the faults."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from PIL import Image

from muad.metrics.ranking import rank_metrics
from muad.runs.scores import read_scores

METRICS = ["image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro"]


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(copytree(tiny_run, tmp_path / "run"))


def test_json_is_all_there_is_on_stdout_and_equals_the_file(
    muad: Callable[..., Any], run: Path, tiny_data: Path
) -> None:
    done = muad("evaluate", run, tiny_data, "--json", "--device", "cpu")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((run / "evaluation.json").read_text(encoding="utf-8"))


def test_figures_can_go_elsewhere_and_those_of_the_run_stay(
    muad: Callable[..., Any], run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    done = muad("evaluate", run, tiny_data, "--out", tmp_path / "line 2" / "march")
    assert done.code == 0, done.err
    assert sorted(file.name for file in (tmp_path / "line 2" / "march").iterdir()) == [
        "evaluation.csv",
        "evaluation.json",
        "log.txt",
        "naming.json",
    ]
    assert not (run / "evaluation.json").exists()
    (tmp_path / "file").touch()
    assert "output folder must be writable" in muad("evaluate", run, tiny_data, "--out", tmp_path / "file" / "x").error


def test_evaluation_json_has_the_documented_form(muad: Callable[..., Any], run: Path, tiny_data: Path) -> None:
    report = json.loads(muad("evaluate", run, tiny_data, "--json").out)
    assert list(report) == ["protocol", "categories", "mean", "images", "data", "layout", "data_hash", "seen"]
    assert report["protocol"] == "dinomaly"
    assert report["images"] == 18
    assert list(report["categories"]) == ["pill_blister", "printed_board"]
    for figures in (*report["categories"].values(), report["mean"]):
        assert list(figures) == METRICS
        assert all(0 <= value <= 1 for value in figures.values())
    for name in METRICS:
        first, second = (category[name] for category in report["categories"].values())
        assert report["mean"][name] == pytest.approx((first + second) / 2)


def test_every_image_has_its_score_in_a_table_from_which_the_figures_come_out_again(
    muad: Callable[..., Any], run: Path, tiny_data: Path
) -> None:
    report = json.loads(muad("evaluate", run, tiny_data, "--json").out)
    rows = read_scores(run / "evaluation.csv")
    assert len(rows) == report["images"]
    assert all((tiny_data / row.path).is_file() for row in rows)
    for category, figures in report["categories"].items():
        own = [row for row in rows if row.category == category]
        ranked = rank_metrics([row.is_anomalous for row in own], [row.score for row in own])
        assert ranked.auroc == figures["image_auroc"]
        assert {row.defect_type for row in own if not row.is_anomalous} == {None}


def test_a_run_with_a_detector_per_category_has_the_scores_of_all(
    muad: Callable[..., Any], tiny_runs: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run = copytree(tiny_runs, tmp_path / "run")
    assert muad("evaluate", run, tiny_data).code == 0
    assert {row.category for row in read_scores(run / "evaluation.csv")} == {"pill_blister", "printed_board"}


def test_the_table_names_whole_categories_in_a_pipe(muad: Callable[..., Any], run: Path, tiny_data: Path) -> None:
    table = muad("evaluate", run, tiny_data, "--protocol", "exact").out
    assert "18 images, protocol exact" in table
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    figures = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["mean"]
    assert rows["mean"] == [f"{value:.4f}" for value in figures.values()]
    assert len(rows["printed_board"]) == 7


def test_a_category_the_run_has_not_seen_is_said_so(
    muad: Callable[..., Any], run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    copytree(tiny_data / "pill_blister", tmp_path / "data" / "other_pills")
    done = muad("evaluate", run, tmp_path / "data")
    assert done.code == 0
    assert "not trained on other_pills" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--protocol", "mvtec"),
            "protocol must be one of auto, dinomaly, exact, mvtec_loco, mvtec_ad_2, mulsen_ad, got 'mvtec'.",
        ),
        (("--device", "tpu7"), "device must be one of"),
    ],
)
def test_a_wrong_option_is_told(
    arguments: tuple[str, ...], told: str, muad: Callable[..., Any], run: Path, tiny_data: Path
) -> None:
    assert told in muad("evaluate", run, tiny_data, *arguments).error
    assert not (run / "evaluation.json").exists()


def test_a_mask_of_another_size_is_named_and_the_former_figures_stay(
    muad: Callable[..., Any], run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    muad("evaluate", run, tiny_data)
    before = (run / "evaluation.json").read_bytes()
    data = copytree(tiny_data, tmp_path / "data")
    mask = next((data / "pill_blister" / "ground_truth" / "scratch").iterdir())
    Image.new("L", (60, 64)).save(mask)
    fault = muad("evaluate", run, data).error
    assert fault.startswith(f"mask {mask} must have the size of its image, 64x64, got 64x60")
    assert (run / "evaluation.json").read_bytes() == before


def test_a_folder_that_is_no_run_is_told(muad: Callable[..., Any], tiny_data: Path, tmp_path: Path) -> None:
    assert "which has no run.json" in muad("evaluate", tmp_path, tiny_data).error


def test_a_run_of_another_format_version_is_told(muad: Callable[..., Any], run: Path, tiny_data: Path) -> None:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "format_version": 99}), encoding="utf-8")
    assert "must have format version 1 or 2, got 99" in muad("evaluate", run, tiny_data).error


def test_good_photographs_alone_cannot_be_evaluated_on(muad: Callable[..., Any], run: Path, tiny_data: Path) -> None:
    fault = muad("evaluate", run, tiny_data / "pill_blister" / "train" / "good").error
    assert "must hold test images to evaluate on" in fault


def test_images_the_run_was_trained_on_are_left_out_or_refused(
    muad: Callable[..., Any], run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    copytree(tiny_data, data)
    known = next((data / "pill_blister/train/good").iterdir())
    (data / "pill_blister/test/good/once_more.png").write_bytes(known.read_bytes())
    assert "has not seen, got 1 image it was trained on, such as" in muad("evaluate", run, data, "--strict").error
    ran = muad("evaluate", run, data, "--device", "cpu")
    assert ran.code == 0
    assert "1 image it was trained on; " in ran.err


def test_conditions_are_a_table_json_a_page_and_files(muad: Callable[..., Any], run: Path, tiny_data: Path) -> None:
    how = ("--condition", "light=1.2", "--images", 1, "--device", "cpu")
    done = muad("evaluate", run, tiny_data, *how)
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines() if line.strip()]
    assert [row[:2] for row in rows[2:]][-1] == ["light=1.2", "printed_board"]
    assert "4 good and 4 defective" not in done.err
    assert "2 good and 2 defective images of 18 (seed 0)" in done.err
    assert "no limits: run muad calibrate" in done.err
    assert not (run / "evaluation.json").exists()
    told = muad("evaluate", run, tiny_data, *how, "--json")
    assert json.loads(told.out) == json.loads((run / "conditions" / "conditions.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--images", 3), "images must be left out without conditions, got 3. Add --conditions."),
        (("--seed", 0), "seed must be left out without conditions, got 0. Add --conditions."),
        (("--condition", "fog"), "condition must be one of light, temperature"),
    ],
)
def test_options_of_conditions_are_told_where_they_cannot_be(
    arguments: tuple[str, ...], told: str, muad: Callable[..., Any], run: Path, tiny_data: Path
) -> None:
    assert told in muad("evaluate", run, tiny_data, *arguments).error
