"""Verdicts: what is above a limit, and limits.toml as people edit it."""

import math
from pathlib import Path

import pytest

from muad.decisions.limits import CategoryLimits, Limits, Rates, read_calibration, read_limits, read_rates
from muad.errors import CheckpointError, ConfigError

LIMITS = Limits(
    categories={
        "bolt": CategoryLimits(review=1.0, reject=2.0, map=3.0),
        "cloth": CategoryLimits(review=0.5),
        "nut": CategoryLimits(reject=4.0, map=5.0),
        "pin": CategoryLimits(),
    },
    calibration={"bolt": (0.5, 1.0, 2.0)},
)
CATEGORIES = ("bolt", "cloth", "nut", "pin", "screw")


@pytest.mark.parametrize(
    ("category", "score", "verdict"),
    [
        ("bolt", 1.0, "pass"),
        ("bolt", math.nextafter(1.0, 2), "pass"),  # as another batch or runtime rounds it
        ("bolt", 1.00002, "review"),
        ("bolt", 2.0, "review"),
        ("bolt", 2.00001, "review"),
        ("bolt", 2.00004, "reject"),
        ("cloth", 99.0, "review"),
        ("nut", 3.9, "pass"),
        ("nut", 4.1, "reject"),
        ("pin", 1.0, None),
        ("screw", 1.0, None),
        (None, 1.0, None),
    ],
)
def test_a_score_above_a_limit_is_reviewed_or_rejected(category: str, score: float, verdict: str) -> None:
    assert LIMITS.verdict(category, score) == verdict


def test_a_p_value_is_given_where_scores_are_known() -> None:
    assert LIMITS.p_value("bolt", 1.5) == 0.5
    assert LIMITS.p_value("cloth", 1.5) is None
    assert LIMITS.p_value(None, 1.5) is None


def test_the_map_limit_is_the_middle_of_the_colours() -> None:
    low, high = LIMITS.colour_scale("bolt", 1.0) or (0, 0)
    assert (low + high) / 2 == 3.0
    assert low == 2.0
    assert LIMITS.colour_scale(None, 1.0) == LIMITS.colour_scale("unknown product", 1.0) == (3.0, 7.0)
    assert LIMITS.map_limit("bolt") == 3.0
    assert LIMITS.map_limit("pin") is None
    assert LIMITS.colour_scale("cloth", 1.0) is None
    assert LIMITS.colour_scale("bolt", 3.5) is None


def _write(run: Path, text: str) -> Path:
    (run / "limits.toml").write_text(text, encoding="utf-8")
    return run


def test_limits_are_read_as_they_are_edited(tmp_path: Path) -> None:
    assert read_limits(tmp_path, CATEGORIES) is None
    run = _write(tmp_path, "[categories.bolt]\nreview = 1\nreject = 2.5\n[categories.nut]\n")
    found = read_limits(run, CATEGORIES)
    assert found is not None
    assert found.categories == {"bolt": CategoryLimits(review=1.0, reject=2.5), "nut": CategoryLimits()}
    assert found.calibration == {}
    found = read_limits(_write(tmp_path, "[categories.bolt]\nreject = 3\n"), CATEGORIES)
    assert found is not None
    assert found.verdict("bolt", 2.9) == "pass"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[categories.wood]\nreview = 1", "must name categories of the run, bolt, cloth, nut, pin, screw, got wood"),
        ("[categories.bolt]\nreview = 2\nreject = 1", r"categories.bolt.review must be at most reject 1.0, got 2.0"),
        ("[categories.bolt]\nreview = true", "categories.bolt.review must be a number, got True"),
        ("[categories.bolt]\nreject = 'high'", "categories.bolt.reject must be a number, got 'high'"),
        ("[categories.bolt]\nreject = nan", "categories.bolt.reject must be a number, got nan"),
        ("[categories.bolt]\nalarm = 1", "must hold only review, reject, map, review_rate, reject_rate, got 'alarm'"),
        ("[categories.bolt]\nreject_rate = 5", "categories.bolt.reject_rate must be above 0 and below 1, got 5"),
        ("[categories]\nbolt = 1", "categories.bolt must be a table of review, reject, map, got 1"),
        ("categories = 1", "categories must be tables"),
        ("[categories.bolt\n", "must be valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_limits(_write(tmp_path, text), CATEGORIES)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 7}'])
def test_stored_scores_that_cannot_be_read_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="Delete it and calibrate again"):
        read_calibration(tmp_path)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ((0.05, 0.005, 0.95), "review_rate must be at least the false_alarm_rate 0.05, got 0.005"),
        ((0.0, 0.005, 0.95), "false_alarm_rate must be above 0 and below 1, got 0.0"),
        ((0.005, 0.05, 95.0), "confidence must be above 0 and below 1, got 95.0"),
    ],
)
def test_rates_out_of_range_are_told(rates: tuple[float, float, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Rates(false_alarm_rate=rates[0], review_rate=rates[1], confidence=rates[2], sure=False)


def test_rates_are_those_of_the_file_else_the_usual_ones(tmp_path: Path) -> None:
    assert read_rates(tmp_path) == Rates(false_alarm_rate=0.005, review_rate=0.05, confidence=0.95, sure=False)
    _write(tmp_path, "review_rate = 0.2\nsure = true\n")
    assert read_rates(tmp_path) == Rates(false_alarm_rate=0.005, review_rate=0.2, confidence=0.95, sure=True)
    for text, told in (("sure = 1", "sure must be true or false"), ("review_rate = 'few'", "must be a number")):
        with pytest.raises(ConfigError, match=told):
            read_rates(_write(tmp_path, text))
