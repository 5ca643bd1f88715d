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
        groups = joined(len(own), (*near_duplicate_groups(appearances), *_of_one_object(own)))
        found[category] = [tuple(own[index] for index in group) for group in groups]
        done += len(own)
    return found


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
