"""Real-IAD: images under `realiad_<size>/<category>`, splits in `realiad_jsons/[realiad_jsons/]<category>.json`.

Each entry is one of five views of an object and counts as an image of its own; it is normal if and only if its
`anomaly_class` is `OK`. The single-view and contaminated splits beside it are not read.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from muad.datasets.pairing import note_missing_masks
from muad.datasets.tree import name_some, require_files, subfolders
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Split

_SPLIT_FOLDERS = ("realiad_jsons/realiad_jsons", "realiad_jsons")
_IMAGE_FOLDERS = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
_SPLITS: tuple[Split, ...] = ("train", "test")
_VIEW = re.compile(r"_(C\d+)_")


def is_real_iad(root: Path) -> bool:
    """Whether the folder has a folder with one JSON file per category."""
    return _split_folder(root) is not None


def read_real_iad(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of Real-IAD in its multi-view, one-class split."""
    splits, images = _split_folder(root), _image_folder(root)
    if splits is None or images is None:
        part = "split files (realiad_jsons/*.json)" if splits is None else f"images ({', '.join(_IMAGE_FOLDERS)})"
        msg = f"folder {root} must hold the {part} of Real-IAD, got none. Unpack them side by side."
        raise DataError(msg)
    notes = [f"Split files from {splits}, images from {images}."]
    records: list[Record] = []
    absent: list[str] = []
    for file in sorted(splits.glob("[!.]*.json")):
        if not (images / file.stem).is_dir():
            absent.append(file.stem)
            continue
        in_category = _read_category(file, images / file.stem, notes)
        note_missing_masks(file.stem, in_category, notes)
        records += in_category
    if absent:
        notes.append(f"Left out categories that have a split file and no images: {name_some(absent)}.")
    require_files(path for record in records for path in (record.path, record.mask_path))
    return records, notes


def _split_folder(root: Path) -> Path | None:
    folders = (root / name for name in _SPLIT_FOLDERS)
    return next((folder for folder in folders if folder.is_dir() and any(folder.glob("[!.]*.json"))), None)


def _image_folder(root: Path) -> Path | None:
    return next((root / name for name in _IMAGE_FOLDERS if (root / name).is_dir() and subfolders(root / name)), None)


def _read_category(file: Path, folder: Path, notes: list[str]) -> list[Record]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"split file {file} must be JSON, got: {error}. Restore it from the Real-IAD release."
        raise DataError(msg) from None
    records: list[Record] = []
    for split in _SPLITS:
        entries = content.get(split) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            msg = f"split file {file} must have a list named {split!r}. Restore it from the Real-IAD release."
            raise DataError(msg)
        records += [_record(file, folder, split, index, entry) for index, entry in enumerate(entries)]
    normal_training = [record for record in records if record.split == "test" or not record.is_anomalous]
    if len(normal_training) < len(records):
        notes.append(
            f"{file.stem}: left out {len(records) - len(normal_training)} anomalous training images, because training "
            "uses normal images only."
        )
    return normal_training


def _record(file: Path, folder: Path, split: Split, index: int, entry: Any) -> Record:  # noqa: ANN401, JSON may hold anything
    image, kind, mask = (
        [entry.get(key) for key in ("image_path", "anomaly_class", "mask_path")]
        if isinstance(entry, dict)
        else [None, None, None]
    )
    if not isinstance(image, str) or not isinstance(kind, str) or not isinstance(mask, str | None):
        msg = (
            f"entry {index} of {split!r} in {file} must have texts image_path and anomaly_class and a text or null "
            f"mask_path, got {entry!r}. Restore the file from the Real-IAD release."
        )
        raise DataError(msg)
    view = _VIEW.search(PurePosixPath(image).name)
    is_anomalous = kind != "OK"
    return Record(
        path=folder / image,
        category=file.stem,
        split=split,
        is_anomalous=is_anomalous,
        defect_type=kind if is_anomalous else None,
        mask_path=folder / mask if is_anomalous and mask else None,
        object_id=PurePosixPath(image).parent.as_posix(),
        view=view.group(1) if view else None,
    )
