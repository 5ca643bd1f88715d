"""A run that takes in products: what it is afterwards, what it was, and what is left where it is cut short."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.decisions.limits import read_calibration, read_limits
from muad.errors import CheckpointError, ConfigError, DataError
from muad.runs.folder import checkpoints, read_run
from muad.runs.history import read_history
from muad.runs.images import read_run_images

from .conftest import Extended, digests, draw


def memory(run: Path) -> np.ndarray:
    return load_detector(run).trainable_state()["memory"].numpy()


def test_old_products_are_remembered_bit_for_bit_and_new_ones_as_a_training_would(
    old_run: Path, new_data: Path, memory_recipe: Path, extended: Extended, tmp_path: Path
) -> None:
    before, after = memory(old_run), memory(extended.run)
    assert np.array_equal(after[: len(before)], before)
    muad.train(new_data, tmp_path / "alone", recipe=memory_recipe, device="cpu")
    assert np.array_equal(after[len(before) :], memory(tmp_path / "alone"))
    assert [one.step for one in checkpoints(extended.run)] == [checkpoints(old_run)[-1].step + 16]


def test_the_run_before_is_only_read_and_a_call_that_was_cut_short_goes_on(extended: Extended) -> None:
    assert extended.before == extended.cut == extended.after
    assert any("going on where" in note for note in extended.notes)
    assert extended.looks == 2  # at the second product only
    assert not extended.run.with_name("run.partial").exists()


def test_scores_of_old_products_only_fall_and_the_history_says_by_how_much(old_run: Path, extended: Extended) -> None:
    (entry,) = read_history(extended.run)
    images = read_run_images(old_run)
    assert images is not None
    old, new = (muad.Predictor(run, device="cpu") for run in (old_run, extended.run))
    for name in ("bolt", "nut"):
        paths = [images.base / one for one in images.calibration[name]]
        scores = [[one.score or 0.0 for one in each.predict(paths, category=name)] for each in (old, new)]
        differences = np.subtract(scores[1], scores[0])
        assert entry.products[name].images == len(paths) == 4
        assert differences.max() <= 1e-6
        assert entry.products[name].largest == pytest.approx(np.abs(differences).max(), abs=1e-6)
    assert (entry.kind, entry.way) == ("extend", "insertion")
    assert (entry.added, entry.kept) == ({"cap": 8, "washer": 8}, {"cap": 4, "washer": 4})
    assert entry.memory == {"bolt": (12, 12), "cap": (0, 12), "nut": (12, 12), "washer": (0, 12)}


def test_limits_stay_where_scores_did_and_new_products_have_their_own(old_run: Path, extended: Extended) -> None:
    before, after, (entry,) = read_limits(old_run, ()), read_limits(extended.run, ()), read_history(extended.run)
    assert before is not None
    assert after is not None
    for name in ("bolt", "nut"):
        assert entry.products[name].limits == "kept"
        assert after.categories[name] == before.categories[name]
    assert after.categories["cap"].review is not None
    stored = read_calibration(extended.run)
    assert stored is not None
    assert stored.weights == entry.weights_after
    assert stored.good["cap"].count == 4


def test_an_extended_run_says_what_it_was_trained_on_and_works_wherever_it_lies(
    extended: Extended, new_data: Path, copied: Callable[[Path], Path]
) -> None:
    moved = copied(extended.run)
    facts, images = read_run(moved), read_run_images(moved)
    assert facts["categories"] == {"bolt": 8, "cap": 8, "nut": 8, "washer": 8}
    assert facts["calibration"] == {"bolt": 4, "cap": 4, "nut": 4, "washer": 4}
    assert images is not None
    assert images.data == moved / "data.jsonl"
    assert len(images.names) == 48
    assert all((images.base / name).is_file() for name in images.names)
    limits = read_limits(moved, ())
    muad.calibrate(moved, device="cpu")  # nothing is scored again, so nothing changes
    assert read_limits(moved, ()) == limits
    found = muad.Predictor(moved, device="cpu").predict(sorted((new_data / "cap").rglob("*.png"))[:3])
    assert [one.category for one in found] == ["cap"] * 3
    capture = (moved / "capture.toml").read_text(encoding="utf-8")
    assert [f"[categories.{name}]" in capture for name in facts["categories"]] == [True] * 4
    with pytest.raises(DataError, match=r"got 24 good ones and none of them: 24 known to the run"):
        muad.extend(moved, new_data, moved.parent / "again", device="cpu")


def test_new_parts_of_a_known_product_follow_and_the_history_holds_both(extended: Extended, tmp_path: Path) -> None:
    draw(tmp_path / "data" / "bolt" / "good", "bolt", range(50, 54))
    every = muad.ExtensionSettings(take_suspicious=True)
    found = muad.extend(extended.run, tmp_path / "data", tmp_path / "out", settings=every, device="cpu")
    first, second = read_history(tmp_path / "out")
    assert (sorted(first.added), second.added, found.intake.new) == (["cap", "washer"], {"bolt": 4}, ())
    assert second.weights_before == first.weights_after
    assert second.memory["bolt"] == (12, 12 + 6)
    assert second.memory["cap"] == (12, 12)
    images = read_run_images(tmp_path / "out")
    assert images is not None
    assert (len(images.training["bolt"]), len(images.calibration["bolt"])) == (12, 4)
    page = muad.report(tmp_path / "out", device="cpu").read_text(encoding="utf-8")
    assert "How it went on learning" in page
    assert page.index("cap: learned from 8 new images") < page.index("bolt: learned from 4 new images")


def test_a_dry_run_writes_nothing_and_says_cost_and_risk(old_run: Path, new_data: Path, tmp_path: Path) -> None:
    before = digests(old_run.parent)
    every = muad.ExtensionSettings(take_suspicious=True)
    found = muad.extend(old_run, new_data, tmp_path / "out", settings=every, device="cpu", dry_run=True)
    assert digests(old_run.parent) == before
    assert list(tmp_path.iterdir()) == []
    assert (found.out, found.entry) == (None, None)
    cost = found.cost
    assert cost is not None
    assert (cost.learned, cost.scored, cost.rehearsed, cost.patches) == (16, 2 * 8 + 8, 0, (24, 48))
    assert cost.seconds > 0
    assert any("a defect that looks like a good cap or washer may be missed" in risk for risk in cost.risks)
    json.dumps(found.to_json())


def test_what_cannot_be_extended_says_why(old_run: Path, new_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"out must be a new or empty folder"):
        muad.extend(old_run, new_data, old_run, device="cpu")
    with pytest.raises(ConfigError, match=r"rehearsal must be above 0 and below 1, got 1"):
        muad.ExtensionSettings(rehearsal=1)
    draw(tmp_path / "one" / "cap" / "good", "cap", [1])
    with pytest.raises(DataError, match=r"a new product must have at least 2 images, got cap 1"):
        muad.extend(old_run, tmp_path / "one", tmp_path / "out", device="cpu")


def test_a_bundle_of_an_extended_run_agrees_with_it(extended: Extended, new_data: Path, tmp_path: Path) -> None:
    muad.export(extended.run, tmp_path / "more.muad")
    bundle, run = (muad.Predictor(one, device="cpu") for one in (tmp_path / "more.muad", extended.run))
    assert sorted(bundle.categories) == ["bolt", "cap", "nut", "washer"]
    photographs = [*sorted((new_data / "washer").rglob("*.png"))[:2], *sorted((new_data / "cap").rglob("*.png"))[:1]]
    for one, other in zip(bundle.predict(photographs), run.predict(photographs), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3)
        assert (one.category, one.verdict) == (other.category, other.verdict)
