"""Parts that several test photographs show: their labels, scores and figures, put together map by map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muad.decisions.object_scores import OBJECT_SCORES, Largest, largest_of, object_scores
from muad.metrics.object_report import OBJECT_METRICS, ObjectReport
from muad.metrics.ranking import rank_metrics
from muad.runs.object_rows import ObjectRow

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from muad.types import Record


@dataclass(slots=True)
class _Part:
    """What is known of a part so far."""

    views: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    largest: list[Largest] = field(default_factory=list)
    defects: list[str | None] = field(default_factory=list)
    is_anomalous: bool = False


class ObjectCollection:
    """The parts of some test photographs; photographs without part and view are left alone.

    Of each map only what can be among the largest 1 % of its part is kept: a hundredth of it for each view.

    Args:
        records: All photographs that will come.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        keys = [(record.category, record.object_id) for record in records if _is_view(record)]
        self._counts = Counter(keys)
        self._views: dict[str, Counter[str]] = {}
        for record in records:
            if record.view is not None and record.object_id is not None:
                self._views.setdefault(record.category, Counter())[record.view] += 1
        self._parts: dict[tuple[str, str], _Part] = {}
        self._by_view: dict[tuple[str, str], list[tuple[bool, float]]] = {}

    def add(
        self, records: Sequence[Record], scores: Sequence[float], values: Sequence[Float[np.ndarray, " m"]], whole: int
    ) -> None:
        """Take in photographs that were scored.

        Args:
            records: The photographs.
            scores: Their scores.
            values: Of the map of each, those that count.
            whole: How many values a map has that counts everywhere.
        """
        for record, score, own in zip(records, scores, values, strict=True):
            if record.object_id is None or record.view is None:
                continue
            most = len(self._views[record.category]) + self._counts[record.category, record.object_id]
            part = self._parts.setdefault((record.category, record.object_id), _Part())
            part.views.append(record.view)
            part.scores.append(score)
            part.largest.append(largest_of(own, most, whole))
            part.defects.append(record.defect_type)
            part.is_anomalous |= record.is_anomalous
            self._by_view.setdefault((record.category, record.view), []).append((record.is_anomalous, score))

    def rows(self) -> list[ObjectRow]:
        """Every part with its scores, by category and name; none where no part has several photographs."""
        found = []
        for (category, name), part in sorted(self._parts.items()):
            expected = self._views[category]
            if len(expected) < 2:
                continue
            missing = tuple(view for view in sorted(expected) if view not in part.views)
            both = object_scores(part.scores, part.largest, len(part.views) + len(missing))
            defects = sorted({kind for kind in part.defects if kind is not None})
            found.append(
                ObjectRow(
                    name=name,
                    category=category,
                    is_anomalous=part.is_anomalous,
                    defect_type=", ".join(defects) or None,
                    views=len(part.views),
                    missing=missing,
                    highest_view=max(zip(part.scores, part.views, strict=True))[1],
                    mean_top=both["mean_top"],
                    max=both["max"],
                )
            )
        return found

    def report(self, category: str, rows: Sequence[ObjectRow]) -> ObjectReport | None:
        """Figures of the complete parts of a category; None where it has no parts of several views."""
        own = [row for row in rows if row.category == category]
        if not own:
            return None
        whole = [row for row in own if not row.missing]
        labels = [row.is_anomalous for row in whole]
        figures: dict[str, dict[str, float | None]] = {}
        for score in OBJECT_SCORES:
            found = rank_metrics(labels, [row.score(score) for row in whole])
            values = (found.auroc, found.average_precision, found.f1_max)
            figures[score] = dict(zip(OBJECT_METRICS, values, strict=True))
        views = {}
        for view in sorted(self._views[category]):
            judged = self._by_view.get((category, view), [])
            views[view] = rank_metrics([label for label, _ in judged], [score for _, score in judged]).auroc
        return ObjectReport(
            count=len(whole), anomalous=sum(labels), incomplete=len(own) - len(whole), figures=figures, views=views
        )


def _is_view(record: Record) -> bool:
    return record.object_id is not None and record.view is not None
