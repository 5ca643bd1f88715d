"""The time a training will take is said once, and only where it can be known."""

import re

from muad.training.estimate import Estimate


def notes_of(steps: range, total: int, what: str = "train") -> list[str]:
    notes: list[str] = []
    passed_on: list[int] = []
    estimate = Estimate(lambda _what, done, *_: passed_on.append(done), notes.append)
    for done in steps:
        estimate(what, done, total, None)
    assert passed_on == list(steps)
    return notes


def test_it_is_said_once_with_the_steps_that_remain() -> None:
    (note,) = notes_of(range(1, 101), 100)
    assert re.fullmatch(r"train: 0\.00 s a step, so the remaining 89 steps take about 1 minute", note)


def test_a_resumed_run_is_timed_from_where_it_goes_on() -> None:
    (note,) = notes_of(range(51, 101), 100)
    assert "remaining 39 steps" in note


def test_nothing_is_said_of_short_runs_or_of_encoding() -> None:
    assert notes_of(range(1, 9), 8) == []
    assert notes_of(range(1, 12), 11) == []
    assert notes_of(range(1, 101), 100, what="encode") == []
