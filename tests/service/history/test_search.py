from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muad.errors import ConfigError
from muad.service.history import OUTCOMES, InspectionFilter

MONDAY = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)

few = st.sampled_from
said = st.fixed_dictionaries(
    {},
    optional={
        "at": st.integers(0, 40).map(lambda seconds: MONDAY + timedelta(seconds=seconds)),
        "station": few(["a", "b"]),
        "source": few(["http", "watch"]),
        "judged_as": few([None, "bolt", "nut"]),
        "verdict": few(OUTCOMES),
        "serial": few([None, "1", "2", "' OR 1=1 --"]),
        "lot": few([None, "x"]),
        "model_id": few([None, "m1", "m2"]),
        "score": few([None, 0.0, 0.25, 0.5, -1.0, 1e300]),
        "in_audit": st.booleans(),
    },
)
asked = st.fixed_dictionaries(
    {},
    optional={
        "since": st.integers(0, 40).map(lambda seconds: MONDAY + timedelta(seconds=seconds)),
        "until": st.integers(0, 41).map(lambda seconds: MONDAY + timedelta(seconds=seconds)),
        "station": few(["a", "b", "c", "%", "_"]),
        "source": few(["http", "watch"]),
        "judged_as": few(["bolt", "nut", "'; DELETE FROM inspections; --"]),
        "verdicts": st.lists(few(OUTCOMES), max_size=3).map(tuple),
        "serial": few(["1", "' OR 1=1 --"]),
        "lot": few(["x", "y"]),
        "model_id": few(["m1", "m2"]),
        "score_from": few([0.0, 0.25, -2.0]),
        "score_to": few([0.25, 0.5, 1e300]),
        "word": few(["good", "bad", "any", "none"]),
        "in_audit": st.booleans(),
    },
).map(lambda values: InspectionFilter(**values))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(said, few([None, "good", "bad"])), max_size=12), filters=st.lists(asked, max_size=8))
def test_the_database_finds_what_the_filter_takes_page_by_page_in_both_orders(history, inspect, parts, filters):
    with history.database.writing() as connection:
        for table in ("words", "inspections"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    recorded = history.record([inspect(**values) for values, _ in parts])
    for one, (_, word) in zip(recorded, parts, strict=True):
        if word is not None:
            history.add_word(one.id, who="anna", word=word)
    recorded = [history.get(one.id) for one in recorded]
    for wanted in filters:
        taken = sorted((one for one in recorded if wanted.takes(one)), key=lambda one: (one.at, one.number))
        assert list(history.stream(wanted)) == taken
        assert pages(history, wanted, "oldest") == taken
        assert pages(history, wanted, "newest") == taken[::-1]
        counted = history.counts(wanted, by="verdict")
        assert sum(counted.values()) == len(taken)
        assert all(count == sum(one.verdict == verdict for one in taken) for verdict, count in counted.items())


def pages(history, wanted, order):
    found, cursor = [], None
    while True:
        page = history.search(wanted, cursor, 3, order=order)
        found += page.inspections
        if page.cursor is None:
            return found
        assert len(page.inspections) == 3
        cursor = page.cursor


def test_pages_stay_where_they_are_while_parts_arrive(history, inspect):
    there = history.record([inspect(at=MONDAY + timedelta(seconds=number // 4)) for number in range(20)])
    found, cursor = [], None
    while True:
        page = history.search(InspectionFilter(), cursor, 3)
        found += page.inspections
        history.record([inspect(at=MONDAY + timedelta(hours=1)) for _ in range(2)])
        if page.cursor is None:
            break
        cursor = page.cursor
    assert found == there[::-1]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "W10", "bnVsbA", "WzEsMl0" * 40, "\0", "WzEsIjIiXQ", "WzFlOTksMl0", "ü", "W1tdLFtdXQ", "WzEsLTFd"],
)
def test_a_cursor_of_somebody_elses_making_is_refused(sqlite_history, cursor):
    with pytest.raises(ConfigError, match="cursor must be the one of the page before"):
        sqlite_history.search(InspectionFilter(), cursor)


@pytest.mark.parametrize("limit", [0, 501, -1])
def test_a_page_has_a_size(sqlite_history, limit):
    with pytest.raises(ConfigError, match="limit must be from 1 to 500"):
        sqlite_history.search(InspectionFilter(), limit=limit)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdicts": ("ok",)}, "verdict must be one of"),
        ({"word": "fine"}, "word must be one of good, bad, any, none"),
        ({"serial": "\0"}, "serial must be text without NUL"),
        ({"score_from": float("inf")}, "score_from must be a finite number"),
        ({"since": MONDAY.replace(tzinfo=None)}, "since must have a time zone"),
    ],
)
def test_a_filter_that_nothing_can_fit_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        InspectionFilter(**values)


def test_a_rare_score_is_found_through_its_own_index(sqlite_history, inspect):
    sqlite_history.record([inspect(score=0.2) for _ in range(5)] + [inspect(score=0.9)])
    wanted = InspectionFilter(score_from=0.8)
    assert [one.score for one in sqlite_history.search(wanted).inspections] == [0.9]
    assert not replace(wanted, score_from=None).asks
