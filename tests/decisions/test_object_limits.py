"""Limits of parts: what they promise is counted in parts, and a missing view never passes."""

from pathlib import Path

import numpy as np
import pytest

from muad.decisions.calibration_scores import ObjectScored, Scored
from muad.decisions.limit_setting import limits_text, object_limits_in_force, object_results_of
from muad.decisions.limits import Calibration, CategoryLimits, Rates, read_calibration
from muad.decisions.object_limits import ObjectLimits, read_object_limits, read_object_rules
from muad.decisions.object_scores import ObjectRules
from muad.errors import ConfigError

LIMITS = ObjectLimits(
    rules=ObjectRules(grouping="folder"),
    categories={"box": CategoryLimits(review=1.0, reject=2.0)},
    views={"box": ("left", "top")},
    calibration={"box": (0.1, 0.2, 0.3)},
)


def _scored(scores: np.ndarray) -> Scored:
    rising = tuple(np.sort(scores).tolist())
    return Scored(scores=rising, map_peaks=rising, images=len(rising), data_hash="d", source="s", created="now")


def _calibration(mean_top: np.ndarray, largest: np.ndarray | None = None, **rates: float) -> Calibration:
    both = {"mean_top": _scored(mean_top), "max": _scored(mean_top if largest is None else largest)}
    return Calibration(
        muad="0", weights="w", limits_digest="", rates=Rates(**rates), good={},
        objects={"box": ObjectScored(views=("left", "top"), scores=both)}, object_rules=ObjectRules(grouping="folder"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("score", "complete", "verdict"),
    [
        (0.5, True, "pass"), (1.0, True, "pass"), (1.5, True, "review"), (2.5, True, "reject"),
        (0.5, False, "incomplete"), (1.5, False, "incomplete"), (2.5, False, "reject"),
    ],
)  # fmt: skip
def test_a_part_without_a_view_is_rejected_or_incomplete_and_never_passes(
    score: float, complete: bool, verdict: str
) -> None:
    assert LIMITS.verdict("box", score, is_complete=complete) == verdict


def test_of_an_unknown_category_nothing_is_said() -> None:
    assert LIMITS.verdict("cap", 9.0, is_complete=True) is None
    assert LIMITS.verdict(None, 9.0, is_complete=False) is None
    assert LIMITS.p_value("cap", 9.0) is None
    assert LIMITS.p_value("box", 0.25) == 0.5


@pytest.mark.parametrize("score", ["mean_top", "max"])
def test_limits_keep_their_rate_of_good_parts_whatever_the_views_have_in_common(score: str) -> None:
    # Views of one part are alike: with photographs as the unit, five of them would count as five witnesses.
    random, rate, stopped, parts = np.random.default_rng(0), 0.1, [], 29
    for _ in range(300):
        common = random.normal(0, 1, (parts + 60, 1))
        views = common + 0.3 * random.normal(0, 1, (parts + 60, 5))
        scores = views.mean(axis=1) if score == "mean_top" else views.max(axis=1)
        calibration = _calibration(scores[:parts], review_rate=rate, false_alarm_rate=0.05)
        limit = object_results_of(calibration)["box"].review.value
        assert limit is not None
        stopped.append((scores[parts:] > limit).mean())
    assert np.mean(stopped) == pytest.approx(rate, abs=0.012)  # 30 ranks, all as likely: exactly 3 of 30


def test_the_promise_is_worded_in_parts() -> None:
    said = " ".join(object_results_of(_calibration(np.arange(19.0)))["box"].sentences())
    assert "on average over draws of 19 calibration parts, at most 5 % of good parts" in said
    assert "needs 180 more parts" in said
    assert "images" not in said


def test_what_is_written_is_read_again_and_the_score_in_force_chooses_the_limits(tmp_path: Path) -> None:
    import json

    calibration = _calibration(np.arange(19.0), np.arange(19.0) + 100)
    (tmp_path / "limits.toml").write_text(limits_text(calibration, {}), encoding="utf-8")
    (tmp_path / "calibration.json").write_text(json.dumps(calibration.to_json()), encoding="utf-8")
    assert read_calibration(tmp_path) == calibration
    limits = read_object_limits(tmp_path, ("box",))
    assert limits is not None
    assert limits.views == {"box": ("left", "top")}
    assert limits.rules == ObjectRules(grouping="folder") == read_object_rules(tmp_path)
    assert limits.categories["box"] == CategoryLimits(review=18.0, reject=18.0, review_rate=0.05, reject_rate=0.05)
    assert limits.calibration["box"][-1] == 18.0
    text = (tmp_path / "limits.toml").read_text(encoding="utf-8").replace('score = "mean_top"', 'score = "max"')
    (tmp_path / "limits.toml").write_text(text, encoding="utf-8")
    by_hand = object_limits_in_force(tmp_path)["box"].review
    assert by_hand.by_hand  # limits of the other score are not those that calibration gives for this one
    assert read_object_limits(tmp_path, ()).calibration["box"][-1] == 118.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects = 3", "objects must be a table"),
        ("[objects]\nscores = 1", "must hold grouping, score and categories, got 'scores'"),
        ("[objects]\nscore = 'mean'", "objects.score must be one of mean_top, max, got 'mean'"),
        ("[objects]\ngrouping = 3", "objects.grouping must be text, got 3"),
        ("[objects.categories.cap]\nviews = ['a']", "must name categories of the run, box, got cap"),
        ("[objects.categories.box]\nreview = 1", "box.views must be a list of at least one name, got None"),
        ("[objects.categories.box]\nviews = ['a', 'a']", "box.views must name each view once"),
        ("[objects.categories.box]\nviews = ['a']\nmap = 1", "must hold only views, review"),
        ("[objects.categories.box]\nviews = ['a']\nreview = 'x'", "box.review must be a number, got 'x'"),
        ("[objects.categories.box]\nviews = ['a']\nreview = 2\nreject = 1", "review must be at most reject 1.0"),
        ("[objects.categories.box]\nviews = ['a']\nreview_rate = 2", "review_rate must be above 0 and below 1, got 2"),
    ],
)
def test_a_wrong_table_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_object_limits(tmp_path, ("box",))
