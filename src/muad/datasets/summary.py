"""How many images of what kind a data set has, how large they are, and what is wrong with its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muad.datasets.published import compare_with_published
from muad.errors import DataError
from muad.images.reading import image_size, read_pair

if TYPE_CHECKING:
    from muad.types import Catalog, Record, Split

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split of one category.

    Attributes:
        category: Its name.
        split: `train`, `validation` or `test`.
        normal: Number of normal images.
        anomalous: Number of anomalous images.
        with_mask: Number of anomalous images with a mask.
        defect_types: Kinds of defect, sorted.
        smallest_px: Least height and least width among the images; None if none can be read.
        largest_px: Greatest height and greatest width.
    """

    category: str
    split: Split
    normal: int
    anomalous: int
    with_mask: int
    defect_types: tuple[str, ...]
    smallest_px: tuple[int, int] | None
    largest_px: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A data set at a glance.

    Attributes:
        layout: The layout it was read in.
        splits: One entry for each category and split that has images.
        notes: What the reader had to say.
        published: How it agrees with the published data set it looks like; empty if it looks like none.
        problems: One line for each file at fault.
    """

    layout: str
    splits: tuple[SplitSummary, ...]
    notes: tuple[str, ...]
    published: tuple[str, ...]
    problems: tuple[str, ...]


def summarise(catalog: Catalog, check_files: bool = False) -> Summary:
    """Count what a catalog holds and look into its files.

    Args:
        catalog: The data set.
        check_files: Decode every image and mask, instead of reading the images' headers only.
    """
    problems: list[str] = []
    splits = [
        _summarise_split(category, split, records, problems, check_files=check_files)
        for category in catalog.categories
        for split in _SPLITS
        if (records := catalog.select(category=category, split=split))
    ]
    return Summary(
        layout=catalog.layout,
        splits=tuple(splits),
        notes=catalog.notes,
        published=compare_with_published(catalog),
        problems=tuple(problems),
    )


def _summarise_split(
    category: str, split: Split, records: tuple[Record, ...], problems: list[str], *, check_files: bool
) -> SplitSummary:
    sizes: list[tuple[int, int]] = []
    for record in records:
        try:
            sizes.append(_check(record, problems) if check_files else image_size(record.path))
        except DataError as error:
            problems.append(str(error))
    heights, widths = {height for height, _ in sizes}, {width for _, width in sizes}
    anomalous = [record for record in records if record.is_anomalous]
    return SplitSummary(
        category=category,
        split=split,
        normal=len(records) - len(anomalous),
        anomalous=len(anomalous),
        with_mask=sum(record.mask_path is not None for record in anomalous),
        defect_types=tuple(sorted({record.defect_type for record in anomalous if record.defect_type is not None})),
        smallest_px=(min(heights), min(widths)) if sizes else None,
        largest_px=(max(heights), max(widths)) if sizes else None,
    )


def _check(record: Record, problems: list[str]) -> tuple[int, int]:
    """Size of a record's image, having decoded all of it."""
    image, mask = read_pair(record)
    if mask is not None and not (mask > 127).any():
        problems.append(
            f"mask {record.mask_path} must mark the defect with values above half, got a maximum of {mask.max()} of "
            "255. Save defects as 255, or remove the mask."
        )
    return image.shape[0], image.shape[1]
