"""Which limits an extension touches: those of products whose scores moved, unless a person set them."""

import re
from pathlib import Path

import pytest

from muad.decisions.calibration_scores import Scored
from muad.decisions.limit_history import is_edited, write_limits
from muad.decisions.limit_setting import limits_text, results_of
from muad.decisions.limits import Calibration, Rates, read_calibration, read_limits
from muad.extension.limits import drop_limits, settle_limits
from muad.extension.proof import is_moved, movements
from muad.runs.category_tables import with_table, without_category
from muad.runs.history import Movement


def scored(*scores: float) -> Scored:
    return Scored(scores=scores, map_peaks=scores, images=len(scores), data_hash="", source="here", created="now")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Limits of three products; nothing else is needed to settle them."""
    good = {name: scored(*(0.1 + 0.01 * rank + place for rank in range(20)))
            for place, name in enumerate(("bolt", "cap", "nut"))}  # fmt: skip
    stored = Calibration(muad="", weights="old", limits_digest="", rates=Rates(), good=good, cross_fit=good)
    write_limits(tmp_path, stored, limits_text(stored, results_of(stored, list(good))), lambda _: None)
    return tmp_path


ANEW = {
    "nut": scored(*(5 + 0.01 * rank for rank in range(20))),
    "new": scored(*(7 + 0.01 * rank for rank in range(20))),
}
MOVED = {"bolt": False, "cap": False, "nut": True}
STOOD = {name: Movement(images=20) for name in MOVED}


def test_limits_are_set_anew_where_scores_moved_and_only_there(run: Path) -> None:
    before = read_limits(run, ())
    settled = settle_limits(run, ("bolt", "cap", "new", "nut"), "new", MOVED, ANEW, STOOD, lambda _: None)
    after, stored = read_limits(run, ()), read_calibration(run)
    assert before is not None
    assert after is not None
    assert stored is not None
    assert [after.categories[name] for name in ("bolt", "cap")] == [before.categories[name] for name in ("bolt", "cap")]
    assert (after.categories["nut"].review, after.categories["new"].review) == (5.19, 7.19)
    assert {name: one.limits for name, one in settled.movements.items()} == {
        "bolt": "kept", "cap": "kept", "nut": "set anew",
    }  # fmt: skip
    assert settled.movements["nut"].review == (before.categories["nut"].review, 5.19)
    assert (stored.weights, stored.good["cap"].scores[0], stored.good["nut"].scores[0]) == ("new", 1.1, 5)
    assert sorted(stored.cross_fit) == ["bolt", "cap"]  # of nut they were of the detector before
    assert not is_edited(run, stored)


def test_a_limit_that_a_person_set_stays_and_so_does_the_rest_of_the_file(run: Path) -> None:
    text = (run / "limits.toml").read_text(encoding="utf-8")
    edited = re.sub(r"(\[categories.nut\][^\[]*?\nreject = )[^\n]*", r"\g<1>9.5  # agreed with quality", text)
    (run / "limits.toml").write_text(edited.replace("# Edit them freely", "# Ask Ada first"), encoding="utf-8")
    settled = settle_limits(run, ("bolt", "cap", "new", "nut"), "new", MOVED, ANEW, STOOD, lambda _: None)
    after, text = read_limits(run, ()), (run / "limits.toml").read_text(encoding="utf-8")
    assert after is not None
    assert (after.categories["nut"].reject, after.categories["new"].review) == (9.5, 7.19)
    assert settled.movements["nut"].limits == "kept, set by hand"
    assert "reject = 9.5  # agreed with quality" in text
    assert "# Ask Ada first" in text
    assert is_edited(run, read_calibration(run))  # so that calibrating again asks before it replaces the file


def test_forgotten_limits_leave_those_of_others_and_what_people_wrote(run: Path) -> None:
    text = (run / "limits.toml").read_text(encoding="utf-8").replace("# Edit them freely", "# Ask Ada first")
    (run / "limits.toml").write_text(text, encoding="utf-8")
    drop_limits(run, "cap")
    limits, stored = read_limits(run, ()), read_calibration(run)
    assert limits is not None
    assert stored is not None
    assert (sorted(limits.categories), sorted(stored.good), sorted(stored.cross_fit)) == (["bolt", "nut"],) * 3
    assert "# Ask Ada first" in (run / "limits.toml").read_text(encoding="utf-8")
    assert is_edited(run, stored)


def test_movement_is_told_as_a_part_of_the_way_to_the_limit(run: Path) -> None:
    limits = read_limits(run, ())
    paths = [Path(f"{number}.png") for number in range(20)]
    before = {"bolt": {path: (0.1 + 0.01 * rank, 0.0) for rank, path in enumerate(paths)}}
    after = {"bolt": {path: (score - 0.002 * (path != paths[0]), 0.0) for path, (score, _) in before["bolt"].items()}}
    (found,) = movements(before, after, {"bolt": 2}, limits).values()
    assert (found.images, found.missing, found.lower, found.higher) == (20, 2, 19, 0)
    assert found.part == pytest.approx(0.002 / (0.29 - 0.195))
    assert found.changes == ()
    assert not is_moved(found, 0.03)
    assert is_moved(found, 0.02)
    assert (
        "of 20 calibration images 19 score lower and 0 higher, by at most 0.002, 2.1 % of the way" in found.sentence()
    )
    up = {"bolt": {path: (score + 0.05, 0.0) for path, (score, _) in before["bolt"].items()}}
    (risen,) = movements(before, up, {}, limits).values()
    assert {(one.before, one.after) for one in risen.changes} == {("pass", "reject")}
    assert not is_moved(Movement(images=3, largest=0.0), 0.03)


def test_a_table_is_taken_out_of_a_text_however_it_is_written() -> None:
    plain = "# mine\nrate = 1\n\n[categories.bolt]\nreview = 1\n# said\n\n[categories.nut]\nreview = 2\n"
    assert without_category(plain, "bolt") == "# mine\nrate = 1\n\n[categories.nut]\nreview = 2\n"
    assert without_category(plain, "cap") == plain
    assert without_category("categories = {bolt = {review = 1}, nut = {review = 2}}\n", "bolt") == (
        "[categories.nut]\nreview = 2\n"
    )
    assert with_table(without_category(plain, "nut"), "[categories.cap]\nreview = 3").endswith(
        "# said\n\n[categories.cap]\nreview = 3\n"
    )
