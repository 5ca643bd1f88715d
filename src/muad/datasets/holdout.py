"""Which normal images are kept for testing where a data set does not say.

First by name alone, without reading a pixel. Where pixels are read anyway, before training and in a check of the data,
`keep_together` then moves what shows the same picture, or the same object, to one side: to training, if any of it is
there. So photographs that are added later never move one from training to testing.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from muad.types import Record, Split

HELD_OUT_SHARE = 5
"""One normal image in this many is held out."""


def held_out(names: Collection[str]) -> frozenset[str]:
    """Names of the normal images kept for testing: about one in HELD_OUT_SHARE, at least one, never all.

    An image's side depends on a hash of its own name, so that photographs added later do not move the others.

    Args:
        names: Names of the normal images of one category, unique within it; of an object, where several show the same.
    """
    if len(names) < 2:
        return frozenset()
    ranked = sorted(names, key=_digest)
    chosen = [name for name in ranked if _digest(name) % HELD_OUT_SHARE == 0]
    return frozenset(chosen[: len(ranked) - 1] or ranked[:1])


def keep_together(groups: Iterable[Sequence[Record]]) -> dict[Path, Split]:
    """Where normal images go that have to change sides, because what belongs together was held out in part.

    They are trained on. Only where nothing of a category would be left to test is the smallest divided group tested on
    as a whole. Groups with images whose side the data set itself says stay as they are.

    Args:
        groups: Normal images of one category that belong together.
    """
    chosen = [group for group in groups if all(record.split_chosen for record in group)]
    divided = [group for group in chosen if len({record.split for record in group}) > 1]
    whole = any(group[0].split == "test" for group in chosen if group not in divided)
    moved: dict[Path, Split] = {}
    tested = min(divided, key=len) if divided and not whole and len(chosen) > 1 else None
    for group in divided:
        side: Split = "test" if group is tested else "train"
        moved |= {record.path: side for record in group if record.split != side}
    return moved


def moved_records(records: Iterable[Record], moved: dict[Path, Split]) -> list[Record]:
    """The same records on their new sides, in the order of a catalog."""
    placed = (replace(record, split=moved.get(record.path, record.split)) for record in records)
    return sorted(placed, key=lambda record: (record.category, record.split != "train", record.path.as_posix()))


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest())
