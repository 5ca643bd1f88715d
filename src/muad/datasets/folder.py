"""Plain folders of photographs, for data sets of one's own.

- `<category>/good/*` and beside it any folders of anomalous images (`bad`, or one per kind of defect), for several
  categories or for one alone. Masks may lie in `<category>/masks/[<defect>/]`, or beside the image as
  `<name>_mask.png`. There is no split, so with anomalous images present about every fifth good one is held out for
  testing (see `holdout`), near-duplicates together; without anomalous images all good ones are for training.
- A flat folder of good photographs is one category; a folder of such folders is one category each. Training only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muad.datasets.holdout import held_out
from muad.datasets.pairing import check_unshared, note_missing_masks, pair_defects, pair_masks, separate_masks
from muad.datasets.tree import (
    ANOMALOUS_NAMES,
    MASK_FOLDER_NAMES,
    NORMAL_NAMES,
    find_subfolder,
    folder_name,
    has_images,
    is_normal_folder,
    list_images,
    name_some,
    require_images,
    subfolders,
)
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path


_NEVER_GOOD = ANOMALOUS_NAMES | {*MASK_FOLDER_NAMES, "test", "testing", "train", "training", "val", "validation"}


def is_folder(root: Path) -> bool:
    """Whether the folder, or one directly inside, has a folder of good images or images directly."""
    return any(_has_good(folder) or has_images(folder) for folder in (root, *subfolders(root)))


def read_folder(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of plain folders."""
    notes: list[str] = []
    if _has_good(root):
        return _read_good_and_bad(root, notes), notes
    if has_images(root):
        return _read_flat(root, root, notes), notes
    labelled = [folder for folder in subfolders(root) if _has_good(folder)]
    flat = [] if labelled else [folder for folder in subfolders(root) if has_images(folder)]
    others = [folder.name for folder in subfolders(root) if folder not in labelled + flat]
    if others and (labelled or flat):
        missing = "folder of good images" if labelled else "image directly"
        notes.append(f"Left out folders that have no {missing} inside: {name_some(others)}.")
    records = [record for folder in labelled for record in _read_good_and_bad(folder, notes)]
    return records + [record for folder in flat for record in _read_flat(folder, root, notes)], notes


def _has_good(folder: Path) -> bool:
    return any(is_normal_folder(inside) for inside in subfolders(folder))


def _read_flat(folder: Path, root: Path, notes: list[str]) -> list[Record]:
    """Good photographs directly in a folder; `good` itself takes its parent's name."""
    name = folder_name(folder)
    if name.lower() in _NEVER_GOOD:
        msg = (
            f"folder {folder} must not be named {name!r} to be read as a category of good photographs. Put good ones "
            "into <category>/good and anomalous ones into <category>/bad."
        )
        raise DataError(msg)
    category = folder_name(folder.resolve().parent) if name.lower() in NORMAL_NAMES else name
    images = list_images(folder, notes, recursive=False)
    if folder == root and (inside := [path.name for path in subfolders(folder)]):
        notes.append(f"Left out the folders beside the images: {name_some(inside)}.")
    taken = "the only image" if len(images) == 1 else f"all {len(images)} images"
    notes.append(f"{category}: took {taken} of {folder} for good ones, to train on.")
    return [Record(path=path, category=category, split="train", is_anomalous=False) for path in images]


def _read_good_and_bad(folder: Path, notes: list[str]) -> list[Record]:
    category = folder_name(folder)
    masks_folder = find_subfolder(folder, MASK_FOLDER_NAMES)
    normal: list[Path] = []
    defects: list[tuple[Path, list[Path]]] = []
    pairs: dict[Path, Path] = {}
    for inside in subfolders(folder):
        if inside == masks_folder:
            continue
        images, masks = separate_masks(list_images(inside, notes))
        if is_normal_folder(inside):
            normal += images
        elif images:
            defects.append((inside, images))
            pairs |= pair_masks(images, inside, masks, inside)
    if masks_folder:
        pairs |= pair_defects(folder, defects, masks_folder, notes)
        check_unshared(pairs)
    anomalous = [
        Record(
            path=path,
            category=category,
            split="test",
            is_anomalous=True,
            defect_type=inside.name,
            mask_path=pairs.get(path),
        )
        for inside, images in defects
        for path in images
    ]
    require_images(folder, [*normal, *anomalous])
    note_missing_masks(category, anomalous, notes)
    return _split_normal(folder, category, normal, bool(anomalous), notes) + anomalous


def _split_normal(
    folder: Path, category: str, images: list[Path], has_anomalous: bool, notes: list[str]
) -> list[Record]:
    names = {path: path.relative_to(folder).as_posix() for path in images}
    testing = held_out(names.values()) if has_anomalous else frozenset()
    if testing:
        notes.append(
            f"{category}: there are no train and test folders, so {len(testing)} of {len(images)} good images are held "
            "out for testing, chosen by a hash of their names; what shows the same picture stays together in training."
        )
    return [
        Record(
            path=path,
            category=category,
            split="test" if name in testing else "train",
            is_anomalous=False,
            split_chosen=has_anomalous,
        )
        for path, name in names.items()
    ]
