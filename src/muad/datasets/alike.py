"""Which good images belong together: near-duplicates, and images of one physical object.

They stay on one side of every division of a data set, and count once where independent photographs are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from muad.images.near_duplicates import near_duplicate_groups, read_appearances

if TYPE_CHECKING:
    from muad.types import Record

PartView = tuple[str, str]
"""Which part a photograph shows, and in which view."""


def alike_groups(
    records: Sequence[Record], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> dict[str, list[tuple[Record, ...]]]:
    """All records by category, those that belong together in one group; every image is read once.

    Args:
        records: Good images.
        progress: Called with images looked at, and in all.
    """
    found: dict[str, list[tuple[Record, ...]]] = {}
    done = 0
    for category in sorted({record.category for record in records}):
        own = [record for record in records if record.category == category]
        appearances = read_appearances([record.path for record in own], partial(_advance, progress, done, len(records)))
        same = whole_parts(near_duplicate_groups(appearances), [part_of(record) for record in own])
        groups = joined(len(own), (*same, *_of_one_object(own)))
        found[category] = [tuple(own[index] for index in group) for group in groups]
        done += len(own)
    return found


def part_of(record: Record) -> PartView | None:
    """Part and view of a photograph; None where it is not one view of several."""
    return None if record.object_id is None or record.view is None else (record.object_id, record.view)


def whole_parts(groups: Sequence[Sequence[int]], parts: Sequence[PartView | None]) -> list[list[int]]:
    """Groups of images that show the same picture, of parts with several views only where all views do.

    The plain side of a part looks like that of every other, so one view says nothing: a part is photographed again, or
    copied, where all of its views are alike.

    Args:
        groups: Indices of images that show the same picture.
        parts: Of every image, of which part it is which view; None where it stands alone.

    Example:
        >>> parts = [(name, view) for name in "abc" for view in ("top", "left")]
        >>> whole_parts([[0, 2], [1, 3, 5]], parts)
        [[0, 1, 2, 3]]
    """
    kept = [list(group) for group in groups if any(parts[index] is None for index in group)]
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    views: dict[str, dict[int, tuple[str, int]]] = {}
    for index, part in enumerate(parts):
        if part is not None:
            views.setdefault(part[0], {})[index] = (part[1], group_of.get(index, -1 - index))
    alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for own in views.values():
        alike.setdefault(tuple(sorted(own.values())), []).extend(own)
    return kept + [
        sorted(members)
        for members in alike.values()
        if len({part[0] for index in members if (part := parts[index]) is not None}) > 1
    ]


def joined(count: int, groups: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """All indices below `count` in groups: those that share a member become one, and who is in none is alone.

    Example:
        >>> joined(6, [(0, 2), (2, 4), (3, 5)])
        [(0, 2, 4), (1,), (3, 5)]
    """
    group_of = {index: {index} for index in range(count)}
    for members in groups:
        merged = set().union(*(group_of[index] for index in members))
        for index in merged:
            group_of[index] = merged
    return sorted({tuple(sorted(group)) for group in group_of.values()})


def _of_one_object(records: Sequence[Record]) -> list[list[int]]:
    objects: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        if record.object_id is not None:
            objects.setdefault(record.object_id, []).append(index)
    return list(objects.values())


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)
