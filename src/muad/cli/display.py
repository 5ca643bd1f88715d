"""What the commands show: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
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
from rich.table import Table

if TYPE_CHECKING:
    from muad.metrics.report import Report
    from muad.published_figures import PublishedFigures

_HEADINGS = ("image\nAUROC", "image\nAP", "image\nF1-max", "pixel\nAUROC", "pixel\nAP", "pixel\nF1-max", "pixel\nAUPRO")
_ENDLESS = 100_000
Update = Callable[[str, int, int, float | None], None]


def say(text: str) -> None:
    """One line on stderr, not wrapped and not interpreted."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def show(text: str) -> None:
    """Text on stdout, as it is."""
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def show_json(values: object) -> None:
    """Values as indented JSON on stdout; paths are text."""
    show(json.dumps(values, indent=2, default=str))


def plain_table(title: str | None = None) -> Table:
    """An empty table without frames, narrow enough for 80 columns."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def show_table(table: Table) -> None:
    """A table on stdout; in a file or a pipe, as wide as it needs to be."""
    console = Console()
    if not console.is_terminal:
        console.width = _ENDLESS
    console.print(table)


@contextmanager
def progress_bar() -> Iterator[Update]:
    """A bar on stderr with rate and time left, from the first news on; yields the function that moves it.

    The function takes what is being worked on, how much is done, how much there is, and a loss to show or None. What is
    trained is counted in steps, everything else in images.
    """
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

    try:
        yield update
    finally:
        if tasks:
            bar.stop()


def quiet_engine() -> None:
    """Keep Fabric's notes on precision and launching to itself; what matters of them is in `run.json`."""
    import lightning_fabric  # noqa: F401  sets its own level while it is imported

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def report_table(report: Report, published: PublishedFigures | None = None) -> Table:
    """The seven metrics per category and their unweighted mean, in [0, 1], above what was published of the mean."""
    from muad.metrics.report import METRIC_NAMES

    table = plain_table(f"{report.images} images, protocol {report.protocol}")
    table.add_column("category", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for name, category in report.categories.items():
        table.add_row(name, *(_figure(value) for value in category.values().values()))
    table.add_section()
    table.add_row("mean", *(_figure(report.mean[metric]) for metric in METRIC_NAMES), style="bold")
    if published is not None:
        table.add_row("published", *(_figure(published.figures[metric]) for metric in METRIC_NAMES))
    return table


def show_report(report: Report, published: PublishedFigures | None = None) -> None:
    """Print the table and, below it, whose the published figures are and why a figure is missing."""
    show_table(report_table(report, published))
    if published is not None:
        say(published.sentence())
    for name, category in report.categories.items():
        for note in category.notes:
            say(f"{name}: {note}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
