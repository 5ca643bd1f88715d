"""How far work is, with rate and time left: a bar on a terminal, a line a minute in a log or a pipe."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from muad.wording import duration, expected_time

Update = Callable[[str, int, int, float | None], None]
Given = ParamSpec("Given")
Result = TypeVar("Result")
_SHOWN: ContextVar[bool] = ContextVar("_SHOWN", default=False)  # a bar is there already, so a verb within brings none


@contextmanager
def progress_bar() -> Iterator[Update]:
    """A bar on stderr with rate and time left, from the first news on; yields the function that moves it.

    The function takes what is being worked on, how much is done, how much there is, and a loss to show or None. What is
    trained is counted in steps, what is traced in parts, everything else in images.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, total: int, loss: float | None) -> None:
        if name not in tasks:
            bar.start()
            tasks[name] = bar.add_task(name, total=total, completed=max(0, done - 1), rate="")
        rate = _rate(name, bar.tasks[bar.task_ids.index(tasks[name])].speed, loss)
        bar.update(tasks[name], completed=done, total=total, rate=rate)

    token = _SHOWN.set(True)
    try:
        yield update
    finally:
        _SHOWN.reset(token)
        if tasks:
            bar.stop()


@dataclass(slots=True)
class _Work:
    """What was last said of a piece of work."""

    begun: float
    said: float
    done: int
    told: bool = False
    ended: bool = False


class ProgressLines:
    """Tells once a minute how far each piece of work is, for logs and pipes, and how long it took in the end.

    Args:
        tell: Called with each line.
        ends: Also tell of the end of what took less than a minute, but more than a second.
        every_s: Between two lines.
        clock: Seconds.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        ends: bool = False,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._ends, self._every_s, self._clock = tell, ends, every_s, clock
        self._works: dict[str, _Work] = {}

    def __call__(self, name: str, done: int, total: int, loss: float | None) -> None:
        """Take news: what is worked on, how much is done, how much there is, and a loss to say or None."""
        now = self._clock()
        work = self._works.setdefault(name, _Work(now, now, done))
        if done < work.done or (work.ended and done < total):  # begun anew, as for the next product
            work = self._works[name] = _Work(now, now, done)
        if done >= total:
            if not work.ended and (work.told or (self._ends and now - work.begun > 1)):
                self._tell(f"{name}: {done} of {total}, done in {duration(now - work.begun)}")
            work.ended = True
        elif now - work.said >= self._every_s and done > work.done:
            speed = (done - work.done) / (now - work.said)
            left = expected_time((total - done) / speed)
            self._tell(f"{name}: {done} of {total} ({done / total:.0%}), {_rate(name, speed, loss)}, {left} left")
            work.said, work.done, work.told = now, done, True


def _rate(name: str, speed: float | None, loss: float | None) -> str:
    """What is done in a second, or how long one takes, and the loss; what is trained is counted in steps."""
    unit = "step" if name.startswith("train") else "part" if name.startswith("trace") else "image"
    rate = "" if not speed else f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}"
    return rate + ("" if loss is None else f", loss {loss:.4f}")


def shows_progress(verb: Callable[Given, Result]) -> Callable[Given, Result]:
    """A verb that shows a bar on stderr if nobody says what becomes of its `progress`.

    Only on a terminal: in a pipe, a log or a service it stays quiet, and so it does if it is given a function.
    """

    @functools.wraps(verb)
    def shown(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        if "progress" in kwargs or _SHOWN.get() or not sys.stderr.isatty():
            return verb(*args, **kwargs)
        with progress_bar() as update:
            kwargs["progress"] = update
            return verb(*args, **kwargs)

    return shown
