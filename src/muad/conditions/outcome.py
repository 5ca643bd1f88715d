"""What a run says of photographs under a condition, image by image and counted at its limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from muad.conditions.condition import Condition
from muad.decisions.binomial import binomial_at_most
from muad.metrics.report import METRIC_NAMES, CategoryReport, Report

if TYPE_CHECKING:
    from pathlib import Path

    from muad.decisions.limits import Limits

CHANCE = 0.05
"""A change of false alarms or misses as large as this chance brings in one of twenty cases is not said to be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOutcome:
    """What a run says of one photograph under one condition.

    Attributes:
        path: From the data set's folder, with forward slashes.
        category: What it shows.
        is_anomalous: The label.
        defect_type: Kind of defect, or None.
        score: What the detector gave.
        warnings: What the check of how it was taken has against it, such as `blurred`.
        looks_like: Which product it is recognised as; None where that was not asked.
    """

    path: str
    category: str
    is_anomalous: bool
    defect_type: str | None
    score: float
    warnings: tuple[str, ...] = ()
    looks_like: str | None = None

    @property
    def misnamed(self) -> bool:
        """Whether it is recognised as another product, or as none."""
        return self.looks_like not in (None, self.category)

    def passes(self, limits: Limits | None) -> bool | None:
        """Whether its score alone lets it pass; None where its category has no limits."""
        verdict = None if limits is None else limits.verdict(self.category, self.score)
        return None if verdict is None else verdict == "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """What becomes of the good, or of the defective, photographs of a category.

    Attributes:
        total: How many there are.
        rejected: Above the upper limit, by the score alone; None without limits, like the next two.
        review: Between the limits.
        passed: The rest: of good ones as it should be, of defective ones misses.
        warned: Flagged by the check of how they were taken.
        misnamed: Recognised as another product or as none; None where products are not recognised.
        unnoticed: Passed, and neither flagged nor misnamed: what goes on to the customer.
    """

    total: int
    rejected: int | None
    review: int | None
    passed: int | None
    warned: int
    misnamed: int | None
    unnoticed: int | None

    @property
    def stopped(self) -> int | None:
        """Those that do not pass by their score: of good ones false alarms."""
        return None if self.passed is None else self.total - self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryOutcome:
    """One category under one condition.

    Attributes:
        figures: The seven metrics.
        good: What becomes of its good photographs.
        anomalous: What becomes of its defective ones.
        more_alarms: Whether more good photographs are stopped than unchanged, beyond chance.
        more_misses: Whether more defective ones pass, beyond chance.
    """

    figures: CategoryReport
    good: LabelCounts
    anomalous: LabelCounts
    more_alarms: bool = False
    more_misses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionOutcome:
    """All categories under one condition.

    Attributes:
        condition: Which.
        report: The figures of all categories.
        rows: Every photograph.
        categories: What became of each category.
    """

    condition: Condition
    report: Report
    rows: tuple[ImageOutcome, ...]
    categories: Mapping[str, CategoryOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionsReport:
    """A run under all conditions, the photographs as they are first.

    Attributes:
        run: Run folder or bundle.
        data: The data set.
        data_hash: Content hash of the photographs that were looked at.
        protocol: Of the figures.
        seed: By which photographs were chosen and changed.
        most_images: Good, and defective, photographs of each category at most; 0 for all.
        has_limits: Whether the run judges by limits.
        checks_capture: Whether the run has learned how photographs are taken.
        conditions: What was found; of an interrupted study, what was finished.
        folder: Where the files lie.
    """

    run: Path
    data: Path
    data_hash: str
    protocol: str
    seed: int
    most_images: int
    has_limits: bool
    checks_capture: bool
    folder: Path
    conditions: tuple[ConditionOutcome, ...] = field(default=())

    @property
    def page(self) -> Path:
        """What people look at."""
        return self.folder / "conditions.html"

    def to_json(self) -> dict[str, Any]:
        """The whole as plain values, as in `conditions.json`; scores of single photographs are in `finished/`."""
        return {
            "run": str(self.run),
            "data": str(self.data),
            "data_hash": self.data_hash,
            "protocol": self.protocol,
            "seed": self.seed,
            "images_per_label": self.most_images,
            "has_limits": self.has_limits,
            "checks_capture": self.checks_capture,
            "conditions": [
                {
                    "condition": found.condition.name,
                    "meaning": found.condition.words,
                    "mean": found.report.mean,
                    "categories": {
                        name: {
                            "figures": own.figures.values(),
                            "good": asdict(own.good),
                            "anomalous": asdict(own.anomalous),
                            "more_alarms": own.more_alarms,
                            "more_misses": own.more_misses,
                        }
                        for name, own in found.categories.items()
                    },
                }
                for found in self.conditions
            ],
        }


def count(
    condition: Condition,
    report: Report,
    rows: Sequence[ImageOutcome],
    unchanged: Sequence[ImageOutcome],
    limits: Limits | None,
) -> ConditionOutcome:
    """Outcomes counted at the limits of the run as they are now.

    Args:
        condition: Under which they are.
        report: Their figures.
        rows: What the run says of each photograph.
        unchanged: The same photographs as they are.
        limits: Those of the run; never set here.
    """
    before = {row.path: row.passes(limits) for row in unchanged}
    categories = {}
    for name, figures in report.categories.items():
        own = [row for row in rows if row.category == name]
        good, bad = ([row for row in own if row.is_anomalous is wanted] for wanted in (False, True))
        categories[name] = CategoryOutcome(
            figures=figures,
            good=_counts(good, limits),
            anomalous=_counts(bad, limits),
            more_alarms=_more(before, good, limits, passing=False),
            more_misses=_more(before, bad, limits, passing=True),
        )
    return ConditionOutcome(condition=condition, report=report, rows=tuple(rows), categories=categories)


def total(counts: Iterable[LabelCounts]) -> LabelCounts:
    """Those of several categories together; None where one of them is not known."""
    each = list(counts)

    def summed(name: str) -> int | None:
        values = [getattr(one, name) for one in each]
        return None if None in values else sum(values)

    return LabelCounts(
        total=sum(one.total for one in each),
        warned=sum(one.warned for one in each),
        **{name: summed(name) for name in ("rejected", "review", "passed", "misnamed", "unnoticed")},
    )


def csv_rows(found: ConditionsReport) -> Iterable[Sequence[object]]:
    """A table of conditions and categories, its header first."""
    sides = ("total", "rejected", "review", "passed", "warned", "misnamed", "unnoticed")
    header = [f"{label}_{side}" for label in ("good", "anomalous") for side in sides]
    yield ("condition", "category", *METRIC_NAMES, *header)
    for one in found.conditions:
        for name, own in one.categories.items():
            counts = [getattr(label, side) for label in (own.good, own.anomalous) for side in sides]
            yield (one.condition.name, name, *own.figures.values().values(), *counts)


def _counts(rows: Sequence[ImageOutcome], limits: Limits | None) -> LabelCounts:
    verdicts = [None if limits is None else limits.verdict(row.category, row.score) for row in rows]
    known = limits is not None and None not in verdicts
    named = [row for row in rows if row.looks_like is not None]
    passed = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict == "pass"]
    return LabelCounts(
        total=len(rows),
        rejected=verdicts.count("reject") if known else None,
        review=verdicts.count("review") if known else None,
        passed=len(passed) if known else None,
        warned=sum(bool(row.warnings) for row in rows),
        misnamed=sum(row.misnamed for row in named) if named or not rows else None,
        unnoticed=sum(not row.warnings and not row.misnamed for row in passed) if known else None,
    )


def _more(
    before: Mapping[str, bool | None], rows: Sequence[ImageOutcome], limits: Limits | None, *, passing: bool
) -> bool:
    """Whether more pass, or fewer, than unchanged, beyond chance: a one-sided sign test on those that moved."""
    now = {row.path: row.passes(limits) for row in rows}
    moved = [after for path, after in now.items() if None not in (after, before.get(path)) and after != before[path]]
    there = sum(after is passing for after in moved)
    return bool(moved) and 1 - binomial_at_most(there - 1, len(moved), 0.5) <= CHANCE
