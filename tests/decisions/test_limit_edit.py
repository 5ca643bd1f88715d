"""A limit changed by a command leaves everything else in the file as it was."""

from __future__ import annotations

import tomllib

import pytest

from muad.decisions.limit_edit import LimitSetting, changed_text, parse_setting
from muad.errors import ConfigError

_FORMER = """\
# Limits of this run.

false_alarm_rate = 0.005  # part of good parts

[categories.bolt]
# 19 good images
review = 0.5
review_rate = 0.05
# review above 0.5: on average 5 % of good parts
reject = 0.9
# reject above 0.9: on average 0.5 % of good parts
map = 0.8

[categories."two words"]
review = 0.1
"""
_WHEN = "2026-01-31T12:00:00+00:00"


def test_only_the_limit_and_what_was_said_of_it_change() -> None:
    text = changed_text(_FORMER, [LimitSetting(category="bolt", name="review", value=0.6)], _WHEN)
    values = tomllib.loads(text)
    assert values["categories"]["bolt"] == {"review": 0.6, "reject": 0.9, "map": 0.8}
    assert values["categories"]["two words"] == {"review": 0.1}
    assert "# reject above 0.9" in text
    assert "# review above 0.5" not in text
    assert text.startswith("# Limits of this run.\n\nfalse_alarm_rate = 0.005  # part of good parts\n")
    assert "set by hand 2026-01-31" in text
    again = changed_text(text, [LimitSetting(category="bolt", name="review", value=0.7)], _WHEN)
    assert again.count("set by hand") == 1


def test_a_limit_can_be_taken_away_and_a_category_be_added() -> None:
    text = changed_text(
        _FORMER,
        [
            LimitSetting(category="two words", name="review", value=None),
            LimitSetting(category="cloth", name="reject", value=1e-3),
        ],
        _WHEN,
    )
    tables = tomllib.loads(text)["categories"]
    assert tables["two words"] == {}
    assert tables["cloth"] == {"reject": 0.001}
    assert tomllib.loads(changed_text("", [LimitSetting(category="a", name="map", value=1.0)], _WHEN)) == {
        "categories": {"a": {"map": 1.0}}
    }


def test_a_file_in_another_manner_keeps_its_values() -> None:
    former = "sure = true\ncategories = {bolt = {review = 0.5}, cloth = {review = 0.4}}\n"
    text = changed_text(former, [LimitSetting(category="bolt", name="review", value=0.6)], _WHEN)
    assert tomllib.loads(text) == {"sure": True, "categories": {"bolt": {"review": 0.6}, "cloth": {"review": 0.4}}}


def test_what_is_asked_for_is_read_from_the_end() -> None:
    assert parse_setting("a.b.reject=0.35") == LimitSetting(category="a.b", name="reject", value=0.35)
    assert parse_setting("a=b.map = none") == LimitSetting(category="a=b", name="map", value=None)
    for wrong in ("reject=1", "bolt.limit=1", "bolt.reject", "bolt.reject=high", "bolt.reject=nan", ""):
        with pytest.raises(ConfigError, match="must be"):
            parse_setting(wrong)


def test_a_limit_of_parts_is_changed_and_nothing_else() -> None:
    text = (
        "[categories.box]\nreview = 1.0\n\n[objects]\ngrouping = 'folder'\n\n[objects.categories.box]\n"
        "views = ['left', 'top']\nreview = 1.0\nreview_rate = 0.05\nreject = 2.0\n"
    )
    after = changed_text(text, [parse_setting("objects.box.review=1.5")], "now")
    assert tomllib.loads(after) == {
        "categories": {"box": {"review": 1.0}},
        "objects": {
            "grouping": "folder",
            "categories": {"box": {"views": ["left", "top"], "reject": 2.0, "review": 1.5}},
        },
    }
