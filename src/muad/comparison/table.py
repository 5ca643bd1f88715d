"""The result of a comparison as a table: rows, and what is written from them."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.comparison.budget import FAR_BELOW
from muad.comparison.published import PublishedRow
from muad.errors import ConfigError
from muad.metrics.report import METRIC_NAMES

if TYPE_CHECKING:
    import pandas

    from muad.comparison.entries import Entry
    from muad.comparison.ranking import Ranking
    from muad.comparison.trial import Trial

MEAN = "mean"
_COSTS = ("training_s", "step_s", "image_s", "batched_s", "memory_bytes", "disk_bytes")
COLUMNS = (
    *("detector", "encoder", "category", "seeds"),
    *(name for metric in METRIC_NAMES for name in (metric, f"{metric}_sd")),
    *("good_stopped", "bad_stopped"),
    *("image_px", "steps", "batch_size", "published_steps", "share_of_published", "far_below_published"),
    *_COSTS,
    "error",
)
"""Of a row: metrics in [0, 1] with their deviation over seeds, times in seconds, sizes in bytes."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Detectors side by side.

    Attributes:
        out: Folder of the comparison.
        facts: What was compared on what: data, hash, device, image size, seeds, budget, counts of images, version.
        entries: What was compared, in the order of training.
        trials: By entry, those that finished, in order of the seeds.
        failures: By entry, the line that says why it has no figures, or not all.
        ranking: How sure the order is; None without good and defective images of one category.
        chosen_on: Of which images it was read: `choice`, those set aside, or `reported`.
        published: What is printed of the same detectors.
        notes: What a reader should know.
    """

    out: Path
    facts: Mapping[str, Any]
    entries: tuple[Entry, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    failures: Mapping[str, str] = field(default_factory=dict)
    ranking: Ranking | None = None
    chosen_on: str = "reported"
    published: tuple[PublishedRow, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """One of each entry and category, and one of each entry's mean over them; the keys are `COLUMNS`."""
        return tuple(row for entry in self.ordered() for row in self._rows_of(entry))

    @property
    def means(self) -> tuple[dict[str, Any], ...]:
        """The rows of means over the categories, the best first."""
        return tuple(row for row in self.rows if row["category"] == MEAN)

    @property
    def page(self) -> Path:
        """The page that shows it."""
        return self.out / "compare.html"

    @property
    def recommendation(self) -> tuple[str, ...]:
        """Which detector suits, on what figures that rests, and how sure it is."""
        if self.ranking is None:
            return ("No category has good and defective images to test on, so nothing says which detector is better.",)
        costs = {key: trials[0].image_s for key, trials in self.trials.items() if trials and trials[0].image_s}
        basis = (
            "It was chosen on images set aside for that, none of which is in the figures reported here."
            if self.chosen_on == "choice"
            else "It was read from the very images reported here, so the first one's figure is a little too good; "
            "where that matters, compare with --choose."
        )
        return (*self.ranking.sentences(costs), basis)

    def ordered(self) -> list[Entry]:
        """Entries by rank; those without figures last."""
        rank = [] if self.ranking is None else [one.key for one in self.ranking.standings]
        place = {key: number for number, key in enumerate(rank)}
        return sorted(self.entries, key=lambda entry: (not self.trials.get(entry.key), place.get(entry.key, len(rank))))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            **self.facts,
            "chosen_on": self.chosen_on,
            "recommendation": list(self.recommendation),
            "rows": list(self.rows),
            "ranking": None if self.ranking is None else self.ranking.to_json(),
            "published": [row.to_json() for row in self.published],
            "failures": dict(self.failures),
            "entries": {
                entry.key: {"settings": list(entry.settings), "notes": list(entry.notes)} for entry in self.entries
            },
            "trials": {
                key: [
                    {
                        "seed": trial.seed,
                        "run": str(trial.run.relative_to(self.out)),
                        "figures": None if trial.report is None else trial.report.to_json(),
                        "choice": None if trial.choice_report is None else trial.choice_report.to_json(),
                        **{name: getattr(trial, name) for name in _COSTS},
                        "stopped": dict(trial.stopped),
                    }
                    for trial in trials
                ]
                for key, trials in self.trials.items()
            },
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """The rows with a header."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({name: "" if value is None else value for name, value in row.items()} for row in self.rows)
        return text.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigError(
                "pandas must be installed for to_pandas, got none. Run: pip install pandas, or read compare.csv."
            ) from None
        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    def published_of(self, detector: str) -> list[PublishedRow]:
        """What is printed of a detector."""
        return [row for row in self.published if row.detector == detector]

    def _rows_of(self, entry: Entry) -> Iterator[dict[str, Any]]:
        trials = self.trials.get(entry.key, ())
        common = self._common(entry, trials)
        if not trials:
            yield dict.fromkeys(COLUMNS) | common | {"category": MEAN, "error": self.failures.get(entry.key)}
            return
        for name in sorted(trials[0].report.categories if trials[0].report else ()):
            yield dict.fromkeys(COLUMNS) | common | {"category": name} | _figures(trials, name)
        whole = {"category": MEAN, "error": self.failures.get(entry.key), **_stopped(trials), **_costs(trials)}
        yield dict.fromkeys(COLUMNS) | common | _figures(trials, None) | whole

    def _common(self, entry: Entry, trials: Sequence[Trial]) -> dict[str, Any]:
        """What is the same in all rows of an entry."""
        steps = trials[0].steps if trials else None
        printed = next((row for row in self.published_of(entry.detector) if row.steps is not None), None)
        shown = None if steps is None or printed is None else steps * entry.batch_size / printed.images_shown
        return {
            "detector": entry.detector,
            "encoder": entry.encoder,
            "seeds": len(trials),
            "image_px": None if not trials else "x".join(map(str, entry.image_px)),
            "steps": steps,
            "batch_size": None if steps is None else entry.batch_size,
            "published_steps": None if printed is None else printed.steps,
            "share_of_published": shown,
            "far_below_published": None if shown is None else shown < FAR_BELOW,
        }


def spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample deviation of those that are known; no deviation of one alone."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    return math.fsum(known) / len(known), statistics.stdev(known) if len(known) > 1 else None


def _figures(trials: Sequence[Trial], category: str | None) -> dict[str, float | None]:
    """Mean and deviation over seeds of each metric, of a category or of the mean over all."""
    found: dict[str, float | None] = {}
    reports = [trial.report for trial in trials if trial.report is not None]
    for metric in METRIC_NAMES:
        values = [
            report.mean[metric] if category is None else report.categories[category].values()[metric]
            for report in reports
        ]
        found[metric], found[f"{metric}_sd"] = spread(values)
    return found


def _stopped(trials: Sequence[Trial]) -> dict[str, float | None]:
    """Shares of good and of defective images above the runs' own limits for review."""
    return {
        f"{kind}_stopped": spread(
            [trial.stopped[f"{kind}_stopped"] / trial.stopped[kind] for trial in trials if trial.stopped.get(kind)]
        )[0]
        for kind in ("good", "bad")
    }


def _costs(trials: Sequence[Trial]) -> dict[str, float | None]:
    """Means over the seeds; the peak of memory is the largest."""
    found = {name: spread([getattr(trial, name) for trial in trials])[0] for name in _COSTS}
    peaks = [trial.memory_bytes for trial in trials if trial.memory_bytes is not None]
    found["memory_bytes"] = max(peaks, default=None)
    return found
