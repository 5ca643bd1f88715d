"""Limits of parts that several photographs show: one score, one verdict, and what is said where a view is missing.

They lie in `limits.toml`, below those of single photographs, and may be edited like them:

    [objects]
    grouping = "{object}_{view}"   how photographs become parts: folder, a pattern of names, or manifest
    score = "mean_top"             mean of the largest 1 % of all views' map values, or "max" of the views' scores

    [objects.categories.box]
    views = ["left", "top"]        those that a part must have
    review = 0.31                  as for photographs, but of scores of parts
    review_rate = 0.05
    reject = 0.35
    reject_rate = 0.05

A part with a missing view never passes. Its score is what it is at least (`object_scores`), so where that is above the
reject limit the part is rejected, whatever the missing view shows; else it is `incomplete`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from muad.decisions.conformal import p_values
from muad.decisions.limits import (
    LIMITS_FILE,
    Calibration,
    CategoryLimits,
    Verdict,
    is_above,
    read_calibration,
    read_limits_file,
)
from muad.decisions.object_scores import ObjectRules
from muad.errors import ConfigError

ObjectVerdict = Verdict | Literal["incomplete"]
NO_OBJECT_LIMITS = "no limits for parts of several views: run muad calibrate with --objects"
_NUMBERS = ("review", "reject", "review_rate", "reject_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLimits:
    """How a run judges parts.

    Attributes:
        rules: How photographs become parts, and which score counts.
        categories: Limits by category, in scores of parts.
        views: By category, the views that a part must have.
        calibration: By category, rising scores of good parts.
    """

    rules: ObjectRules
    categories: Mapping[str, CategoryLimits]
    views: Mapping[str, tuple[str, ...]]
    calibration: Mapping[str, Sequence[float]]

    def verdict(self, category: str | None, score: float, *, is_complete: bool) -> ObjectVerdict | None:
        """What to do with a part of this score; None where its category has no limits for parts.

        Args:
            category: What it is.
            score: Of all views; of an incomplete part what it is at least.
            is_complete: Whether all views are there.
        """
        limits = self.categories.get(category) if category is not None else None
        if limits is None or (limits.review is None and limits.reject is None):
            return None
        if limits.reject is not None and is_above(score, limits.reject):
            return "reject"
        if not is_complete:
            return "incomplete"
        return "review" if limits.review is not None and is_above(score, limits.review) else "pass"

    def p_value(self, category: str | None, score: float) -> float | None:
        """How usual the score is for a good part, in (0, 1]; None where that is not known."""
        known = self.calibration.get(category) if category is not None else None
        return float(p_values(np.array([score]), np.array(known))[0]) if known else None


def read_object_limits(run: Path, categories: Sequence[str]) -> ObjectLimits | None:
    """The limits of parts as they are now; None if there are none.

    Args:
        run: Run folder.
        categories: Those the run was trained on; empty if that is not known.

    Raises:
        ConfigError: `limits.toml` holds what it must not.
        CheckpointError: `calibration.json` cannot be read.
    """
    values = read_limits_file(run)
    if values is None or "objects" not in values:
        return None
    return check_object_limits(values["objects"], categories, read_calibration(run))


def read_object_rules(run: Path) -> ObjectRules:
    """How photographs become parts: as `limits.toml` says, else `calibration.json`, else as usual.

    Raises:
        ConfigError: `limits.toml` holds what it must not.
        CheckpointError: `calibration.json` cannot be read.
    """
    found = read_object_limits(run, ())
    if found is not None:
        return found.rules
    stored = read_calibration(run)
    return ObjectRules() if stored is None else stored.object_rules


def check_object_limits(table: Any, categories: Sequence[str], calibration: Calibration | None) -> ObjectLimits:  # noqa: ANN401  whatever TOML holds
    """The table `[objects]` of a `limits.toml`.

    Raises:
        ConfigError: It holds what it must not.
    """
    if not isinstance(table, dict) or not isinstance(table.get("categories", {}), dict):
        raise ConfigError(
            f"{LIMITS_FILE}: objects must be a table with tables [objects.categories.bolt], got {table!r}."
        )
    for name in table:
        if name not in ("grouping", "score", "categories"):
            raise ConfigError(f"{LIMITS_FILE}: objects must hold grouping, score and categories, got {name!r}.")
    grouping = table.get("grouping", "")
    if not isinstance(grouping, str):
        raise ConfigError(f"{LIMITS_FILE}: objects.grouping must be text, got {grouping!r}.")
    rules = ObjectRules(grouping=grouping, score=table.get("score", ObjectRules().score))
    tables = table.get("categories", {})
    unknown = next((name for name in tables if categories and name not in categories), None)
    if unknown is not None:
        raise ConfigError(f"{LIMITS_FILE} must name categories of the run, {', '.join(categories)}, got {unknown}.")
    stored = {} if calibration is None else calibration.objects
    return ObjectLimits(
        rules=rules,
        categories={name: _limits(name, own) for name, own in tables.items()},
        views={name: tuple(own["views"]) for name, own in tables.items()},
        calibration={name: own.scores[rules.score].scores for name, own in stored.items()},
    )


def _limits(category: str, table: Any) -> CategoryLimits:  # noqa: ANN401  whatever TOML holds
    where = f"{LIMITS_FILE}: objects.categories.{category}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table of views, {', '.join(_NUMBERS)}, got {table!r}.")
    views = table.get("views")
    if not isinstance(views, list) or not views or not all(isinstance(view, str) and view for view in views):
        raise ConfigError(f"{where}.views must be a list of at least one name, got {views!r}.")
    if len(set(views)) < len(views):
        raise ConfigError(f"{where}.views must name each view once, got {views!r}.")
    for name, value in table.items():
        if name not in ("views", *_NUMBERS):
            raise ConfigError(f"{where} must hold only views, {', '.join(_NUMBERS)}, got {name!r}.")
        if name == "views":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f"{where}.{name} must be a number, got {value!r}. Leave the line out to have no limit.")
        if name.endswith("_rate") and not 0 < value < 1:
            raise ConfigError(f"{where}.{name} must be above 0 and below 1, got {value!r}. Leave the line out.")
    limits = CategoryLimits(**{name: float(table[name]) for name in _NUMBERS if name in table})
    if limits.review is not None and limits.reject is not None and limits.review > limits.reject:
        raise ConfigError(f"{where}.review must be at most reject {limits.reject}, got {limits.review}.")
    return limits
