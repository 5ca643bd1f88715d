"""Figures of parts that several photographs show: how well their scores rank them, by each way of making one score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muad.errors import DataError

OBJECT_METRICS = ("object_auroc", "object_ap", "object_f1_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReport:
    """The parts of one category.

    Attributes:
        count: Complete parts, on which the figures are.
        anomalous: Those of them of which at least one photograph is anomalous.
        incomplete: Parts that lack a view and were left out.
        figures: By score (`mean_top`, `max`), its `OBJECT_METRICS` in [0, 1]; None where undefined.
        views: By view, the area under the ROC curve of the scores of its photographs; None where undefined.
    """

    count: int
    anomalous: int
    incomplete: int
    figures: Mapping[str, Mapping[str, float | None]]
    views: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for values in (*self.figures.values(), self.views):
            for name, value in values.items():
                if value is not None and not 0 <= value <= 1:
                    raise DataError(f"{name} must be in [0, 1] or None, got {value}. Pass a fraction, not percent.")

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "count": self.count,
            "anomalous": self.anomalous,
            "incomplete": self.incomplete,
            "figures": {score: dict(values) for score, values in self.figures.items()},
            "views": dict(self.views),
        }

    @classmethod
    def from_json(cls, data: object, where: str) -> ObjectReport:
        """The report that `to_json` gave.

        Args:
            data: The parsed JSON.
            where: What to call it in an error.

        Raises:
            DataError: It is no such report.
        """
        names = {"count", "anomalous", "incomplete", "figures", "views"}
        if not isinstance(data, Mapping) or set(data) != names:
            raise DataError(
                f"{where} must have the keys {', '.join(sorted(names))}, got {data!r:.100}. Evaluate again."
            )
        counts = {name: data[name] for name in ("count", "anomalous", "incomplete")}
        if not all(type(value) is int and value >= 0 for value in counts.values()):
            raise DataError(f"{where} must count parts in whole numbers, got {counts}. Evaluate again.")
        figures, views = data["figures"], data["views"]
        tables = [*figures.values(), views] if isinstance(figures, Mapping) else [None]
        if not all(isinstance(table, Mapping) and all(map(_is_figure, table.values())) for table in tables):
            raise DataError(f"{where} must hold numbers or null, got {data!r:.100}. Evaluate again.")
        if any(set(values) != set(OBJECT_METRICS) for values in figures.values()):
            raise DataError(f"{where}.figures must hold {', '.join(OBJECT_METRICS)}, got others. Evaluate again.")
        return cls(**counts, figures=figures, views=views)


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
