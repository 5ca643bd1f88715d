"""The layout of MVTec AD, which MPDD, BTAD and the converted VisA share.

`<category>/train/good/*`, `<category>/test/{good,<defect>}/*`, `<category>/ground_truth/<defect>/<name>_mask.png`.
Normal images may lie in `good`, `ok` or `normal`; images and masks may be of any type; the folder given may also be
one category by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muad.datasets.pairing import note_missing_masks, pair_defects
from muad.datasets.tree import (
    MASK_FOLDER_NAMES,
    find_subfolder,
    folder_name,
    is_normal_folder,
    list_images,
    name_some,
    require_images,
    subfolders,
)
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path


def is_mvtec_ad(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `train/good` or `test/<something>`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_mvtec_ad(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of a data set in the layout of MVTec AD."""
    notes: list[str] = []
    categories = [root] if _has_splits(root) else [folder for folder in subfolders(root) if _has_splits(folder)]
    if categories and categories != [root]:
        others = [folder.name for folder in subfolders(root) if folder not in categories]
        if others:
            notes.append(f"Left out folders that have neither train nor test inside: {name_some(others)}.")
    records = [record for category in categories for record in _read_category(category, notes)]
    return records, notes


def _has_splits(folder: Path) -> bool:
    return find_subfolder(folder, {"train"}) is not None or find_subfolder(folder, {"test"}) is not None


def _is_category(folder: Path) -> bool:
    train, test = find_subfolder(folder, {"train"}), find_subfolder(folder, {"test"})
    has_normal = train is not None and any(is_normal_folder(inside) for inside in subfolders(train))
    return has_normal or (test is not None and bool(subfolders(test)))


def _read_category(folder: Path, notes: list[str]) -> list[Record]:
    category = folder_name(folder)
    records: list[Record] = []
    train, test = find_subfolder(folder, {"train"}), find_subfolder(folder, {"test"})
    for inside in subfolders(train) if train else []:
        images = list_images(inside, notes)
        if is_normal_folder(inside):
            records += [Record(path=path, category=category, split="train", is_anomalous=False) for path in images]
        elif images:
            notes.append(
                f"{category}: left out {len(images)} training images in {inside.name!r}, because training uses normal "
                "images only."
            )
    records += _read_test(folder, test, notes) if test else []
    require_images(folder, records)
    return records


def _read_test(folder: Path, test: Path, notes: list[str]) -> list[Record]:
    category = folder_name(folder)
    found = [(inside, list_images(inside, notes)) for inside in subfolders(test)]
    defects = [(inside, images) for inside, images in found if not is_normal_folder(inside)]
    masks_folder = find_subfolder(folder, MASK_FOLDER_NAMES)
    pairs = pair_defects(folder, defects, masks_folder, notes) if masks_folder else {}
    records = [
        Record(
            path=path,
            category=category,
            split="test",
            is_anomalous=not is_normal_folder(inside),
            defect_type=None if is_normal_folder(inside) else inside.name,
            mask_path=pairs.get(path),
        )
        for inside, images in found
        for path in images
    ]
    note_missing_masks(category, records, notes)
    return records
