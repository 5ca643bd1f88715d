"""A bar with rate and time left: of the commands, and of the verbs in Python on a terminal."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

Update = Callable[[str, int, int, float | None], None]
Given = ParamSpec("Given")
Result = TypeVar("Result")
_SHOWN: ContextVar[bool] = ContextVar("_SHOWN", default=False)  # a bar is there already, so a verb within brings none


@contextmanager
def progress_bar() -> Iterator[Update]:
    """A bar on stderr with rate and time left, from the first news on; yields the function that moves it.

    The function takes what is being worked on, how much is done, how much there is, and a loss to show or None. What is
    trained is counted in steps, everything else in images.
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
        unit = "step" if name.startswith("train") else "image"
        speed = bar.tasks[bar.task_ids.index(tasks[name])].speed
        rate = "" if not speed else f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}"
        rate += "" if loss is None else f", loss {loss:.4f}"
        bar.update(tasks[name], completed=done, total=total, rate=rate)

    token = _SHOWN.set(True)
    try:
        yield update
    finally:
        _SHOWN.reset(token)
        if tasks:
            bar.stop()


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
