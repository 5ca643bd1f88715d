"""What one part looks like to several cameras that share a frame: colour, depth, infrared.

A record and a path name one image; the others are found beside it by the names of folders: `.../rgb/7.png` has its
depth in `.../z/7.tiff`, `.../depth/7.png` or `.../xyz/7.tiff`, and its infrared picture in `.../infrared/7.png`. The
folder that is exchanged is the innermost one of such a name, so that `capsule/RGB/test/hole/7.png` is understood too.
Of Eyecandies, `007_image_5.png` has `007_depth.png`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muad.errors import DataError
from muad.images.reading import is_image_file

if TYPE_CHECKING:
    from collections.abc import Iterable

Sense = Literal["colour", "depth", "infrared"]
FOLDER_NAMES: dict[Sense, tuple[str, ...]] = {
    "colour": ("rgb", "colour", "color"),
    "depth": ("z", "depth", "xyz"),
    "infrared": ("infrared", "ir", "thermal"),
}
"""Names of folders of a sense, in lower case; of several the first counts, so that prepared `z` goes before `xyz`."""
_SENSE_OF: dict[str, Sense] = {name: sense for sense, names in FOLDER_NAMES.items() for name in names}
_NUMBERED = re.compile(r"(?P<part>.+)_image_\d+", re.IGNORECASE)


def beside(path: Path, sense: Sense) -> Path:
    """The file that shows the same part to another sense; the path itself where it is of that sense.

    A path without any such folder is colour.

    Args:
        path: An image.
        sense: What to find.

    Raises:
        DataError: There is none, or more than one.
    """
    places = [index for index, name in enumerate(path.parts[:-1]) if name.lower() in _SENSE_OF]
    if not places:
        numbered = _NUMBERED.fullmatch(path.stem)
        if sense == "colour":
            return path
        if numbered is not None:
            return _only(_named(path.parent, f"{numbered['part']}_{sense}"), path, sense)
        raise DataError(_nowhere(path, sense, "no such folder in its path"))
    place = places[-1]
    if _SENSE_OF[path.parts[place].lower()] == sense:
        return path
    above, below = Path(*path.parts[:place]), path.parts[place + 1 : -1]
    present = {name.lower(): name for name in _names(above)}
    folders = [above / present[name] for name in FOLDER_NAMES[sense] if name in present]
    if not folders:
        raise DataError(_nowhere(path, sense, f"none in {above}"))
    return _only(_named(folders[0].joinpath(*below), path.stem), path, sense)


def missing_beside(paths: Iterable[Path], sense: Sense) -> list[Path]:
    """Which images have no file of another sense."""
    missing = []
    for path in paths:
        try:
            beside(path, sense)
        except DataError:
            missing.append(path)
    return missing


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208, names alone
    except OSError:
        return []


def _named(folder: Path, stem: str) -> list[Path]:
    """Image files of that name, whatever their ending."""
    return [
        folder / name
        for name in _names(folder)
        if Path(name).stem.lower() == stem.lower() and is_image_file(Path(name))
    ]


def _only(found: list[Path], path: Path, sense: Sense) -> Path:
    if not found:
        raise DataError(_nowhere(path, sense, "no file of its name there"))
    if len(found) > 1:
        raise DataError(f"{sense} of image {path} must be one file, got {found[0]} and {found[1]}. Remove one of them.")
    return found[0]


def _nowhere(path: Path, sense: Sense, got: str) -> str:
    names = ", ".join(FOLDER_NAMES[sense])
    return (
        f"{sense} of image {path} must lie beside it, in a folder {names} next to {', '.join(FOLDER_NAMES['colour'])}, "
        f"got {got}. Put it there under the same name."
    )
