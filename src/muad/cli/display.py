"""What the commands show: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from muad.metrics.report import Report

_HEADINGS = ("image AUROC", "image AP", "image F1-max", "pixel AUROC", "pixel AP", "pixel F1-max", "pixel AUPRO")
Update = Callable[[str, int, int, float | None], None]


def say(text: str) -> None:
    """One line on stderr, not wrapped and not interpreted."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def show(text: str) -> None:
    """Text on stdout, as it is."""
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


@contextmanager
def progress_bar(unit: str) -> Iterator[Update]:
    """A bar on stderr with rate and time left; yields the function that moves it.

    The function takes what is being worked on, how much is done, how much there is, and a loss to show or None.
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
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, int] = {}

        def update(name: str, done: int, total: int, loss: float | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total, completed=max(0, done - 1), rate="")
            speed = bar.tasks[bar.task_ids.index(tasks[name])].speed  # type: ignore[arg-type]
            rate = "" if not speed else f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}"
            rate += "" if loss is None else f", loss {loss:.4f}"
            bar.update(tasks[name], completed=done, total=total, rate=rate)  # type: ignore[arg-type]

        yield update


def report_table(report: Report) -> Table:
    """The seven metrics per category and their unweighted mean, in [0, 1]."""
    from muad.metrics.report import METRIC_NAMES

    table = Table(title=f"{report.images} images, protocol {report.protocol}", title_justify="left")
    table.add_column("category")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for name, category in report.categories.items():
        table.add_row(name, *(_figure(getattr(category, metric)) for metric in METRIC_NAMES))
    table.add_section()
    table.add_row("mean", *(_figure(report.mean[metric]) for metric in METRIC_NAMES), style="bold")
    return table


def show_report(report: Report) -> None:
    """Print the table and, below it, why a figure is missing."""
    Console().print(report_table(report))
    for name, category in report.categories.items():
        for note in category.notes:
            say(f"{name}: {note}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
