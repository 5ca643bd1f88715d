"""What the commands show: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from muad.progress import progress_bar
from muad.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.evaluation.published_figures import PublishedFigures
    from muad.metrics.report import Report

__all__ = ["plain_table", "progress_bar", "quiet_engine", "report_table", "say", "show", "show_report", "show_table"]

_HEADINGS = ("image\nAUROC", "image\nAP", "image\nF1-max", "pixel\nAUROC", "pixel\nAP", "pixel\nF1-max", "pixel\nAUPRO")
_VERDICTS = ("pass", "review", "reject", "unknown product", "none")
_ENDLESS = 100_000


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


def show_verdicts(counts: Mapping[tuple[str, str], int]) -> None:
    """How many images of each category pass, and so on, by category and verdict."""
    table = plain_table()
    table.add_column("category", no_wrap=True)
    for verdict in _VERDICTS:
        table.add_column(verdict, justify="right")
    for category in sorted({name for name, _ in counts}):
        table.add_row(category, *(str(counts.get((category, verdict), 0)) for verdict in _VERDICTS))
    show_table(table)


def quiet_engine() -> None:
    """Keep Fabric's notes on precision and launching to itself; what matters of them is in `run.json`."""
    with suppress(ModuleNotFoundError):  # where the bench is not installed there is nothing to quiet
        import lightning_fabric  # noqa: F401  sets its own level while it is imported

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def report_table(report: Report, published: PublishedFigures | None = None) -> Table:
    """The seven metrics per category and their unweighted mean, in [0, 1], above what was published of the mean."""
    from muad.metrics.report import METRIC_NAMES

    table = plain_table(f"{counted(report.images, 'image')}, protocol {report.protocol}")
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
