"""MVTec LOCO AD: logical and structural anomalies, with one mask file for each defect of an image.

`<category>/{train,validation}/good/*`, `<category>/test/{good,logical_anomalies,structural_anomalies}/*`,
`<category>/ground_truth/<kind>/<name>/*.png`, and `<category>/defects_config.json`, which says of each kind of defect
how much of it is enough to find (`muad.metrics.saturated`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muad.datasets.pairing import note_missing_masks
from muad.datasets.saturation import CONFIG_FILE, read_saturation
from muad.datasets.tree import (
    find_subfolder,
    folder_name,
    has_images,
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


def is_mvtec_loco(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `defects_config.json` beside `test`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_mvtec_loco(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of MVTec LOCO AD."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        read_saturation(folder / CONFIG_FILE)  # a fault is told before anything is trained
        own = [record for split in _NORMAL_SPLITS for record in _read_normal(folder, split, notes)]
        own += _read_test(folder, notes)
        require_images(folder, own)
        note_missing_masks(folder_name(folder), own, notes)
        records += own
    return records, notes


def _is_category(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() and find_subfolder(folder, {"test"}) is not None


def _read_normal(folder: Path, split: Split, notes: list[str]) -> list[Record]:
    images = find_subfolder(folder, {split})
    return [
        Record(path=path, category=folder_name(folder), split=split, is_anomalous=False)
        for inside in (subfolders(images) if images else [])
        if is_normal_folder(inside)
        for path in list_images(inside, notes)
    ]


def _read_test(folder: Path, notes: list[str]) -> list[Record]:
    category, test = folder_name(folder), find_subfolder(folder, {"test"})
    records: list[Record] = []
    used: set[Path] = set()
    for inside in subfolders(test) if test else []:
        is_anomalous = not is_normal_folder(inside)
        for path in list_images(inside, notes):
            masks = folder / "ground_truth" / inside.name / path.stem
            found = is_anomalous and masks.is_dir() and has_images(masks)
            used |= {masks} if found else set()
            records.append(
                Record(
                    path=path,
                    category=category,
                    split="test",
                    is_anomalous=is_anomalous,
                    defect_type=inside.name if is_anomalous else None,
                    mask_path=masks if found else None,
                    mask_kind="regions",
                )
            )
    truth = find_subfolder(folder, {"ground_truth"})
    left = [masks for kind in (subfolders(truth) if truth else []) for masks in subfolders(kind) if masks not in used]
    if left:
        names = name_some([f"{masks.parent.name}/{masks.name}" for masks in left])
        notes.append(f"{category}: {len(left)} folders of masks belong to no image: {names}.")
    return records
