"""MVTec 3D-AD: colour and depth of every part, pixel by pixel.

`<category>/{train,validation}/good/{rgb,xyz}/*` and `<category>/test/{good,<defect>}/{rgb,xyz,gt}/*`. A record is the
colour image; `muad.images.senses` finds the depth beside it. Depth may lie in `xyz` as points, as released, or in `z`
or `depth` as one number a pixel, so the layout also suits a colour and a depth camera of one's own.
"""

from __future__ import annotations

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
from muad.images.senses import FOLDER_NAMES, missing_beside
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.images.senses import Sense
    from muad.types import Split

_NORMAL_SPLITS: tuple[Split, ...] = ("train", "validation")


def is_mvtec_3d(root: Path) -> bool:
    """Whether the folder, or one directly inside, has folders of colour and depth in `train/good`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_mvtec_3d(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of MVTec 3D-AD."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        own = [record for split in _NORMAL_SPLITS for record in _read_normal(folder, split, notes)]
        own += _read_test(folder, notes)
        require_images(folder, own)
        note_missing_masks(folder_name(folder), own, notes)
        if lacking := missing_beside([record.path for record in own], "depth"):
            names = name_some([f"{path.parent.parent.name}/{path.name}" for path in lacking])
            notes.append(f"{folder_name(folder)}: {len(lacking)} colour images have no depth beside them: {names}.")
        records += own
    return records, notes


def _is_category(folder: Path) -> bool:
    train = find_subfolder(folder, {"train"})
    return train is not None and any(
        _of_sense(inside, "colour") is not None and _of_sense(inside, "depth") is not None
        for inside in subfolders(train)
    )


def _of_sense(folder: Path, sense: Sense) -> Path | None:
    inside = {path.name.lower(): path for path in subfolders(folder)}
    return next((inside[name] for name in FOLDER_NAMES[sense] if name in inside), None)


def _colour(folder: Path, notes: list[str]) -> tuple[Path, list[Path]]:
    """The folder of colour images in a folder of parts, and what lies there."""
    colour = _of_sense(folder, "colour")
    if colour is None:
        return folder, []
    return colour, list_images(colour, notes)


def _read_normal(folder: Path, split: Split, notes: list[str]) -> list[Record]:
    images = find_subfolder(folder, {split})
    return [
        Record(path=path, category=folder_name(folder), split=split, is_anomalous=False)
        for inside in (subfolders(images) if images else [])
        if is_normal_folder(inside)
        for path in _colour(inside, notes)[1]
    ]


def _read_test(folder: Path, notes: list[str]) -> list[Record]:
    category, test = folder_name(folder), find_subfolder(folder, {"test"})
    records: list[Record] = []
    for inside in subfolders(test) if test else []:
        is_anomalous = not is_normal_folder(inside)
        colour, images = _colour(inside, notes)
        truth = find_subfolder(inside, MASK_FOLDER_NAMES) if is_anomalous else None
        masks = list_images(truth, notes) if truth else []
        pairs = pair_masks(images, colour, masks, truth) if truth else {}
        if left := sorted(set(masks) - set(pairs.values())):
            names = name_some([f"{inside.name}/{mask.name}" for mask in left])
            notes.append(f"{category}: {len(left)} masks belong to no image: {names}.")
        records += [
            Record(
                path=path,
                category=category,
                split="test",
                is_anomalous=is_anomalous,
                defect_type=inside.name if is_anomalous else None,
                mask_path=pairs.get(path),
            )
            for path in images
        ]
    return records
