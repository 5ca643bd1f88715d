"""A few good images of each product, drawn by a seed: the same on every machine, in whatever order files are listed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muad.datasets.content_hash import relative_name
from muad.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Record

Groups = Sequence[Sequence["Record"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Good images of a data set, of which a few were drawn.

    Attributes:
        drawn: These, in the order they came in.
        set_aside: The others: neither trained on, nor used for limits, nor tested on.
        notes: Sentences the user should see.
    """

    drawn: tuple[Record, ...]
    set_aside: tuple[Record, ...]
    notes: tuple[str, ...]


def draw_shots(records: Sequence[Record], groups: Mapping[str, Groups], shots: int, seed: int, root: Path) -> Draw:
    """So many good images of every category.

    Images are ranked by a hash of seed and name, so a draw of eight holds the draw of four by the same seed. Of those
    that show the same picture or object one is taken, and a second only where there are too few different ones.

    Args:
        records: Good images.
        groups: All of them by category, in groups of those that belong together.
        shots: How many of each category.
        seed: Of the draw.
        root: Folder of the data set, or its manifest; names are taken from it.

    Raises:
        DataError: A category has fewer.
    """
    require_shots(records, shots)
    drawn: set[Path] = set()
    notes = []
    for category in sorted({record.category for record in records}):
        ranked = [sorted(group, key=lambda record: _rank(record, seed, root)) for group in groups[category]]
        ranked.sort(key=lambda group: _rank(group[0], seed, root))
        # One of each group before the second of any.
        rounds = [group[place] for place in range(max(map(len, ranked))) for group in ranked if place < len(group)]
        drawn |= {record.path for record in rounds[:shots]}
        if len(ranked) < shots:
            notes.append(
                f"{category}: its {shots} photographs show only {len(ranked)} different parts or pictures; the others "
                "repeat them"
            )
    chosen = tuple(record for record in records if record.path in drawn)
    rest = tuple(record for record in records if record.path not in drawn)
    return Draw(drawn=chosen, set_aside=rest, notes=(_describe(chosen, rest, shots, seed), *notes))


def require_shots(records: Sequence[Record], shots: int) -> None:
    """Refuse to draw more than there are.

    Args:
        records: Good images.
        shots: How many of each category.

    Raises:
        DataError: A category has fewer.
    """
    counts = {name: sum(record.category == name for record in records) for name in {one.category for one in records}}
    fewer = {name: count for name, count in sorted(counts.items()) if count < shots}
    if fewer:
        listed = ", ".join(f"{name} {count}" for name, count in fewer.items())
        raise DataError(
            f"data must hold at least training.shots = {shots} good training images of every product, got {listed}. "
            f"Take --shots {min(fewer.values())}, photograph more, or leave --shots out to train on all there are."
        )


def _describe(drawn: Sequence[Record], rest: Sequence[Record], shots: int, seed: int) -> str:
    aside = (
        f"; the other {len(rest)} are set aside: neither trained on, nor used for limits, nor tested on"
        if rest
        else ", which is all there are"
    )
    return f"few photographs: {shots} of each product, {len(drawn)} in all, drawn by training.shots_seed {seed}{aside}"


def _rank(record: Record, seed: int, root: Path) -> bytes:
    name = relative_name(record.path, root).encode("utf-8", "surrogateescape")
    return hashlib.sha256(b"%d\0" % seed + name).digest()
