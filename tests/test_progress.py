"""The bar of the verbs in Python: on a terminal unless something else is asked for, and never elsewhere."""

import io
import sys
from collections.abc import Callable

import pytest

from muad.progress import ProgressLines, Update, progress_bar, shows_progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _silent(*_: object) -> None:
    pass


@shows_progress
def inner(*, progress: Update = _silent) -> Update:
    progress("inner", 1, 2, None)
    return progress


@shows_progress
def outer(*, progress: Update = _silent) -> tuple[Update, Update]:
    """A verb that calls another."""
    progress("outer", 1, 2, None)
    return progress, inner()


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    screen = _Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_on_a_terminal_a_verb_shows_a_bar_and_one_within_it_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    mine, within = outer()
    assert mine is not _silent
    assert within is _silent
    assert "outer" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()
    inner()
    assert "inner" in terminal.getvalue()


def test_elsewhere_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert outer() == (_silent, _silent)
    assert capsys.readouterr() == ("", "")


def test_a_function_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    told: list[tuple[object, ...]] = []

    def take(*news: object) -> None:
        told.append(news)

    assert inner(progress=take) is take
    assert told == [("inner", 1, 2, None)]
    assert terminal.getvalue() == ""
    with progress_bar():
        assert inner() is _silent  # there is a bar already


@pytest.mark.parametrize("verb", ["train", "evaluate", "calibrate", "check_data", "report"])
def test_every_verb_has_it(verb: str) -> None:
    import muad

    shown: Callable[..., object] = getattr(muad, verb)
    assert "progress" in shown.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]


def test_a_log_gets_a_line_a_minute_with_the_share_and_the_time_left() -> None:
    now, told = 0.0, list[str]()
    lines = ProgressLines(told.append, clock=lambda: now)
    for second in range(201):
        now = float(second)
        lines("train", 5 * second, 1000, 0.25)
    assert told == [
        "train: 300 of 1000 (30%), 5.0 step/s, loss 0.2500, 2 min left",
        "train: 600 of 1000 (60%), 5.0 step/s, loss 0.2500, 1 min left",
        "train: 900 of 1000 (90%), 5.0 step/s, loss 0.2500, 1 min left",
        "train: 1000 of 1000, done in 3.3 minutes",
    ]


def test_short_work_is_told_of_where_ends_are_wanted_and_once() -> None:
    now, told, ends = 0.0, list[str](), list[str]()
    both = ProgressLines(told.append, clock=lambda: now), ProgressLines(ends.append, ends=True, clock=lambda: now)
    for second, done in ((0.0, 1), (5.0, 10), (6.0, 10), (7.0, 1), (7.5, 10)):
        now = second
        for lines in both:
            lines("encode", done, 10, None)
    assert told == []
    assert ends == ["encode: 10 of 10, done in 5.0 s"]


def test_work_of_a_name_that_ended_is_timed_anew() -> None:
    now, told = 0.0, list[str]()
    lines = ProgressLines(told.append, clock=lambda: now)
    for second, done, total in ((0, 1, 860), (20, 860, 860), (300, 2, 254), (360, 122, 254)):
        now = float(second)
        lines("compare", done, total, None)
    assert told == ["compare: 122 of 254 (48%), 2.0 image/s, 1 min left"]
