"""Limits from the audit sample: only from it, only when somebody sets them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from muad.bundles.bundle import read_manifest_of
from muad.bundles.editing import run_folder
from muad.decisions.limit_setting import limits_in_force
from muad.decisions.limits import read_calibration
from muad.errors import ConfigError, DataError
from muad.service.followup.observing import note_share, observed_rates
from muad.service.followup.recalibration import audited_scores, recalibrate
from muad.service.history import History

from .conftest import MONDAY

TUESDAY = MONDAY + timedelta(days=1)


def audit(count: int, *, highest: float = 0.4) -> list[dict[str, Any]]:
    """Good parts of the audit sample with rising scores, the last two of which are stopped by their score."""
    parts = [{"score": highest * (place + 1) / count, "in_audit": True, "word": "good"} for place in range(count)]
    parts[-2]["verdict"], parts[-1]["verdict"] = "review", "reject"
    return parts


def test_good_parts_of_the_audit_sample_count_whatever_their_verdict(history: History, recorder: Callable[..., Any]):
    others = [{"score": 9.0, "verdict": "reject", "word": "good"}, {"score": 0.3, "word": "good"}]
    recorder([*audit(40), *others, {"score": 2.0, "in_audit": True, "word": "bad"}])
    found = audited_scores(history, "m", "bolt")
    assert found.scored is not None
    assert (found.scored.count, found.scored.scores[-1], found.bad) == (40, 0.4, 1)
    assert found.scored.map_peaks[-1] == 0.8
    assert found.refusal == ""


def test_a_serial_number_counts_once_with_its_largest_score(history: History, recorder: Callable[..., Any]):
    recorder([{**part, "serial": f"s{place // 2}"} for place, part in enumerate(audit(40))])
    found = audited_scores(history, "m", "bolt")
    assert found.scored is not None
    assert (found.good, found.scored.images, found.scored.count) == (40, 40, 20)
    assert found.scored.scores[0] == 0.02


def test_scores_of_another_model_say_nothing(history: History, recorder: Callable[..., Any]):
    recorder(audit(40))
    assert audited_scores(history, "other", "bolt").scored is None


def test_limits_are_shown_and_nothing_is_changed(
    history: History, recorder: Callable[..., Any], calibrated_bundle: Path
):
    recorder(audit(40))
    before = calibrated_bundle.read_bytes()
    found = recalibrate(history, calibrated_bundle, "m", products=["bolt"])["bolt"]
    assert found.before is not None
    assert (found.before.review.value, found.after.review.value) == (0.48, 0.39)
    assert found.observed == (0, 0, 40)
    assert "0 of 40 good parts of the audit sample are above review" in " ".join(found.sentences())
    assert calibrated_bundle.read_bytes() == before
    assert history.changes() == []


def test_whoever_sets_them_says_why_and_is_written_down(
    history: History, recorder: Callable[..., Any], calibrated_bundle: Path
):
    recorder(audit(40))
    with pytest.raises(ConfigError, match="reason must be given"):
        recalibrate(history, calibrated_bundle, "m", set_by="ann", reason=" ")
    recalibrate(history, calibrated_bundle, "m", products=["bolt"], set_by="ann", reason="new lamp")
    with run_folder(calibrated_bundle) as folder:
        in_force, stored = limits_in_force(folder)["bolt"], read_calibration(folder)
    assert (in_force.review.value, in_force.reject.value, in_force.review.by_hand) == (0.39, 0.4, False)
    assert stored is not None
    assert "audit sample of the station" in stored.good["bolt"].source
    changes = {change.subject: change for change in history.changes()}
    assert (changes["bolt.review"].old, changes["bolt.review"].new) == ("0.48", "0.39")
    assert (changes["bolt"].kind, changes["bolt"].who, changes["bolt"].reason) == ("recalibration", "ann", "new lamp")
    assert [change.by for change in read_manifest_of(calibrated_bundle).history] == ["recalibrate"] * 3


@pytest.mark.parametrize(
    ("open_ones", "count", "said"),
    [(range(6), 40, "32 of 38 passed parts"), ((39,), 40, "1 of 2 stopped parts"), ((), 9, "9 good parts")],
)
def test_a_sample_that_is_not_answered_or_small_carries_no_limits(
    history: History, recorder: Callable[..., Any], calibrated_bundle: Path, open_ones: Any, count: int, said: str
):
    parts = audit(count)
    for place in open_ones:
        parts[place]["word"] = None
    recorder(parts)
    with pytest.raises(DataError, match=said):
        recalibrate(history, calibrated_bundle, "m", products=["bolt"], set_by="ann", reason="why not")
    assert history.changes() == []


def test_a_product_that_nobody_knows_is_refused(history: History, calibrated_bundle: Path):
    with pytest.raises(ConfigError, match="product must be one of bolt, cloth, got 'nut'"):
        recalibrate(history, calibrated_bundle, "m", products=["nut"])


def test_rates_are_counted_from_the_history(history: History, recorder: Callable[..., Any]):
    """Half the passed parts are drawn, and the share changes in between."""
    note_share(history, 0.5)
    note_share(history, 0.5)
    assert len(history.changes()) == 1
    passed = [{"in_audit": place % 2 == 0, "word": "good" if place % 2 == 0 else None} for place in range(40)]
    passed[2]["word"], passed[3]["word"] = "bad", "bad"
    stopped = [{"verdict": "review", "word": "good"}, {"verdict": "reject", "word": "bad"}, {"verdict": "error"}]
    recorder([*passed, *stopped, {"judged_as": "cloth"}])
    seen = observed_rates(history, "bolt", MONDAY, TUESDAY)
    assert (seen.passed[0].total, seen.passed[0].asked, seen.passed[0].bad, seen.passed[0].known_bad) == (40, 20, 1, 1)
    assert (seen.review.good, seen.reject.bad, seen.left_out) == (1, 1, 1)
    assert seen.rate("misses").value == pytest.approx(2 / 3)
    assert observed_rates(history, "bolt", TUESDAY, TUESDAY).rate("misses").reason == "no part was judged"
