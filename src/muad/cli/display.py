"""What the commands show: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from muad import progress
from muad.cli.log_file import write_log
from muad.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.evaluation.published_figures import PublishedFigures
    from muad.metrics.report import Report

_HEADINGS = ("image\nAUROC", "image\nAP", "image\nF1-max", "pixel\nAUROC", "pixel\nAP", "pixel\nF1-max", "pixel\nAUPRO")
_VERDICTS = ("pass", "review", "reject", "unknown product", "none")
_ENDLESS = 100_000


class Loudness(Enum):
    """How much is shown on stderr; results on stdout and errors always come."""

    QUIET = "quiet"
    USUAL = "usual"
    VERBOSE = "verbose"


class _NotesOfLibraries(logging.Handler):
    """Says what libraries log, each with its name."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.name}: {record.getMessage()}")


_loudness = Loudness.USUAL
_LIBRARIES = _NotesOfLibraries(logging.INFO)


def loudness() -> Loudness:
    """As chosen for the command that runs."""
    return _loudness


def set_loudness(chosen: Loudness) -> None:
    """Choose for the command that runs; what libraries log comes with `VERBOSE` alone."""
    global _loudness
    before, _loudness = _loudness, chosen
    if (chosen is Loudness.VERBOSE) != (before is Loudness.VERBOSE):
        root, verbose = logging.getLogger(), chosen is Loudness.VERBOSE
        root.setLevel(logging.INFO if verbose else logging.WARNING)
        (root.addHandler if verbose else root.removeHandler)(_LIBRARIES)


def say(text: str) -> None:
    """A note: one line on stderr, not wrapped and not interpreted; left out if all is to be quiet."""
    write_log(text)
    if loudness() is not Loudness.QUIET:
        _say(f"{datetime.now():%H:%M:%S} {text}" if loudness() is Loudness.VERBOSE else text)


def say_fault(text: str) -> None:
    """A line on stderr that always comes, on what went wrong."""
    write_log(text)
    _say(text)


def _say(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def show(text: str, *, logged: bool = True) -> None:
    """A result: text on stdout, as it is."""
    if logged:
        write_log(text)
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def show_json(values: object) -> None:
    """Values as indented JSON on stdout; paths are text. They are in no log."""
    show(json.dumps(values, indent=2, default=str), logged=False)


@contextmanager
def progress_bar() -> Iterator[progress.Update]:
    """How far the work is: a bar on a terminal, else a line a minute on stderr; the lines are also in the log.

    Yields the function that takes the news, see `muad.progress.progress_bar`.
    """
    chosen = loudness()
    told: list[progress.Update] = [progress.ProgressLines(write_log, ends=True)]
    bar = chosen is not Loudness.QUIET and sys.stderr.isatty()
    if chosen is not Loudness.QUIET and not bar:
        told.append(progress.ProgressLines(_say, ends=chosen is Loudness.VERBOSE))
    with progress.progress_bar() if bar else nullcontext() as moved:
        told += [] if moved is None else [moved]

        def update(name: str, done: int, total: int, loss: float | None) -> None:
            for tell in told:
                tell(name, done, total, loss)

        yield update


def plain_table(title: str | None = None) -> Table:
    """An empty table without frames, narrow enough for 80 columns."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def show_table(table: Table) -> None:
    """A table on stdout; in a file or a pipe, as wide as it needs to be."""
    text = io.StringIO()
    Console(file=text, width=_ENDLESS).print(table)
    write_log(text.getvalue())
    console = Console()
    if not console.is_terminal:
        console.width = _ENDLESS
    console.print(table)


def show_verdicts(counts: Mapping[tuple[str, str], int], what: str = "category", *others: str) -> None:
    """How many images of each category pass, and so on.

    Args:
        counts: By category and verdict.
        what: Heads the column of categories.
        others: Verdicts that there are besides.
    """
    table, verdicts = plain_table(), (*_VERDICTS, *others)
    table.add_column(what, no_wrap=True)
    for verdict in verdicts:
        table.add_column(verdict, justify="right")
    for category in sorted({name for name, _ in counts}):
        table.add_row(category, *(str(counts.get((category, verdict), 0)) for verdict in verdicts))
    show_table(table)


def quiet_engine() -> None:
    """Keep Fabric's notes on precision and launching to itself; what matters of them is in `run.json`."""
    if loudness() is Loudness.VERBOSE:
        return
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


def objects_table(report: Report) -> Table:
    """Figures of parts that several photographs show: by both scores, and the AUROC of each view by itself."""
    table = plain_table("parts of several views")
    table.add_column("category", no_wrap=True)
    figures_of = [f"{score}\n{name}" for score in ("mean_top", "max") for name in ("AUROC", "AP", "F1-max")]
    for heading in ("parts", "bad", *figures_of):
        table.add_column(heading, justify="right")
    table.add_column("AUROC of views")
    for name, category in report.categories.items():
        if (own := category.objects) is not None:
            figures = [_figure(value) for score in ("mean_top", "max") for value in own.figures[score].values()]
            views = ", ".join(f"{view} {_figure(value)}" for view, value in own.views.items())
            table.add_row(name, str(own.count), str(own.anomalous), *figures, views)
    return table


def show_report(report: Report, published: PublishedFigures | None = None) -> None:
    """Print the table and, below it, whose the published figures are and why a figure is missing."""
    show_table(report_table(report, published))
    if report.object_mean:
        show_table(objects_table(report))
    if published is not None:
        say(published.sentence())
    if report.mean_more:
        show_table(more_table(report))
    for name, category in report.categories.items():
        for note in category.notes:
            say(f"{name}: {note}")


def more_table(report: Report) -> Table:
    """The figures that only the data set's protocol has, a row each: per category, and their mean."""
    table = plain_table(f"protocol {report.protocol}")
    table.add_column("", no_wrap=True)
    for name in (*report.categories, "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for metric, mean in report.mean_more.items():
        own = (_figure(category.more.get(metric)) for category in report.categories.values())
        table.add_row(metric, *own, _figure(mean))
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
