"""DAGM 2007 as released: `ClassN/{Train,Test}/*.PNG`, and `Label/<name>_label.PNG` for each defective image.

Only the label files tell defective from normal images. The release has defective images in `Train` too; it was
made for supervised training. They are left out, neither learnt from as normal nor moved to the test images, so that
the test images stay those of the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muad.datasets.pairing import pair_masks
from muad.datasets.tree import find_subfolder, folder_name, has_images, list_images, name_some, subfolders
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Split

_SPLITS: tuple[Split, ...] = ("train", "test")


def is_dagm(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `Train/Label` or `Test/Label` beside images."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_dagm(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of DAGM 2007."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        for split in _SPLITS:
            if (images := find_subfolder(folder, {split})) is not None:
                records += _read_split(images, folder_name(folder), split, notes)
    kept = [record for record in records if record.split == "test" or not record.is_anomalous]
    if len(kept) < len(records):
        notes.append(
            f"Left out {len(records) - len(kept)} defective images of Train, because training uses normal images only."
        )
    return kept, notes


def _is_category(folder: Path) -> bool:
    splits = [find_subfolder(folder, {split}) for split in _SPLITS]
    return any(split and has_images(split) and find_subfolder(split, {"label"}) for split in splits)


def _read_split(folder: Path, category: str, split: Split, notes: list[str]) -> list[Record]:
    labels = find_subfolder(folder, {"label"})
    if labels is None:
        msg = (
            f"folder {folder} must have a folder Label inside, which tells defective from normal images, got none. "
            "Restore it from the DAGM release."
        )
        raise DataError(msg)
    images = list_images(folder, notes, recursive=False)
    masks = [path for path in list_images(labels, []) if path.stem.lower().endswith("_label")]
    pairs = pair_masks(images, folder, masks, labels)
    if unused := sorted(set(masks) - set(pairs.values())):
        notes.append(f"{category}: {len(unused)} labels belong to no image: {name_some([m.name for m in unused])}.")
    return [
        Record(
            path=path,
            category=category,
            split=split,
            is_anomalous=path in pairs,
            defect_type="defect" if path in pairs else None,
            mask_path=pairs.get(path),
        )
        for path in images
    ]
