"""Eyecandies: rendered sweets under six lights, with depth, and truth for the public part of the test images.

`<category>/{train,val,test_public,test_private}/data/<number>_<item>.<ending>`, where items are `image_0` to `image_5`,
`depth` (16 bits), `mask`, `metadata.yaml` and others. A record is `image_5`, the one in even light, which the authors
use; `muad.images.senses` finds the depth beside it. `test_private` has no labels and is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from muad.datasets.tree import entries, find_subfolder, folder_name, name_some, require_images, subfolders
from muad.errors import DataError
from muad.images.loading import read_ahead
from muad.images.reading import read_mask
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Split

_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test_public": "test"}
_IMAGE = re.compile(r"(?P<number>\d+)_image_5\.png", re.IGNORECASE)


def is_eyecandies(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `train/data/<number>_image_5.png`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_eyecandies(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of Eyecandies."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        own = [record for name, split in _SPLITS.items() for record in _read_split(folder, name, split)]
        require_images(folder, own)
        records += own
    if any(find_subfolder(folder, {"test_private"}) for folder in categories):
        notes.append("Left out test_private, whose labels are not public.")
    return records, notes


def _is_category(folder: Path) -> bool:
    return bool(_images(folder, "train"))


def _images(folder: Path, split: str) -> list[Path]:
    data = folder / split / "data"
    return [data / entry.name for entry in (entries(data) if data.is_dir() else []) if _IMAGE.fullmatch(entry.name)]


def _read_split(folder: Path, name: str, split: Split) -> list[Record]:
    images = _images(folder, name)
    if split != "test":
        return [Record(path=path, category=folder_name(folder), split=split, is_anomalous=False) for path in images]
    masks = [path.with_name(re.sub(r"_image_5(?=\.\w+$)", "_mask", path.name, flags=re.IGNORECASE)) for path in images]
    if lacking := [path.name for path in masks if not path.is_file()]:
        raise DataError(
            f"every image of {folder / name} must have its mask, which says whether it is anomalous, got none of "
            f"{name_some(lacking)}. Restore them from the release."
        )
    anomalous = list(read_ahead(lambda mask: bool(read_mask(mask, "labels").any()), masks))
    return [
        Record(
            path=path,
            category=folder_name(folder),
            split=split,
            is_anomalous=is_anomalous,
            defect_type="anomaly" if is_anomalous else None,
            mask_path=mask if is_anomalous else None,
            mask_kind="labels",
        )
        for path, mask, is_anomalous in zip(images, masks, anomalous, strict=True)
    ]
