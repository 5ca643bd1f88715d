"""Limits at the station: what is in force and what it promises, what another limit would have done, and setting one.

A limit is changed in the station's own copy of the bundle, whose history says who did it, and in the station's history
with the reason. What is at work takes it over with the next batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from muad.bundles.editing import run_folder
from muad.decisions.limit_edit import LimitSetting, set_limits
from muad.decisions.limit_setting import CategoryResult, limits_in_force
from muad.decisions.limits import ROUNDING, CategoryLimits, read_limits
from muad.errors import ConfigError
from muad.service.history import Change, History, InspectionFilter
from muad.service.history.search import MOST_ROWS
from muad.service.judging.models import LoadedModel

_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What other limits would have made of the parts of some time, by their scores alone.

    Attributes:
        parts: Parts with a score.
        before: How many of them pass, go to review and are rejected by the limits in force.
        after: The same by the others.
        changed: Ids of parts whose verdict would be another one, the latest first, at most 200.
        changes: How many there are.
    """

    parts: int
    before: Mapping[str, int]
    after: Mapping[str, int]
    changed: tuple[str, ...]
    changes: int


class StationLimits:
    """The limits of the models of a station.

    Args:
        history: Where changes are written down.
        note: Told where former limits are kept.
    """

    def __init__(self, history: History, note: Callable[[str], None] = lambda _: None) -> None:
        self._history, self._note = history, note
        self._changing = threading.Lock()

    def read(self, model: LoadedModel) -> dict[str, CategoryResult]:
        """What is in force, by category, and what it promises; empty where the model has no limits.

        Raises:
            ConfigError: The limits cannot be read as they are now.
        """
        if model.predictor.limits is None:
            return {}
        return limits_in_force(model.predictor.folder)

    def try_out(
        self,
        model: LoadedModel,
        category: str,
        review: float | None,
        reject: float | None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Trial:
        """What these limits would have made of the parts that this model judged.

        Args:
            model: Whose scores count: those of another model mean something else.
            category: The product.
            review: The lower limit; None for none.
            reject: The upper limit; None for none.
            since: Parts at or after it.
            until: Parts before it.

        Raises:
            ConfigError: The category is none of the model's, or review lies above reject.
        """
        require_category(model, category)
        if review is not None and reject is not None and review > reject:
            raise ConfigError(f"review must be at most reject {reject}, got {review}. Exchange them, or leave one out.")
        there = model.predictor.limits
        in_force = CategoryLimits() if there is None else there.categories.get(category, CategoryLimits())
        found = self._history.scores(category, since, until, model.id)
        before = _levels(found.scores, in_force.review, in_force.reject)
        after = _levels(found.scores, review, reject)
        differ = found.scores[before != after]
        wanted = InspectionFilter(judged_as=category, since=since, until=until, model_id=model.id)
        return Trial(
            parts=len(found.scores),
            before=_counts(before),
            after=_counts(after),
            changed=self._of_scores(differ, wanted),
            changes=len(differ),
        )

    def set(
        self, model: LoadedModel, category: str, values: Mapping[str, float | None], *, who: str, reason: str
    ) -> list[Change]:
        """Set limits of a product, and write down who did it and why.

        Args:
            model: Whose.
            category: The product.
            values: By `review`, `reject` or `map`; None takes a limit away.
            who: Whoever sets them.
            reason: In their words.

        Returns:
            What is written down: limits that are others than before.

        Raises:
            ConfigError: A category, a name or a value that cannot be, or no reason.
            DiskFullError: It could not be written down; nothing is changed.
        """
        require_category(model, category)
        if not reason.strip():
            raise ConfigError("reason must be given, got none. Say in a few words why the limit is changed.")
        foreign = next((name for name in values if name not in ("review", "reject", "map")), None)
        if foreign is not None or not values:
            raise ConfigError(f"limit must be review, reject or map, got {foreign or 'none'}.")
        with self._changing:
            if self._history.disk is not None:
                self._history.disk.require()
            settings = [LimitSetting(category=category, name=name, value=value) for name, value in values.items()]
            old, new = self._edit(model.path, category, settings, who)
            return [
                self._history.add_change(
                    who, "limit", f"{category}.{name}", old=_text(old, name), new=_text(new, name), reason=reason
                )
                for name in values
                if getattr(old, name) != getattr(new, name)
            ]

    def _of_scores(self, scores: np.ndarray, wanted: InspectionFilter) -> tuple[str, ...]:
        """The latest parts among those asked for that have one of these scores."""
        if not scores.size:
            return ()
        wanted = replace(wanted, score_from=float(scores.min()), score_to=float(scores.max()))
        known, found, cursor = set(scores.tolist()), list[str](), None
        while len(found) < _MOST_SHOWN:
            page = self._history.search(wanted, cursor, MOST_ROWS)
            found += [part.id for part in page.inspections if part.score in known]
            cursor = page.cursor
            if cursor is None:
                break
        return tuple(found[:_MOST_SHOWN])

    def _edit(
        self, path: Path, category: str, settings: Sequence[LimitSetting], who: str
    ) -> tuple[CategoryLimits, CategoryLimits]:
        """The limits of a product before and after."""
        with run_folder(path, by=f"station: {who}") as folder:
            old = _of(folder, category)
            set_limits(folder, settings, self._note)
            return old, _of(folder, category)


def require_category(model: LoadedModel, category: str) -> None:
    """Refuse a product that a model does not know.

    Raises:
        ConfigError: It does not.
    """
    known = model.predictor.categories
    if known and category not in known:
        raise ConfigError(f"category must be one of {', '.join(known)}, got {category[:40]!r}.")


def _of(folder: Path, category: str) -> CategoryLimits:
    limits = read_limits(folder, ())
    return CategoryLimits() if limits is None else limits.categories.get(category, CategoryLimits())


def _text(limits: CategoryLimits, name: str) -> str | None:
    value = getattr(limits, name)
    return None if value is None else repr(value)


def _levels(scores: np.ndarray, review: float | None, reject: float | None) -> np.ndarray:
    """0 for what passes, 1 for what goes to review, 2 for what is rejected."""
    levels = np.zeros(len(scores), np.int8)
    for level, limit in ((1, review), (2, reject)):
        if limit is not None:
            levels[scores > limit + ROUNDING * abs(limit)] = level
    return levels


def _counts(levels: np.ndarray) -> dict[str, int]:
    return {name: int((levels == level).sum()) for level, name in enumerate(("pass", "review", "reject"))}
