"""What a report says of parts that several photographs show: read from the run folder alone, judged at their limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muad.decisions.limit_setting import object_limits_in_force
from muad.decisions.object_limits import ObjectLimits, read_object_limits
from muad.decisions.object_scores import USUAL_SCORE
from muad.reporting.content import Counts
from muad.runs.object_rows import OBJECTS_FILE, ObjectRow, read_object_rows

if TYPE_CHECKING:
    from muad.decisions.limit_setting import CategoryResult
    from muad.decisions.limits import CategoryLimits
    from muad.metrics.object_report import ObjectReport
    from muad.metrics.report import Report

_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsContent:
    """The parts of one category.

    Attributes:
        name: The category.
        tested: Complete parts that were tested.
        incomplete: Parts that lack a view.
        views: Those that a part must have; empty where no limits of parts say.
        score: Which score counts.
        limits: Limits of parts, or None.
        calibrated: What calibration of parts gave, or None.
        good: What becomes of good parts at the limits; None without limits.
        bad: What becomes of defective ones.
        missed: Defective parts that pass, the first few.
        figures: Of the evaluation, or None.
    """

    name: str
    tested: int
    incomplete: int
    views: tuple[str, ...]
    score: str
    limits: CategoryLimits | None
    calibrated: CategoryResult | None
    good: Counts | None
    bad: Counts | None
    missed: tuple[ObjectRow, ...]
    figures: ObjectReport | None


def read_parts(run: Path, figures: Report | None) -> tuple[PartsContent, ...]:
    """What there is to say of parts, by category; empty for a run that never saw one from several views.

    Args:
        run: Run folder.
        figures: Its evaluation.

    Raises:
        DataError: Its scores of parts cannot be read.
        ConfigError: Its limits cannot be read.
        CheckpointError: Its calibration cannot be read.
    """
    rows = read_object_rows(run / OBJECTS_FILE) if (run / OBJECTS_FILE).is_file() else ()
    limits, calibrated = read_object_limits(run, ()), object_limits_in_force(run)
    names = sorted({*(row.category for row in rows), *({} if limits is None else limits.categories)})
    found = []
    for name in names:
        own = [row for row in rows if row.category == name]
        whole = [row for row in own if not row.missing]
        known = figures.categories.get(name) if figures is not None else None
        found.append(
            PartsContent(
                name=name,
                tested=len(whole),
                incomplete=len(own) - len(whole),
                views=() if limits is None else limits.views.get(name, ()),
                score=USUAL_SCORE if limits is None else limits.rules.score,
                limits=None if limits is None else limits.categories.get(name),
                calibrated=calibrated.get(name),
                good=_judge([row for row in whole if not row.is_anomalous], limits),
                bad=_judge([row for row in whole if row.is_anomalous], limits),
                missed=tuple(row for row in whole if row.is_anomalous and _verdict(row, limits) == "pass")[:_NAMED],
                figures=None if known is None else known.objects,
            )
        )
    return tuple(found)


def _verdict(row: ObjectRow, limits: ObjectLimits | None) -> str | None:
    return None if limits is None else limits.verdict(row.category, row.score(limits.rules.score), is_complete=True)


def _judge(rows: Sequence[ObjectRow], limits: ObjectLimits | None) -> Counts | None:
    """Verdicts counted; None where the category has no limits of parts."""
    verdicts = [_verdict(row, limits) for row in rows]
    if limits is None or None in verdicts:
        return None
    return Counts(
        total=len(rows),
        rejected=verdicts.count("reject"),
        review=verdicts.count("review"),
        passed=verdicts.count("pass"),
    )
