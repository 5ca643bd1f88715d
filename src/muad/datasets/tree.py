"""What lies in a folder, in a fixed order, without the files that systems leave behind."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from muad.errors import DataError
from muad.images.reading import is_image_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

NORMAL_NAMES = frozenset({"good", "normal", "ok"})
"""Folder names, in lower case, that hold normal images."""

ANOMALOUS_NAMES = frozenset(
    {"abnormal", "anomalies", "anomalous", "anomaly", "bad", "defect", "defective", "defects", "ko", "ng", "nok"}
)
"""Folder names, in lower case, that cannot hold normal images; any other name may be a kind of defect."""

MASK_FOLDER_NAMES = ("ground_truth", "groundtruth", "gt", "masks", "mask", "labels", "label")
"""Folder names, in lower case, that hold masks."""

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


def subfolders(folder: Path) -> list[Path]:
    """Folders directly inside, sorted by name, hidden ones left out."""
    return [folder / entry.name for entry in entries(folder) if entry.is_dir()]


def find_subfolder(folder: Path, names: Collection[str]) -> Path | None:
    """The one folder directly inside that has one of the names, in any case; None where there is none.

    Raises:
        DataError: If more than one of them is there.
    """
    found = [path for path in subfolders(folder) if path.name.lower() in names]
    if len(found) > 1:
        msg = (
            f"folder {folder} must have one folder of the kind {found[0].name!r}, got "
            f"{name_some([path.name for path in found])}. Merge or rename them."
        )
        raise DataError(msg)
    return found[0] if found else None


def is_normal_folder(folder: Path) -> bool:
    """Whether the folder's name says that it holds normal images."""
    return folder.name.lower() in NORMAL_NAMES


def has_images(folder: Path) -> bool:
    """Whether an image lies directly in the folder."""
    return any(entry.is_file() and is_image_file(Path(entry.name)) for entry in entries(folder))


def require_images(folder: Path, images: Sequence[object]) -> None:
    """Raise a DataError if a category has no images at all."""
    if not images:
        msg = f"category folder {folder} must hold images, got none. Fill it or remove it."
        raise DataError(msg)


def require_files(paths: Iterable[Path | None]) -> None:
    """Raise a DataError that counts and names the files a split lists and the disk does not have."""
    named = [path for path in paths if path is not None]
    missing = [path for path in named if not path.is_file()]
    if missing:
        msg = (
            f"all {len(named)} files of the split must be there, got {len(missing)} missing: {name_some(missing)}. "
            "Unpack the data set again."
        )
        raise DataError(msg)


def list_images(folder: Path, notes: list[str], *, recursive: bool = True) -> list[Path]:
    """Image files in a folder, sorted.

    Args:
        folder: Where to look.
        notes: Gets a sentence when files of unknown type were left out.
        recursive: Whether to look into folders inside as well.
    """
    images: list[Path] = []
    unknown: Counter[str] = Counter()
    waiting = [folder]
    while waiting:
        inside = waiting.pop()
        for entry in entries(inside):
            path = inside / entry.name
            if entry.is_dir():
                if recursive:
                    waiting.append(path)
            elif is_image_file(path):
                images.append(path)
            else:
                unknown[path.suffix or path.name] += 1
    if unknown:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(unknown.items()))
        notes.append(f"{folder}: left out files that are of no known image type: {kinds}.")
    return sorted(images)


def name_some(names: Iterable[object], limit: int = 3) -> str:
    """The first few names and the number of the others."""
    listed: Sequence[str] = [str(name) for name in names]
    text = ", ".join(listed[:limit])
    return text if len(listed) <= limit else f"{text} and {len(listed) - limit} more"


def folder_name(folder: Path) -> str:
    """Name of the folder, also where the path is `.` or ends in `..`."""
    return folder.name if folder.name not in {"", ".."} else folder.resolve().name


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Everything directly inside that a user would see, sorted by name."""
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if entry.name[:1] != "." and entry.name.lower() not in _SYSTEM_NAMES]
    except OSError as error:
        msg = f"folder {folder} must be readable, got: {error.strerror}. Check the path and its permissions."
        raise DataError(msg) from None
    return sorted(visible, key=lambda entry: entry.name)
