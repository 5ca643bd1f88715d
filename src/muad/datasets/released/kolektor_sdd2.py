"""KolektorSDD2: `{train,test}/<number>.png`, and beside each image its mask `<number>_GT.png`.

Every image has a mask, and an image is defective if and only if its mask is not black, so that reading the labels
means decoding the masks. The release has defective images in `train` too; it was made for supervised training. They are
left out, neither learnt from as normal nor tested on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muad.datasets.tree import find_subfolder, folder_name, list_images, name_some
from muad.errors import DataError
from muad.images.loading import read_ahead
from muad.images.reading import is_image_file, read_mask
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Split

_SPLITS: tuple[Split, ...] = ("train", "test")
_MASK_ENDING = "_gt"


def is_kolektor_sdd2(root: Path) -> bool:
    """Whether the folder has `train` or `test` with masks `<name>_GT.png` beside the images."""
    splits = [find_subfolder(root, {split}) for split in _SPLITS]
    return any(split is not None and _has_masks(split) for split in splits)


def read_kolektor_sdd2(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of KolektorSDD2, which is one category."""
    notes: list[str] = []
    category = folder_name(root)
    records: list[Record] = []
    for split in _SPLITS:
        if (folder := find_subfolder(root, {split})) is not None:
            records += _read_split(folder, category, split, notes)
    kept = [record for record in records if record.split == "test" or not record.is_anomalous]
    if len(kept) < len(records):
        notes.append(
            f"Left out {len(records) - len(kept)} defective images of train, because training uses normal images only."
        )
    return kept, notes


def _has_masks(folder: Path) -> bool:
    stems = {path.stem.lower() for path in folder.iterdir() if is_image_file(path)}
    return any(stem.endswith(_MASK_ENDING) and stem.removesuffix(_MASK_ENDING) in stems for stem in stems)


def _read_split(folder: Path, category: str, split: Split, notes: list[str]) -> list[Record]:
    files = list_images(folder, notes, recursive=False)
    masks = {path.stem.lower(): path for path in files if path.stem.lower().endswith(_MASK_ENDING)}
    images = [path for path in files if path not in set(masks.values())]
    lacking = [path for path in images if path.stem.lower() + _MASK_ENDING not in masks]
    if lacking:
        raise DataError(
            f"every image of {folder} must have its mask <name>_GT beside it, which says whether it is defective, got "
            f"none for {len(lacking)}: {name_some([path.name for path in lacking])}. Restore them from the release."
        )
    paired = [masks.pop(path.stem.lower() + _MASK_ENDING) for path in images]
    if masks:
        names = name_some(sorted(path.name for path in masks.values()))
        notes.append(f"{split}: {len(masks)} masks belong to no image: {names}.")
    defective = list(read_ahead(lambda mask: bool((read_mask(mask, "grey") > 127).any()), paired))
    return [
        Record(
            path=path,
            category=category,
            split=split,
            is_anomalous=is_anomalous,
            defect_type="defect" if is_anomalous else None,
            mask_path=mask if is_anomalous else None,
        )
        for path, mask, is_anomalous in zip(images, paired, defective, strict=True)
    ]
