import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from muad.errors import ConfigError
from muad.service.history import (
    DriftSignal,
    History,
    InspectionFilter,
    Kept,
    Model,
    NotRecordedError,
    ShadowJudgement,
    new_id,
    now,
)


def test_what_is_recorded_comes_back_to_the_last_digit(history, inspect, full_inspection):
    bare = inspect(verdict="error", score=None, error="no image")
    recorded = history.record([full_inspection, bare])
    assert [history.get(one.id) for one in (full_inspection, bare)] == recorded
    for new, old in zip([full_inspection, bare], recorded, strict=True):
        assert {name: getattr(old, name) for name in new.__dataclass_fields__} == {
            name: getattr(new, name) for name in new.__dataclass_fields__
        }
    assert [one.number for one in recorded] == [1, 2]


def test_times_are_utc_whatever_zone_they_came_in(history, inspect):
    at = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    (recorded,) = history.record([inspect(at=at)])
    assert history.get(recorded.id).at == at
    assert history.get(recorded.id).at.utcoffset() == timedelta(0)


def test_a_batch_is_recorded_whole_or_not_at_all(history, inspect):
    first, second = inspect(), inspect()
    history.record([first])
    with pytest.raises(Exception, match=r"(?i)unique"):
        history.record([second, first])
    with pytest.raises(NotRecordedError, match="inspection must be one of the history"):
        history.get(second.id)


def test_an_idempotency_key_is_recorded_once(history, inspect):
    first, again, other = inspect(idempotency_key="a"), inspect(idempotency_key="a"), inspect(idempotency_key="b")
    assert [one.id for one in history.record([first, again, other])] == [first.id, first.id, other.id]
    assert history.record([inspect(idempotency_key="a")])[0].id == first.id
    assert history.by_idempotency("b").id == other.id
    assert history.by_idempotency("c\0") is None
    assert history.counts(InspectionFilter(), by="verdict") == {"pass": 2}


def test_a_key_sent_at_once_by_many_is_recorded_once(history, inspect):
    ready = threading.Barrier(6)

    def send(_):
        one = inspect(idempotency_key="same")
        ready.wait()
        return history.record([one])[0].id

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(send, range(6)))) == 1


def test_events_go_on_where_they_were_left_and_leave_none_out(url, inspect):
    """Two processes' worth of writers; a reader that always asks for what came after the last it saw."""
    writers = [History(url) for _ in range(2)]
    (first,) = writers[0].record([inspect()])
    seen, done = [first.id], threading.Event()

    def read():
        reader = History(url)
        while True:
            last = done.is_set()
            seen.extend(one.id for one in reader.since(seen[-1], limit=7))
            if last and not reader.since(seen[-1]):
                return reader.close()

    reading = threading.Thread(target=read)
    reading.start()
    with ThreadPoolExecutor(2) as threads:
        made = [[inspect() for _ in range(3)] for _ in range(40)]
        recorded = list(threads.map(lambda pair: writers[pair[0] % 2].record(pair[1]), enumerate(made)))
    done.set()
    reading.join()
    for writer in writers:
        writer.close()
    assert sorted(seen[1:]) == sorted(one.id for batch in recorded for one in batch)
    assert len(set(seen)) == len(seen)


def test_events_from_the_start_are_the_last_ones(history, inspect):
    recorded = history.record([inspect() for _ in range(5)])
    assert history.since(None, limit=2) == recorded[-2:]
    assert history.since("\0", limit=2) == recorded[-2:]
    assert history.since(recorded[1].id) == recorded[2:]


def test_words_stand_beside_each_other_and_the_last_is_on_the_inspection(history, inspect):
    (recorded,) = history.record([inspect()])
    history.add_word(recorded.id, who="anna", word="bad", defect_type="scratch", note="left\nside")
    last = history.add_word(recorded.id, who="ben", word="good")
    words = history.words(recorded.id)
    assert [(word.who, word.word, word.defect_type) for word in words] == [
        ("anna", "bad", "scratch"),
        ("ben", "good", None),
    ]
    assert (history.get(recorded.id).word, history.get(recorded.id).word_at) == ("good", last.at)
    assert [word.who for word in history.stream_words(since=last.at)] == ["ben"]
    assert [word.who for word in history.stream_words(until=last.at)] == ["anna"]
    with pytest.raises(NotRecordedError, match="inspection must be one of the history"):
        history.add_word("0" * 32, who="anna", word="bad")


def test_what_shadows_say_is_kept_beside_what_was_answered(history, inspect):
    parts = [inspect(), inspect(verdict="reject"), inspect()]
    shadows = [
        ShadowJudgement(inspection_id=part.id, model_id="new", verdict="reject", score=0.5, judged_as="bolt")
        for part in parts[:2]
    ]
    history.record(parts, shadows)
    assert history.shadows([part.id for part in parts]) == {shadow.inspection_id: [shadow] for shadow in shadows}
    assert history.agreement("new") == {("pass", "reject"): 1, ("reject", "reject"): 1}
    assert [(one.id, shadow) for one, shadow in history.shadowed("new", only_other=True)] == [(parts[0].id, shadows[0])]
    assert [one.id for one, _ in history.shadowed("new")] == [parts[1].id, parts[0].id]


