"""Pictures that occur more than once: within a split, across splits, under two labels, in two categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from muad.checking.findings import Finding, Kind
from muad.datasets.alike import joined
from muad.datasets.holdout import keep_together
from muad.images.near_duplicates import near_duplicate_groups

if TYPE_CHECKING:
    from pathlib import Path

    from muad.checking.reading import Seen
    from muad.types import Record, Split


def find_repeats(
    images: Sequence[Seen], likenesses: dict[tuple[int, int], float] | None = None
) -> tuple[list[Finding], list[tuple[int, ...]], dict[Path, Split]]:
    """Findings on repeated pictures, the groups of indices that show the same, exactly or nearly, and who moves.

    Where the data set does not say what is tested, training keeps such groups on one side: those images move to it.

    Args:
        images: Readable images of the whole data set, or of a part of it.
        likenesses: As for `near_duplicate_groups`, where some of them are asked about again.
    """
    by_digest: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        by_digest.setdefault(image.digest, []).append(index)
    exact = [tuple(group) for group in by_digest.values() if len(group) > 1]
    near = near_duplicate_groups([image.appearance for image in images], likenesses)
    groups = _merged(exact, near)
    moved = _moved([image.record for image in images], groups)
    findings = [_judge([images[index] for index in group], moved, exact=True) for group in exact]
    for group in near:
        distinct = {images[index].digest for index in group}
        if len(distinct) > 1:  # else it was said already
            findings.append(_judge([images[index] for index in group], moved, exact=False))
    return findings, groups, moved


def _moved(records: Sequence[Record], groups: Sequence[tuple[int, ...]]) -> dict[Path, Split]:
    """New sides of good images of one category that belong together."""
    by_category: dict[str, list[list[Record]]] = {}
    for indices in joined(len(records), groups):
        group = [records[index] for index in indices]
        names = {record.category for record in group}
        if len(names) == 1 and not any(record.is_anomalous for record in group):
            by_category.setdefault(group[0].category, []).append(group)
    return {path: side for own in by_category.values() for path, side in keep_together(own).items()}


def _judge(group: Sequence[Seen], moved: Mapping[Path, Split], *, exact: bool) -> Finding:
    """What one group of equal pictures means."""
    records = [image.record for image in group]
    how = "identical" if exact else "almost identical"
    splits = {moved.get(record.path, record.split) for record in records}
    labels = {record.is_anomalous for record in records}
    names = sorted({record.category for record in records})
    kind: Kind = "duplicate" if exact else "near_duplicate"
    text = f"{len(group)} {how} pictures in {', '.join(sorted(splits))}"
    if len(splits) > 1:
        kind, text = "leakage", f"{len(group)} {how} pictures on both sides of the split: what is tested was trained on"
    if exact and len(labels) > 1:
        kind, text = "label_conflict", f"{len(group)} identical pictures, labelled good and bad: one label is wrong"
    if len(names) > 1:
        text += f"; in different categories ({', '.join(names)})"
    return Finding(kind=kind, category=names[0], images=tuple(record.path for record in records), text=f"{text}.")


def _merged(exact: Sequence[tuple[int, ...]], near: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Groups that share a member made one."""
    home: dict[int, set[int]] = {}
    for group in (*exact, *near):
        joined = set(group).union(*(home[index] for index in group if index in home))
        for index in joined:
            home[index] = joined
    return sorted({tuple(sorted(group)) for group in home.values()})
