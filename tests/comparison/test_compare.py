"""A comparison from photographs to page: resumed, extended, told what failed."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muad.comparison import Comparison
from muad.comparison.table import COLUMNS
from muad.errors import ConfigError, DataError
from muad.metrics.report import METRIC_NAMES

CompareTiny = Callable[..., tuple[Comparison, Any]]


def test_an_interrupted_comparison_repeats_nothing_that_was_finished(finished: tuple[Comparison, Any]) -> None:
    found, told = finished
    assert {key: len(trials) for key, trials in found.trials.items()} == {
        "patchcore-random-vit-tiny": 1,
        "dinomaly-random-vit-tiny": 1,
    }
    assert not told.works("look (patchcore")
    assert [done for _, done, _ in told.works("train (dinomaly")] == [3, 4], "step 2 was finished and saved"


def test_rows_hold_figures_costs_and_what_was_published(finished: tuple[Comparison, Any]) -> None:
    found, _ = finished
    assert [row["category"] for row in found.rows] == 2 * ["pill_blister", "printed_board", "mean"]
    for row in found.means:
        assert set(row) == set(COLUMNS)
        assert all(0 <= row[name] <= 1 for name in METRIC_NAMES)
        assert all(row[name] > 0 for name in ("training_s", "image_s"))
        assert row["disk_bytes"] > 10e6
    dinomaly, patchcore = sorted(found.means, key=lambda row: row["detector"])
    assert (dinomaly["steps"], dinomaly["published_steps"], patchcore["steps"]) == (4, 10_000, None)
    assert dinomaly["far_below_published"] is True
    assert dinomaly["share_of_published"] == pytest.approx(4 * 4 / (10_000 * 16))
    assert {row.data for row in found.published_of("dinomaly")} == {"MVTec AD", "VisA", "Real-IAD"}
    assert next(row for row in found.published_of("dinomaly") if row.data == "VisA").figures["image_auroc"] == 0.987


def test_page_table_and_json_say_the_same_and_load_nothing(finished: tuple[Comparison, Any]) -> None:
    found, _ = finished
    written = json.loads((found.out / "compare.json").read_text(encoding="utf-8"))
    assert written["rows"] == json.loads(json.dumps(found.rows))
    table = list(csv.DictReader(io.StringIO((found.out / "compare.csv").read_text(encoding="utf-8"))))
    assert [row["image_auroc"] for row in table] == [str(row["image_auroc"]) for row in found.rows]
    page = found.page.read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("data:image/jpeg") > 3 * 6
    assert "read from the very images reported here" in " ".join(found.recommendation)
    assert all(f"{row['image_auroc']:.3f}" in page for row in found.rows)


def test_rows_are_a_data_frame_where_pandas_is_installed(finished: tuple[Comparison, Any]) -> None:
    pytest.importorskip("pandas")
    found, _ = finished
    frame = found.to_pandas()
    assert frame[frame.category == "mean"].image_auroc.tolist() == [row["image_auroc"] for row in found.means]


def test_more_seeds_go_on_and_other_data_are_refused(
    finished: tuple[Comparison, Any], compare_tiny: CompareTiny, photos: Path, tmp_path: Path
) -> None:
    found, _ = finished
    out = tmp_path / "copy"
    shutil.copytree(found.out, out)
    again, told = compare_tiny(out, detectors="patchcore", seeds=2)
    assert [what for what, *_ in told.works("look (")][-1].startswith("look (patchcore-random-vit-tiny, seed 2 of 2")
    assert not told.works("train")
    (row,) = again.means
    assert row["seeds"] == 2
    assert row["image_auroc_sd"] is not None
    with pytest.raises(ConfigError, match=r"out must be new or hold the same comparison, .* whose data_hash is"):
        compare_tiny(out, data=photos)
    with pytest.raises(ConfigError, match=r"whose image_px is 56, not 112. Name another folder"):
        compare_tiny(out, image_px=112)


def test_a_failing_detector_is_told_and_the_others_go_on(compare_tiny: CompareTiny, tmp_path: Path) -> None:
    found, told = compare_tiny(tmp_path / "out", "patchcore:training.ema_decay=0.5", budget="10m")
    assert found.failures == {
        "patchcore-random-vit-tiny": "training.ema_decay must be 0 for patchcore, which takes no steps, got 0.5."
    }
    assert list(found.trials) == ["dinomaly-random-vit-tiny"]
    assert "patchcore-random-vit-tiny failed: training.ema_decay must be 0" in " ".join(told.notes)
    assert [row["error"] is None for row in found.means] == [True, False]
    assert "has no figures: training.ema_decay must be 0" in found.page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"whose budget_s is 600.0, not 1200.0"):
        compare_tiny(tmp_path / "out", "patchcore:training.ema_decay=0.5", budget="20m")


def test_what_cannot_be_compared_is_said_before_anything_is_trained(
    compare_tiny: CompareTiny, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"detector.name must be one of .*Did you mean 'patchcore'"):
        compare_tiny(tmp_path, detectors="patchcor")
    with pytest.raises(ConfigError, match=r"detectors must name at least one of dinomaly"):
        compare_tiny(tmp_path, detectors=" , ")
    with pytest.raises(ConfigError, match=r"seeds must be from 1 to 1000, got 0"):
        compare_tiny(tmp_path, seeds=0)
    with pytest.raises(ConfigError, match=r"budget must be at least \d+s for one seed of .*, got 1\.0 s"):
        compare_tiny(tmp_path / "short", detectors="patchcore", budget="1s")
    with pytest.raises(DataError, match=r"at least 3 good and 3 defective test images of one kind"):
        compare_tiny(tmp_path, choose=True)
    with pytest.raises(DataError, match=r"data must hold test images to compare detectors on, got none"):
        compare_tiny(tmp_path, data=tiny_data / "pill_blister" / "train")
    (tmp_path / "something.txt").write_text("else")
    with pytest.raises(ConfigError, match=r"out must be an empty folder or hold this comparison"):
        compare_tiny(tmp_path)


def test_every_seed_draws_its_own_few_photographs_and_the_spread_is_over_draws(
    compare_tiny: CompareTiny, tmp_path: Path
) -> None:
    found, _ = compare_tiny(tmp_path / "few", detectors="patchcore", seeds=2, shots=2)
    (row,) = found.means
    assert row["seeds"] == 2
    assert row["image_auroc_sd"] is not None
    drawn = []
    for trial in next(iter(found.trials.values())):
        images = json.loads((trial.run / "images.json").read_text(encoding="utf-8"))
        assert json.loads((trial.run / "run.json").read_text(encoding="utf-8"))["shots_seed"] == trial.seed
        drawn.append({name for own in images["training"].values() for name in own})
    assert [len(names) for names in drawn] == [4, 4]
    assert drawn[0] != drawn[1]
    assert (found.facts["shots"], found.facts["trained_on"]) == (2, 4)
    page = found.page.read_text(encoding="utf-8")
    assert (
        "Every detector was trained on 2 good photographs of each product, 4 in all, drawn anew by every seed" in page
    )
    with pytest.raises(
        DataError, match=r"training\.shots = 9 good training images of every product, got pill_blister 5"
    ):
        compare_tiny(tmp_path / "many", detectors="patchcore", shots=9)
