"""Which labelled images a detector may be chosen by, and which are kept to report how good the chosen one is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from muad.datasets.alike import alike_groups
from muad.datasets.content_hash import relative_name
from muad.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Record

_CHOICE = 3  # one in so many of each kind


class Labelled(NamedTuple):
    """Labelled images no detector has seen, in the order of the catalog.

    Attributes:
        reported: Those whose figures are reported.
        choice: Those set aside to choose by; empty where none were to be.
    """

    reported: tuple[Record, ...]
    choice: tuple[Record, ...]


def divide_labelled(
    records: Sequence[Record], root: Path, *, choose: bool, progress: Callable[[int, int], None] = lambda *_: None
) -> Labelled:
    """Set a third of each category's good images and of each kind of defect aside, to choose by.

    What shows the same picture or object stays on one side. Which side is decided by a hash of the name, so that it is
    the same in every run of the comparison.

    Args:
        records: Labelled images.
        root: Folder of the data set; names are taken from it.
        choose: Whether any are set aside.
        progress: Called with images compared and in all.

    Raises:
        DataError: Of no category are there a good and a defective image to choose by and as many to report on.
    """
    if not choose:
        return Labelled(tuple(records), ())
    aside: set[Path] = set()
    for groups in alike_groups(records, progress).values():
        kinds: dict[str | None, list[Sequence[Record]]] = {}
        for group in groups:
            kinds.setdefault(group[0].defect_type if group[0].is_anomalous else None, []).append(group)
        for alike in kinds.values():
            ranked = sorted(alike, key=lambda group: _digest(group, root))
            aside |= {record.path for group in ranked[: len(ranked) // _CHOICE] for record in group}
    parts = Labelled(
        tuple(record for record in records if record.path not in aside),
        tuple(record for record in records if record.path in aside),
    )
    if not (_ranked(parts.choice) & _ranked(parts.reported)):
        good = sum(not record.is_anomalous for record in records)
        raise DataError(
            f"data must hold at least {_CHOICE} good and {_CHOICE} defective test images of one kind to set some aside "
            f"with --choose, got {good} good and {len(records) - good} defective in all. Leave --choose out, or "
            "photograph more."
        )
    return parts


def _ranked(records: Sequence[Record]) -> set[str]:
    """Categories with both labels."""
    bad = {record.category for record in records if record.is_anomalous}
    return bad & {record.category for record in records if not record.is_anomalous}


def _digest(group: Sequence[Record], root: Path) -> bytes:
    name = min(relative_name(record.path, root) for record in group)
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
