"""`conditions.html`: what to expect when light, lens or pose change, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muad.conditions.condition import UNCHANGED
from muad.conditions.outcome import CHANCE, total
from muad.metrics.report import METRIC_NAMES
from muad.reporting.page import render, write_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muad.conditions.outcome import ConditionOutcome, ConditionsReport, LabelCounts
    from muad.conditions.worst import Worst

_HEADINGS = ("image AUROC", "image AP", "image F1-max", "pixel AUROC", "pixel AP", "pixel F1-max", "AUPRO")


def write_conditions_page(found: ConditionsReport, worst: Sequence[Worst], asked: int) -> None:
    """Write the page of a study.

    Args:
        found: What is finished.
        worst: Pictures for it.
        asked: How many conditions there will be.

    Raises:
        DataError: The file cannot be written.
    """
    categories = list(found.conditions[0].categories)
    values = {
        "name": found.run.absolute().name,
        "found": found,
        "asked": asked,
        "categories": categories,
        "totals": {
            one.condition.name: {
                "good": total(own.good for own in one.categories.values()),
                "anomalous": total(own.anomalous for own in one.categories.values()),
                "more_alarms": [name for name, own in one.categories.items() if own.more_alarms],
                "more_misses": [name for name, own in one.categories.items() if own.more_misses],
            }
            for one in found.conditions
        },
        "metrics": list(zip(METRIC_NAMES, _HEADINGS, strict=True)),
        "sentences": list(sentences(found)),
        "worst": worst,
        "unchanged": UNCHANGED,
        "chance": CHANCE,
        "part": part,
    }
    write_page(render("conditions.html", values), found.page)


def sentences(found: ConditionsReport) -> Iterator[str]:
    """What stands out, the conditions with most false alarms and misses first; nothing where there are no limits."""
    if not found.has_limits or not found.conditions:
        return
    changed = found.conditions[1:]
    for one in sorted(changed, key=lambda one: -_stopped(one)):
        for name, own in one.categories.items():
            before = found.conditions[0].categories[name]
            if own.more_alarms:
                yield (
                    f"{one.condition.words}: of good {name} {part(own.good.stopped, own.good.total)} are stopped, "
                    f"{part(before.good.stopped, before.good.total)} as photographed; the check of the capture flags "
                    f"{part(own.good.warned, own.good.total)}"
                )
            if own.more_misses:
                yield (
                    f"{one.condition.words}: of defective {name} {part(own.anomalous.passed, own.anomalous.total)} "
                    f"pass, {part(before.anomalous.passed, before.anomalous.total)} as photographed; "
                    f"{part(own.anomalous.unnoticed, own.anomalous.total)} pass without any warning"
                )


def part(count: int | None, whole: int) -> str:
    """So many of so many, as people read it.

    Example:
        >>> part(3, 40), part(None, 40)
        ('3 of 40', '–')
    """
    return "\N{EN DASH}" if count is None or not whole else f"{count} of {whole}"


def _stopped(one: ConditionOutcome) -> float:
    def share(counts: LabelCounts, value: int | None) -> float:
        return (value or 0) / max(1, counts.total)

    return max(
        (share(own.good, own.good.stopped) + share(own.anomalous, own.anomalous.passed))
        for own in one.categories.values()
    )


def table_rows(found: ConditionsReport) -> Iterator[dict[str, Any]]:
    """One row for each condition and category, for tables in text."""
    for one in found.conditions:
        for name, own in one.categories.items():
            yield {
                "condition": one.condition.name,
                "category": name,
                "image_auroc": own.figures.image_auroc,
                "pixel_ap": own.figures.pixel_ap,
                "rejected": part(own.good.rejected, own.good.total),
                "stopped": part(own.good.stopped, own.good.total),
                "missed": part(own.anomalous.passed, own.anomalous.total),
                "unnoticed": part(own.anomalous.unnoticed, own.anomalous.total),
                "warned_good": part(own.good.warned, own.good.total),
                "warned_bad": part(own.anomalous.warned, own.anomalous.total),
                "misnamed": part(own.good.misnamed, own.good.total),
                "more_alarms": own.more_alarms,
                "more_misses": own.more_misses,
            }
