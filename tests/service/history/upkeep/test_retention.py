from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from muad.errors import ConfigError
from muad.service.history import Change, HistorySettings, InspectionFilter, NotRecordedError, Pictures, ShadowJudgement
from muad.service.history.upkeep.retention import Retention

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PHOTO = b"x" * 1000


@pytest.fixture
def pictures(tmp_path):
    return Pictures(tmp_path)


@pytest.fixture
def record(history, inspect, pictures):
    """Record one inspection with pictures, so many days ago."""

    def recorded(days, **said):
        new = inspect(at=NOW - timedelta(days=days), **said)
        kept = pictures.keep(new.id, new.at, PHOTO, ".jpg", np.zeros((4, 4), np.float32))
        return history.record([replace(new, kept=kept)])[0]

    return recorded


def there(pictures, one):
    return [pictures.path(place).is_file() for place in (one.kept.photo, one.kept.map)]


def test_pictures_go_by_age_and_verdict_and_rows_after_them(history, pictures, record):
    old, older, fresh = record(10), record(40), record(1)
    rejected = record(40, verdict="reject")
    retention = Retention(history, pictures, HistorySettings(pictures_days={"pass": 7}, rows_days={"pass": 30}))
    planned = retention.plan(NOW)
    assert [(one.what, one.inspections) for one in planned] == [("pictures", 2), ("inspections", 1)]
    assert [there(pictures, one) for one in (old, older, fresh, rejected)] == [[True, True]] * 4
    done = retention.apply(NOW)
    assert done == planned
    assert [there(pictures, one)[0] for one in (old, older, fresh, rejected)] == [False, False, True, True]
    assert [one.id for one in history.stream(InspectionFilter())] == [rejected.id, old.id, fresh.id]
    assert history.get(old.id).pictures_removed
    assert not history.get(fresh.id).pictures_removed
    with pytest.raises(NotRecordedError, match="Retention may have removed it"):
        pictures.photo(history.get(old.id).kept)
    noted = history.changes("retention")
    assert {change.subject for change in noted} == {"pictures", "inspections"}
    assert isinstance(noted[0], Change)
    assert retention.apply(NOW) == retention.plan(NOW) == []
    assert len(history.changes("retention")) == len(noted)


def test_what_has_a_persons_word_stays_whatever_is_set(history, pictures, record):
    spoken = [record(500, verdict=verdict) for verdict in ("pass", "reject")]
    gone = record(500)
    for one in spoken:
        history.add_word(one.id, who="anna", word="good")
    days = {"pass": 1, "reject": 1}
    settings = HistorySettings(pictures_days=days, rows_days=days, pictures_gb=1e-9)
    Retention(history, pictures, settings).apply(NOW)
    assert [one.id for one in history.stream(InspectionFilter())] == [one.id for one in spoken]
    assert [there(pictures, one) for one in spoken] == [[True, True]] * 2
    assert there(pictures, gone) == [False, False]
    assert len(history.words(spoken[0].id)) == 1


def test_shadows_go_with_their_part(history, pictures, record):
    one = record(50)
    history.add_shadows([ShadowJudgement(inspection_id=one.id, model_id="m", verdict="pass")])
    Retention(history, pictures, HistorySettings(rows_days={"pass": 30})).apply(NOW)
    assert history.shadows([one.id]) == {}
    assert history.agreement("m") == {}


def test_a_quota_takes_the_oldest_passed_pictures_first(history, pictures, record):
    rejected = record(9, verdict="reject")
    passed = [record(days) for days in (8, 7, 6, 5)]
    size = rejected.kept.photo_bytes + rejected.kept.map_bytes
    retention = Retention(history, pictures, HistorySettings(pictures_gb=3 * size / 1e9))
    assert [one.inspections for one in retention.plan(NOW)] == [2]
    retention.apply(NOW)
    assert [there(pictures, one)[0] for one in [rejected, *passed]] == [True, False, False, True, True]
    Retention(history, pictures, HistorySettings(pictures_gb=1e-9)).apply(NOW)
    assert not any(there(pictures, one)[0] for one in [rejected, *passed])
    assert len(list(history.stream(InspectionFilter()))) == 5


def test_a_quota_counts_what_age_takes_anyway(history, pictures, record):
    old, new = record(50), record(1)
    size = old.kept.photo_bytes + old.kept.map_bytes
    settings = HistorySettings(pictures_days={"pass": 30}, pictures_gb=size / 1e9)
    Retention(history, pictures, settings).apply(NOW)
    assert [there(pictures, one)[0] for one in (old, new)] == [False, True]


def test_thousands_go_in_transactions_of_some_hundred(history, pictures, inspect):
    history.record([inspect(at=NOW - timedelta(days=9, seconds=number)) for number in range(1100)])
    (done,) = Retention(history, pictures, HistorySettings(rows_days={"pass": 3})).apply(NOW)
    assert done.inspections == 1100
    assert list(history.stream(InspectionFilter())) == []


def test_files_of_a_process_that_was_killed_are_tidied_up_and_others_stay(history, pictures, record, inspect):
    kept, marked, lost = record(3), record(3), inspect(at=NOW - timedelta(days=3))
    pictures.keep(lost.id, lost.at, PHOTO, ".jpg")
    fresh = inspect(at=NOW)
    pictures.keep(fresh.id, fresh.at, PHOTO, ".jpg")
    mask = pictures.keep_mask(lost.id, lost.at, PHOTO)
    with history.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE inspections SET pictures_removed = TRUE WHERE id = '{marked.id}'")
    assert Retention(history, pictures, HistorySettings()).tidy(NOW) == 3
    assert there(pictures, kept) == [True, True]
    assert there(pictures, marked) == [False, False]
    assert pictures.path(mask).is_file()
    assert len(list(pictures.folder.glob(f"pictures/*/*/{fresh.id}*"))) == 1


def test_no_settings_forget_nothing(history, pictures, record):
    record(5000)
    assert Retention(history, pictures, HistorySettings()).apply(NOW) == []


@pytest.mark.parametrize("wrong", [{"pictures_days": {"ok": 3}}, {"rows_days": {"pass": 0}}, {"pictures_gb": 0}])
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises((ConfigError, ValueError)):
        HistorySettings(**wrong)
