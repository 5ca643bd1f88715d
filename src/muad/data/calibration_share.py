"""Which good images are kept out of training, so that limits can be set on images the detector has not seen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from muad.data.content_hash import relative_name
from muad.data.near_duplicates import near_duplicate_groups, read_appearances

if TYPE_CHECKING:
    from muad.types import Record

LEAST_IMAGES = 19
"""A category that could keep fewer keeps none: they would be missed in training, and allow no limit at 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Good images of a data set, divided.

    Attributes:
        training: To train on, in the order they came in.
        calibration: Kept for calibration.
        notes: Sentences the user should see.
    """

    training: tuple[Record, ...]
    calibration: tuple[Record, ...]
    notes: tuple[str, ...]


def divide(
    records: Sequence[Record],
    share: float,
    root: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Division:
    """Keep a share of every category's good images for calibration.

    Images of one physical object, and near-duplicates, stay on one side. Which side is decided by a hash of the name of
    the first of them, so that it is the same everywhere and hardly moves when photographs are added later.

    Args:
        records: Good images.
        share: Part of each category to keep, 0 to 0.5; at most one group of images more than that.
        root: Folder of the data set, or its manifest; names are taken from it.
        progress: Called with images looked at, and in all.
    """
    if not share:
        return Division(training=tuple(records), calibration=(), notes=())
    kept: set[Path] = set()
    counts: dict[str, str] = {}
    too_few: dict[str, str] = {}
    undivided = done = 0
    for category in sorted({record.category for record in records}):
        own = [record for record in records if record.category == category]
        wanted = int(share * len(own))
        if wanted < LEAST_IMAGES:
            too_few[category] = f"{category} {len(own)}"
        else:
            groups = _groups(own, partial(_advance, progress, done, len(records)))
            chosen = _choose(own, groups, wanted, root)
            kept |= {own[index].path for index in chosen}
            counts[category] = f"{category} {len(chosen)} of {len(own)}"
            undivided += sum(len(group) > 1 for group in groups)
        done += len(own)
    return Division(
        training=tuple(record for record in records if record.path not in kept),
        calibration=tuple(record for record in records if record.path in kept),
        notes=tuple(_describe(share, counts, too_few, undivided)),
    )


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _groups(records: Sequence[Record], progress: Callable[[int, int], None]) -> list[tuple[int, ...]]:
    """Indices of all images, those that belong together in one group."""
    linked = near_duplicate_groups(read_appearances([record.path for record in records], progress))
    objects: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        if record.object_id is not None:
            objects.setdefault(record.object_id, []).append(index)
    group_of = {index: {index} for index in range(len(records))}
    for members in (*linked, *objects.values()):
        merged = set().union(*(group_of[index] for index in members))
        for index in merged:
            group_of[index] = merged
    return sorted({tuple(sorted(group)) for group in group_of.values()})


def _choose(records: Sequence[Record], groups: Sequence[tuple[int, ...]], wanted: int, root: Path) -> list[int]:
    """Indices of whole groups, in the order of their hash, until there are as many as wanted."""
    names = [relative_name(record.path, root) for record in records]

    def rank(group: tuple[int, ...]) -> bytes:
        # Of the first name, not the least hash of all: that would favour large groups.
        return hashlib.sha256(min(names[index] for index in group).encode("utf-8", "surrogateescape")).digest()

    chosen: list[int] = []
    for group in sorted(groups, key=rank):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(group) <= max(2 * wanted, wanted + 1) and len(group) < len(records):
            chosen.extend(group)
    return chosen


def _describe(share: float, counts: dict[str, str], too_few: dict[str, str], undivided: int) -> Iterator[str]:
    if counts:
        joined = f" ({undivided} groups of near-duplicates or of one object stay together)" if undivided else ""
        yield f"kept for calibration, not trained on: {', '.join(counts.values())} good images{joined}"
    if too_few:
        yield (
            f"too few good images to keep a share of {share:g} for calibration: {', '.join(too_few.values())}; about "
            f"{math.ceil(LEAST_IMAGES / share)} of a category are enough. Calibrate on other photographs: "
            "muad calibrate RUN GOOD_IMAGES"
        )