def test_a_shadow_that_judges_after_the_answer_is_kept_for_parts_that_are_there(history, inspect):
    (part,) = history.record([inspect()])
    late = [ShadowJudgement(inspection_id=one, model_id="new", verdict="pass") for one in (part.id, "0" * 32)]
    assert history.add_shadows(late) == 1
    assert history.add_shadows([]) == 0
    history.add_shadows(late)
    assert history.shadows([part.id]) == {part.id: late[:1]}


def test_a_signal_of_drift_is_open_until_it_is_ended_once(history):
    at = now()
    signal = DriftSignal(
        id=new_id(at),
        station="line 1",
        judged_as="bolt",
        quantity="score",
        direction="higher",
        began_at=at - timedelta(days=1),
        raised_at=at,
        inspections=80,
        statistic=12.5,
        threshold=10.0,
        parts=("a", "b"),
    )
    assert history.add_signal(signal) == signal
    assert history.signals(open_only=True) == history.signals(at, "line 1", "bolt") == [signal]
    assert history.signals(judged_as="nut") == history.signals(at + timedelta(seconds=1)) == []
    history.end_signal(signal.id, at, "lamp renewed")
    assert history.signals() == [replace(signal, ended_at=at, note="lamp renewed")]
    assert history.signals(open_only=True) == []
    with pytest.raises(NotRecordedError, match="signal must be one that has not ended"):
        history.end_signal(signal.id, at)


def test_one_model_is_active_and_every_move_is_noted(history):
    models = [
        Model(
            id=f"{number:016x}",
            name=f"{number}.muad",
            path=f"models/{number}.muad",
            loaded_at=now(),
            loaded_by="anna",
            state="loaded",
            detector="dinomaly",
            categories=("bolt", "nut"),
            muad="1.0",
        )
        for number in (1, 2)
    ]
    for model in models:
        assert history.add_model(model) == model
    history.set_model_state(models[0].id, "active", who="anna")
    history.set_model_state(models[1].id, "active", who="ben", reason="better on nuts")
    history.set_model_state(models[1].id, "active", who="ben")
    assert history.add_model(models[1]).state == "active"
    assert {model.id: model.state for model in history.models()} == {models[0].id: "loaded", models[1].id: "active"}
    noted = [(change.subject[-1], change.old, change.new, change.who) for change in history.changes("model")][::-1]
    assert noted[2:] == [
        ("1", "loaded", "active", "anna"),
        ("2", "loaded", "active", "ben"),
        ("1", "active", "loaded", "ben"),
    ]
    with pytest.raises(NotRecordedError, match="model must be one of the history"):
        history.set_model_state("f" * 16, "active", who="anna")


def test_changes_are_found_by_kind_and_subject(history):
    history.add_change("anna", "limit", "bolt.reject", old="0.3", new="0.4", reason="customer")
    history.add_change("ben", "token", "line 1")
    assert [change.who for change in history.changes()] == ["ben", "anna"]
    assert [change.old for change in history.changes("limit", "bolt.reject")] == ["0.3"]
    assert history.changes("limit", "nut.reject\0") == []


def test_scores_are_those_of_one_product_and_time(history, inspect):
    recorded = history.record(
        [
            inspect(judged_as="bolt", score=0.5),
            inspect(judged_as="nut"),
            inspect(judged_as="bolt", score=0.1, verdict="reject"),
            inspect(judged_as="bolt", score=None, verdict="error"),
        ]
    )
    found = history.scores("bolt")
    assert np.array_equal(found.scores, [0.5, 0.1])
    assert found.verdicts == ("pass", "reject")
    assert np.array_equal(found.at, [recorded[0].at.timestamp(), recorded[2].at.timestamp()])
    assert np.array_equal(history.scores("bolt", since=recorded[1].at).scores, [0.1])
    assert len(history.scores("bolt", model="other").scores) == 0


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"serial": "a\0b"}, "serial must be text without NUL"),
        ({"lot": "\ud800"}, "lot must be text without NUL"),
        ({"station": "x" * 201}, "station must have at most 200 characters, got 201"),
        ({"score": float("nan")}, "score must be a finite number or none, got nan"),
        ({"verdict": "ok"}, "verdict must be one of pass, review"),
        ({"source": "mail"}, "source must be one of http"),
        ({"at": datetime(2026, 1, 1)}, "at must have a time zone"),
        ({"id": "../../etc"}, "id must be 32 hexadecimal digits"),
        ({"extras": {f"k{n}": "v" for n in range(65)}}, "extras must be at most 64 pairs"),
        ({"extras": {"k": "v" * 4001}}, "extras.k must have at most 4000 characters"),
    ],
)
def test_what_a_database_cannot_keep_is_refused_before(inspect, said, message):
    with pytest.raises(ConfigError, match=message):
        replace(inspect(), **said)


def test_ids_sort_by_time_to_the_microsecond():
    start = datetime(2026, 1, 5, 6, tzinfo=UTC)
    moments = [start + timedelta(microseconds=7 * number) for number in range(400)]
    ids = [new_id(at) for at in moments]
    assert ids == sorted(ids)
    assert len({new_id(start) for _ in range(1000)}) == 1000
    assert ids[0][12] == "7"


def test_nothing_recorded_is_nothing_done(history):
    assert history.record([]) == []
    assert Kept() == Kept()
