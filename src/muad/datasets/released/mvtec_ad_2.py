"""MVTec AD 2: several lights, a split for validation, and test images whose truth is public or kept by the authors.

`<category>/{train,validation}/good/*`, `<category>/test_public/{good,bad}/*` and
`<category>/test_public/ground_truth/bad/<name>_mask.png`. Names are `<number>_<light>.png`, such as
`004_overexposed.png`. What lies in `test_private` and `test_private_mixed` has no labels and is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from muad.datasets.pairing import note_missing_masks, pair_masks
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

    from muad.types import Split

_NORMAL_SPLITS: tuple[Split, ...] = ("train", "validation")
_PUBLIC = "test_public"
_WITHOUT_TRUTH = ("test_private", "test_private_mixed")
_NAME = re.compile(r"(?P<number>\d+)_(?P<light>.+)")


def is_mvtec_ad_2(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `test_public`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_mvtec_ad_2(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of MVTec AD 2."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        own = [record for split in _NORMAL_SPLITS for record in _read_normal(folder, split, notes)]
        own += _read_public(folder, notes)
        require_images(folder, own)
        note_missing_masks(folder_name(folder), own, notes)
        records += own
        counts = [
            f"{name} ({len(list_images(inside, notes))})"
            for name in _WITHOUT_TRUTH
            if (inside := find_subfolder(folder, {name})) is not None
        ]
        if counts:
            notes.append(
                f"{folder_name(folder)}: left out images whose truth is not public: {', '.join(counts)}. To judge "
                "them, predict on the folder."
            )
    lights = sorted({record.light for record in records if record.light is not None})
    if lights:
        notes.append(f"Lights, by the names of the images: {', '.join(lights)}.")
    return records, notes


def _is_category(folder: Path) -> bool:
    return find_subfolder(folder, {_PUBLIC}) is not None


def _read_normal(folder: Path, split: Split, notes: list[str]) -> list[Record]:
    images = find_subfolder(folder, {split})
    return [
        Record(path=path, category=folder_name(folder), split=split, is_anomalous=False, light=_light(path))
        for inside in (subfolders(images) if images else [])
        if is_normal_folder(inside)
        for path in list_images(inside, notes)
    ]


def _read_public(folder: Path, notes: list[str]) -> list[Record]:
    category, test = folder_name(folder), find_subfolder(folder, {_PUBLIC})
    if test is None:
        return []
    truth = find_subfolder(test, MASK_FOLDER_NAMES)
    records: list[Record] = []
    used: set[Path] = set()
    for inside in subfolders(test):
        if inside == truth:
            continue
        images, is_anomalous = list_images(inside, notes), not is_normal_folder(inside)
        masks = find_subfolder(truth, {inside.name.lower()}) if truth and is_anomalous else None
        pairs = pair_masks(images, inside, list_images(masks, []), masks) if masks else {}
        used |= {*pairs.values()}
        records += [
            Record(
                path=path,
                category=category,
                split="test",
                is_anomalous=is_anomalous,
                defect_type=inside.name if is_anomalous else None,
                mask_path=pairs.get(path),
                light=_light(path),
            )
            for path in images
        ]
    if left := [mask for mask in (list_images(truth, notes) if truth else []) if mask not in used]:
        notes.append(f"{category}: {len(left)} masks belong to no image: {name_some([mask.name for mask in left])}.")
    return records


def _light(path: Path) -> str | None:
    named = _NAME.fullmatch(path.stem)
    return named["light"] if named else None
