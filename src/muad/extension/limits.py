"""Limits of an extended run: those of old products stay unless their scores moved, new products get their own.

A limit set by hand is never touched; it is told of where its product moved.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from muad._version import __version__
from muad.decisions.limit_history import is_edited, replace_text, write_limits
from muad.decisions.limit_setting import CategoryResult, limits_text, results_of
from muad.decisions.limits import (
    CALIBRATION_FILE,
    LIMITS_FILE,
    Calibration,
    CategoryLimits,
    check_limits,
    read_calibration,
    read_limits,
    read_rates,
)
from muad.runs.category_tables import with_table, without_category
from muad.runs.history import LimitsFate, Movement

if TYPE_CHECKING:
    from muad.decisions.calibration_scores import Scored

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLimits:
    """What became of limits.

    Attributes:
        results: Of products whose limits were set now.
        movements: As they were given, with what became of each product's limits.
    """

    results: Mapping[str, CategoryResult]
    movements: Mapping[str, Movement]


def settle_limits(
    draft: Path,
    categories: Sequence[str],
    weights: str,
    moved: Mapping[str, bool],
    scored: Mapping[str, Scored],
    movements: Mapping[str, Movement],
    note: Notice,
) -> SettledLimits:
    """Put the limits of a run in force whose weights are others now.

    Args:
        draft: Its folder, with the limits and the scores of the run before.
        categories: All its products.
        weights: Digest of the new weights.
        moved: By old product, whether its scores moved beyond the bound.
        scored: Scores by the new weights, of new products and of those that moved.
        movements: Of old products.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: The limits cannot be read.
        CheckpointError: The folder cannot be written.
    """
    before, limits = read_calibration(draft), read_limits(draft, ())
    in_force = {} if limits is None else dict(limits.categories)
    by_hand = {name for name in in_force if _is_by_hand(before, name, in_force)}
    anew = [name for name in categories if name in scored and name not in by_hand]
    edited = is_edited(draft, before)
    found = before or Calibration(muad=__version__, weights=weights, limits_digest="", rates=read_rates(draft), good={})
    good = {**found.good, **scored}
    stale = {name for name, is_so in moved.items() if is_so}
    found = replace(
        found,
        muad=__version__,
        weights=weights,
        rates=read_rates(draft),
        good=good,
        cross_fit={name: own for name, own in found.cross_fit.items() if name not in stale},
        bad={name: own for name, own in found.bad.items() if name not in stale},
        objects={name: own for name, own in found.objects.items() if name not in stale},
    )
    for name in sorted(stale & {*(before.objects if before else ())}):
        note(f"{name}: limits of whole parts were of the detector before and are gone; set them: muad calibrate")
    for name in sorted(stale & {*(before.cross_fit if before else ()), *(before.bad if before else ())}):
        note(f"{name}: scores of cross-fitting and of bad images were of the detector before and are left out")
    given = results_of(found, categories)
    results = {name: given[name] for name in anew}
    if in_force or results:
        _write(draft, found, before, categories, given, anew, in_force, edited, note)
    after = read_limits(draft, ())
    now = {} if after is None else after.categories
    return SettledLimits(
        results=results,
        movements={
            name: dataclasses.replace(
                movement,
                limits=_fate(name, in_force, by_hand, anew),
                review=_pair(name, "review", in_force, now),
                reject=_pair(name, "reject", in_force, now),
            )
            for name, movement in movements.items()
        },
    )


def drop_limits(draft: Path, category: str) -> None:
    """Take a product out of limits and scores, and what they were before out of the folder, which would name it.

    Raises:
        ConfigError: The limits cannot be read.
        CheckpointError: The folder cannot be written.
    """
    before, path = read_calibration(draft), draft / LIMITS_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    edited = is_edited(draft, before)
    for file in (path, draft / CALIBRATION_FILE):
        file.unlink(missing_ok=True)
    left = None if text is None else without_category(without_category(text, category), category, "objects")
    if before is not None:
        good, bad, crossed = (
            {name: own for name, own in scored.items() if name != category}
            for scored in (before.good, before.bad, before.cross_fit)
        )
        # A file edited by hand stays known as such: its digest is not that of any file.
        parts = {name: own for name, own in before.objects.items() if name != category}
        others = replace(before, good=good, bad=bad, cross_fit=crossed, objects=parts)
        write_limits(draft, others, None if edited else left, lambda _: None)
    if left is not None and (before is None or edited):
        replace_text(draft, left, lambda _: None)


def _write(
    draft: Path,
    found: Calibration,
    before: Calibration | None,
    categories: Sequence[str],
    given: Mapping[str, CategoryResult],
    anew: Sequence[str],
    in_force: Mapping[str, CategoryLimits],
    edited: bool,
    note: Notice,
) -> None:
    """Write the files; into one that somebody edited only the tables of products whose limits are set anew."""
    path = draft / LIMITS_FILE
    if edited and before is not None:
        text = path.read_text(encoding="utf-8")
        for name in anew:
            alone = limits_text(replace(found, objects={}), {name: given[name]})
            text = with_table(without_category(text, name), alone[alone.index("\n[") :])
        for name in before.objects.keys() - found.objects.keys():
            text = without_category(text, name, "objects")
        check_limits(tomllib.loads(text), categories)
        write_limits(draft, found, None, note)
        if text != path.read_text(encoding="utf-8"):
            replace_text(draft, text, note)
        return
    known = results_of(found, categories, in_force)
    results = {name: given[name] if name in anew or name not in in_force else known[name] for name in categories}
    write_limits(draft, found, limits_text(found, results), note)


def _is_by_hand(before: Calibration | None, name: str, in_force: Mapping[str, CategoryLimits]) -> bool:
    if before is None:
        return True
    result = results_of(before, [name], in_force)[name]
    return result.review.by_hand or result.reject.by_hand


def _fate(name: str, in_force: Mapping[str, CategoryLimits], by_hand: set[str], anew: Sequence[str]) -> LimitsFate:
    if name in anew:
        return "set anew"
    if name not in in_force:
        return "none"
    return "kept, set by hand" if name in by_hand else "kept"


def _pair(
    name: str, limit: str, before: Mapping[str, CategoryLimits], after: Mapping[str, CategoryLimits]
) -> tuple[float | None, float | None]:
    return getattr(before.get(name), limit, None), getattr(after.get(name), limit, None)
