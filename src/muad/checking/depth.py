"""Whether every part has depth that can be used beside its colour, and how much of it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.checking.findings import Finding
from muad.errors import DataError
from muad.images.depth import read_depth
from muad.images.loading import read_ahead
from muad.images.reading import image_size
from muad.images.senses import beside

if TYPE_CHECKING:
    from muad.types import Catalog, Record

LAYOUTS = frozenset({"mvtec_3d", "eyecandies"})
"""Layouts whose records have depth beside them."""


def check_depth(catalog: Catalog, progress: Callable[[int, int], None]) -> tuple[list[Finding], list[str]]:
    """Findings on depth files, and a sentence a category on how much was measured; none for layouts without depth.

    Args:
        catalog: The data set.
        progress: Called with files looked at and in all.
    """
    if catalog.layout not in LAYOUTS:
        return [], []
    findings: list[Finding] = []
    shares: dict[str, list[float]] = {}
    for done, (record, found) in enumerate(_looked_at(catalog.records), start=1):
        if isinstance(found, str):
            findings.append(Finding(kind="unreadable", category=record.category, images=(record.path,), text=found))
        else:
            shares.setdefault(record.category, []).append(found)
        progress(done, len(catalog.records))
    notes = [
        f"{name}: depth was measured in {np.median(own):.0%} of the pixels, at least {min(own):.0%}."
        for name, own in sorted(shares.items())
    ]
    return findings, notes


def _looked_at(records: Sequence[Record]) -> list[tuple[Record, float | str]]:
    """Of each record the share of pixels that were measured, or what is wrong with its depth."""

    def look(record: Record) -> float | str:
        try:
            depth = read_depth(beside(record.path, "depth"))
            size = image_size(record.path)
        except DataError as error:
            return str(error)
        if depth.shape != size:
            return (
                f"depth of image {record.path} must have its size, {size[0]}x{size[1]}, got "
                f"{depth.shape[0]}x{depth.shape[1]} (height x width). Bring both to one frame, pixel by pixel."
            )
        share = float(np.isfinite(depth).mean())
        return share or f"depth of image {record.path} must have a measured pixel, got none. Measure it again."

    return list(zip(records, read_ahead(look, records), strict=True))
