"""Which good images are kept out of training, so that limits can be set on images the detector has not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muad.datasets.content_hash import relative_name

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Record

LEAST_IMAGES = 10
"""From a category with fewer good images none are kept: training needs them all."""
_WANTED_GROUPS = 19  # a limit at 5 %, the usual review rate, needs so many
_LARGEST_PART = 3  # of few images, at most one in three is kept for it

Groups = Sequence[Sequence["Record"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Good images of a data set, divided.

    Attributes:
        training: To train on, in the order they came in.
        calibration: Kept for calibration.
        alike: Those of them that show the same picture or object as another, in groups of two or more.
        notes: Sentences the user should see.
    """

    training: tuple[Record, ...]
    calibration: tuple[Record, ...]
    alike: tuple[tuple[Record, ...], ...]
    notes: tuple[str, ...]


def groups_to_keep(count: int, share: float) -> int:
    """How many of `count` different good images are kept for calibration.

    It is the share; of few images it is up to a third, until there are the 19 that a limit at 5 % needs. Of 10 images 3
    are kept (a limit at 25 %), of 48 16 (5.9 %), of 57 to 95 19 (5 %), of more a fifth at the usual share. A third is
    missed in training, but a limit at 25 or 6 % can be used, and one at 33 or 10 %, from a fifth, hardly. Beyond a
    third it pays less and less: half of 48 images would give 4 %. Cross-fitting does without the loss.

    Example:
        >>> [groups_to_keep(count, 0.2) for count in (10, 48, 95, 120, 1000)]
        [3, 16, 19, 24, 200]
    """
    return max(int(share * count), min(_WANTED_GROUPS, count // _LARGEST_PART), min(1, count - 1))


def divide(records: Sequence[Record], groups: Mapping[str, Groups], share: float, root: Path) -> Division:
    """Keep a share of every category's good images for calibration.

    Images of one physical object, and near-duplicates, stay on one side. Which side is decided by a hash of the name of
    the first of them, so that it is the same everywhere and hardly moves when photographs are added later.

    Args:
        records: Good images.
        groups: All of them by category, in groups of those that belong together.
        share: Part of each category to keep, 0 to 0.8; more of few images, see `groups_to_keep`.
        root: Folder of the data set, or its manifest; names are taken from it.
    """
    if not share:
        return Division(training=tuple(records), calibration=(), alike=(), notes=())
    chosen: list[Sequence[Record]] = []
    counts: dict[str, str] = {}
    too_few: dict[str, str] = {}
    for category in sorted({record.category for record in records}):
        own = groups[category]
        images = sum(map(len, own))
        kept = _choose(own, images, share, root) if images >= LEAST_IMAGES else []
        if not kept:
            too_few[category] = f"{category} {images}"
            continue
        chosen += kept
        taken = sum(map(len, kept))
        once = f" ({taken} count as {len(kept)})" if taken > len(kept) else ""
        counts[category] = f"{category} {taken} of {images}{once}"
    kept_paths = {record.path for group in chosen for record in group}
    return Division(
        training=tuple(record for record in records if record.path not in kept_paths),
        calibration=tuple(record for record in records if record.path in kept_paths),
        alike=tuple(tuple(group) for group in chosen if len(group) > 1),
        notes=tuple(_describe(counts, too_few)),
    )


def first_name(group: Sequence[Record], root: Path) -> bytes:
    """What the side of a group is decided by: the first name, since the least hash of all would favour large groups."""
    return hashlib.sha256(
        min(relative_name(record.path, root) for record in group).encode("utf-8", "surrogateescape")
    ).digest()


def _choose(groups: Groups, images: int, share: float, root: Path) -> list[Sequence[Record]]:
    """Whole groups in the order of their hash, until there are as many as wanted.

    Training keeps half of the images, or what a larger share leaves.
    """
    wanted = groups_to_keep(len(groups), share)
    chosen: list[Sequence[Record]] = []
    taken = 0
    for group in sorted(groups, key=lambda group: first_name(group, root)):
        if len(chosen) == wanted:
            break
        if taken + len(group) <= max(images // 2, int(share * images)):
            chosen.append(group)
            taken += len(group)
    return chosen


def _describe(counts: dict[str, str], too_few: dict[str, str]) -> Iterator[str]:
    if counts:
        yield f"kept for calibration, not trained on: {', '.join(counts.values())} good images"
        if any("count as" in text for text in counts.values()):
            yield "near-duplicates, and images of one object, are kept together and count once, by the largest score"
    if too_few:
        yield (
            f"too few different good images to keep some for calibration: {', '.join(too_few.values())}; "
            f"{LEAST_IMAGES} of a category are enough. Calibrate on other photographs: muad calibrate RUN GOOD_IMAGES"
        )
