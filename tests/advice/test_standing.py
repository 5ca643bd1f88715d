"""Where a run stands: what its files say, and nothing where they are missing."""

import json
import shutil
from pathlib import Path

import pytest

from muad import calibrate, evaluate
from muad.advice.sentences import advise
from muad.advice.standing import run_standing, with_defects
from muad.configuration.run_config import load_config


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_run_that_was_only_trained_has_losses_and_no_rates(run: Path) -> None:
    facts = run_standing(run)
    assert [product.name for product in facts.products] == ["pill_blister", "printed_board"]
    assert (facts.rates, facts.steps, facts.encoder) == (None, 12, "random-custom")
    assert facts.authors_steps == pytest.approx(10_000 / 15)
    (losses,) = facts.losses
    assert len(losses) == 12
    assert facts.seconds_per_step is not None
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 12, "lo')
    assert run_standing(run).losses == facts.losses
    (run / "metrics.jsonl").unlink()
    assert run_standing(run).losses == ((),)
    assert any("No limits for pill_blister, printed_board" in sentence for sentence in advise(facts))


def test_limits_and_scores_are_counted(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    evaluate(run, tiny_data, device="cpu")
    good = tmp_path / "good"
    shutil.copytree(tiny_data / "printed_board" / "test" / "good", good / "printed_board")
    calibrate(run, good, review_rate=0.3, false_alarm_rate=0.25, device="cpu")
    blister, board = run_standing(run).products
    assert (blister.good, blister.bad, blister.has_limits, blister.calibrated) == (3, 6, False, 0)
    assert (board.has_limits, board.calibrated) == (True, 3)
    assert board.auroc is not None


def test_every_detector_of_a_run_of_many_has_a_curve(tiny_runs: Path) -> None:
    facts = run_standing(tiny_runs)
    assert facts.per_product
    assert [len(losses) for losses in facts.losses] == [12, 12]


def test_what_prediction_found_tells_strangers_and_small_places(run: Path) -> None:
    region = {"area_px": 40}
    row = {"category": "printed_board", "verdict": "reject", "height": 640, "width": 640, "error": None}
    rows = [{**row, "regions": [region]} for _ in range(5)]
    rows.append({"category": None, "verdict": "unknown product", "error": None})
    rows.append({"category": None, "verdict": None, "error": "unreadable"})
    facts = run_standing(run, rows=json.loads(json.dumps(rows)))
    assert (facts.predicted, facts.unknown) == (6, 1)
    _, board = facts.products
    assert board.small_patches == pytest.approx(40 * 64 * 64 / 640**2 / 14**2 / 2)
    assert board.photo_px == (640, 640)
    assert run_standing(run, rows=rows[:4]).products[1].small_patches is None


def test_sizes_of_defects_count_by_their_smaller_fifth(run: Path) -> None:
    facts = with_defects(run_standing(run), {"printed_board": [0.5] * 3 + [9.0] * 7}, {"printed_board": (900, 900)})
    assert [product.small_patches for product in facts.products] == [None, 0.5]
    assert facts.products[1].photo_px == (900, 900)


def test_an_older_run_that_does_not_say_how_large_a_patch_is_tells_no_sizes(run: Path) -> None:
    row = {"category": "printed_board", "verdict": "reject", "height": 640, "width": 640, "regions": [{"area_px": 40}]}
    file = run / "run.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    assert facts.pop("patch_px") == 14
    assert run_standing(run, rows=[row] * 5).products[1].small_patches is not None
    file.write_text(json.dumps(facts), encoding="utf-8")
    assert run_standing(run, rows=[row] * 5).products[1].small_patches is None


def test_steps_of_the_authors_are_those_the_whole_recipe_means(run: Path) -> None:
    file = run / "config.toml"
    assert "[detector.encoder]" in file.read_text(encoding="utf-8")
    for name, encoder, shared in (("dinomaly-mvtec", True, 15), ("diffusionad-mvtec", False, 1)):
        if not encoder:
            file.write_text(
                '[detector]\nname = "diffusion_ad"\nresize_px = [64, 64]\n[schedule]\ntotal_steps = 3\n', "utf-8"
            )
        assert run_standing(run).authors_steps == load_config(name).schedule.total_steps / shared
