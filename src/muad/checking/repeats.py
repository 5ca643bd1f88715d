"""Pictures that occur more than once: within a split, across splits, under two labels, in two categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muad.checking.findings import Finding, Kind
from muad.data.near_duplicates import near_duplicate_groups

if TYPE_CHECKING:
    from muad.checking.reading import Seen


def find_repeats(images: Sequence[Seen]) -> tuple[list[Finding], list[tuple[int, ...]]]:
    """Findings on repeated pictures, and the groups of indices that show the same, exactly or nearly.

    Args:
        images: Readable images of the whole data set.
    """
    by_digest: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        by_digest.setdefault(image.digest, []).append(index)
    exact = [tuple(group) for group in by_digest.values() if len(group) > 1]
    near = near_duplicate_groups([image.appearance for image in images])
    findings = [_judge([images[index] for index in group], exact=True) for group in exact]
    for group in near:
        distinct = {images[index].digest for index in group}
        if len(distinct) > 1:  # else it was said already
            findings.append(_judge([images[index] for index in group], exact=False))
    return findings, _merged(exact, near)


def _judge(group: Sequence[Seen], *, exact: bool) -> Finding:
    """What one group of equal pictures means."""
    records = [image.record for image in group]
    how = "identical" if exact else "almost identical"
    splits, labels = {record.split for record in records}, {record.is_anomalous for record in records}
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
