"""Scores of good parts that several photographs show, put together while their photographs are scored one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from muad.datasets.alike import joined
from muad.datasets.tree import name_some
from muad.decisions.calibration_scores import ObjectScored, Scored
from muad.decisions.object_scores import OBJECT_SCORES, Largest, ObjectScore, object_scores
from muad.wording import counted

if TYPE_CHECKING:
    from muad.datasets.grouping import Placed
    from muad.runtime.prediction import ImagePrediction

Notice = Callable[[str], None]
_LEAST_SHARE = 0.5
"""Of the parts that must have a view for all to need it."""


@dataclass(slots=True)
class _Part:
    """A part on its way: its views, photographs that were scored, and how many there are in all."""

    photographs: int = 0
    views: list[str] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    largest: list[Largest] = field(default_factory=list)
    peak: float = float("-inf")
    both: dict[ObjectScore, float] | None = None


class ObjectScoring:
    """Collects predictions of photographs and makes parts of them.

    Args:
        places: Part and view of photographs, by path.
        images: Photographs that will be scored, by category.
    """

    def __init__(self, places: Mapping[Path, Placed], images: Mapping[str, Sequence[Path]]) -> None:
        self._places = places
        self._parts: dict[str, dict[str, _Part]] = {}
        self._alone: Counter[str] = Counter()
        for category, paths in images.items():
            for path in paths:
                if path in places:
                    self._part(category, path).photographs += 1
                else:
                    self._alone[category] += 1

    def views_beside(self, category: str, path: Path) -> int:
        """How many photographs show the same part; 0 for one of no part."""
        return self._part(category, path).photographs if path in self._places else 0

    def add(self, category: str, prediction: ImagePrediction, peak: float) -> None:
        """Take in a photograph that was scored, if it is one of a part."""
        path = prediction.path
        if path is None or path not in self._places or prediction.score is None or prediction.largest is None:
            return
        part = self._part(category, path)
        part.views.append(self._places[path].view)
        part.paths.append(path)
        part.scores.append(prediction.score)
        part.largest.append(prediction.largest)
        part.peak = max(part.peak, peak)
        if len(part.scores) == part.photographs:
            part.both = object_scores(part.scores, part.largest)
            part.largest.clear()  # thousands of parts need not stay in memory

    def scored(
        self, alike: Mapping[str, Sequence[Sequence[Path]]], source: str, data_hash: Mapping[str, str], note: Notice
    ) -> dict[str, ObjectScored]:
        """What limits of parts are set from, by category.

        Views that at least half of the parts have are those that every part must have; parts that lack one, or have
        another, are left out and named. Parts that look the same count once, by the largest score.

        Args:
            alike: By category, photographs that show the same picture or part.
            source: Where the photographs were, for people.
            data_hash: Of the photographs, by category.
            note: Called with sentences the user should see.
        """
        found = {}
        for category, parts in self._parts.items():
            views = _expected(parts.values())
            whole = {name: part for name, part in parts.items() if part.both and sorted(part.views) == list(views)}
            if odd := sorted(parts.keys() - whole.keys()):
                note(
                    f"{category}: left out of the limits of parts, because they have not one photograph of each view "
                    f"({', '.join(views)}): {counted(len(odd), 'part')}, {name_some(odd)}"
                )
            if self._alone[category]:
                note(f"{category}: of {self._alone[category]} photographs it is not known which part they show")
            if len(views) < 2 or not whole:
                continue
            groups = _once(whole, alike.get(category, ()))
            scores = {
                score: Scored(
                    scores=tuple(sorted(max(_both(part)[score] for part in group) for group in groups)),
                    map_peaks=tuple(sorted(max(part.peak for part in group) for group in groups)),
                    images=len(whole),
                    data_hash=data_hash[category],
                    source=source,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                )
                for score in OBJECT_SCORES
            }
            found[category] = ObjectScored(views=views, scores=scores)
        return found

    def _part(self, category: str, path: Path) -> _Part:
        return self._parts.setdefault(category, {}).setdefault(self._places[path].part, _Part())


def _expected(parts: Collection[_Part]) -> tuple[str, ...]:
    """Views that at least half of the parts have, sorted."""
    counts = Counter(view for part in parts for view in set(part.views))
    return tuple(sorted(view for view, count in counts.items() if count >= _LEAST_SHARE * len(parts)))


def _both(part: _Part) -> dict[ObjectScore, float]:
    return part.both or {}


def _once(parts: Mapping[str, _Part], alike: Sequence[Sequence[Path]]) -> list[list[_Part]]:
    """Parts in groups of those that look the same."""
    names = list(parts)
    number = {path: index for index, name in enumerate(names) for path in parts[name].paths}
    same = [sorted({number[path] for path in group if path in number}) for group in alike]
    return [
        [parts[names[index]] for index in group] for group in joined(len(names), [group for group in same if group])
    ]
