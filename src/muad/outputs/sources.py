"""Which images are predicted, and what their outputs are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from muad.errors import DataError
from muad.images.reading import IMAGE_SUFFIXES, is_image_file
from muad.outputs.names import free_name

OVERLAYS, MAPS = "overlays", "maps"
RESULTS_CSV, RESULTS_JSON = "results.csv", "results.json"
JOB_JSON = "muad-job.json"
"""Lies beside the results of many machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image to predict and the name its outputs get below the output folder, without suffix."""

    path: Path
    name: Path


def find_images(paths: Sequence[Path], *, out: Path | None = None, taken: Iterable[str] = ()) -> list[Source]:
    """Every image among files and folders, each once, in the order given and sorted within folders.

    Outputs are named by the way from the innermost folder that holds everything, so that `line1/0001.png` and
    `line2/0001.png` stay apart. Hidden files and folders are left out, links to folders are not followed, and the
    overlays and maps of predictions are not taken for photographs.

    Args:
        paths: Images and folders.
        out: Where results will go; its overlays and maps are no photographs either.
        taken: Names that are given away, by `name_key`.

    Raises:
        DataError: A path does not exist, is neither file nor folder, cannot be listed, or a folder holds no image.
    """
    files: dict[Path, Path] = {}  # by absolute path, so that none is taken twice
    for path in paths:
        if not path.exists():
            raise DataError(f"path must be an existing image or folder, got {path}. Check the path.")
        if not path.is_dir() and not path.is_file():
            raise DataError(f"path must be an image or a folder of images, got {path}, a device or pipe. Name a file.")
        found = sorted(_images_below(path, out)) if path.is_dir() else [path]
        if not found:
            raise DataError(f"path must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got {path} without any.")
        for file in found:
            files.setdefault(_absolute(file), file)
    base = base_of(paths)
    given = set(taken)
    return [Source(path=file, name=free_name(_relative(absolute, base), given)) for absolute, file in files.items()]


def base_of(paths: Sequence[Path]) -> Path:
    """The innermost folder of all, which outputs and parts are named from."""
    bases = [_absolute(path if path.is_dir() else path.parent) for path in paths]
    return Path(_common(bases)) if bases else Path()


def walk_images(folder: Path, left_out: Sequence[Path] = ()) -> Iterator[Path]:
    """Paths of the images below a folder, unsorted; hidden ones, linked folders and written results left out.

    Args:
        folder: Where to look.
        left_out: Absolute paths of folders that are not entered.

    Raises:
        OSError: A folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        # A folder inside that went away meanwhile is no fault.
        if not isinstance(error, FileNotFoundError) or Path(error.filename) == folder:
            raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
        own = {OVERLAYS, MAPS} if {RESULTS_CSV, RESULTS_JSON} <= set(files) or JOB_JSON in files else set()
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in own and (not left_out or _absolute(here / name) not in left_out)
        ]
        for name in files:
            file = here / name
            if not name.startswith(".") and is_image_file(file) and file.is_file():
                yield file


def _images_below(folder: Path, out: Path | None) -> list[Path]:
    left_out = () if out is None else (_absolute(out / OVERLAYS), _absolute(out / MAPS))
    try:
        return list(walk_images(folder, left_out))
    except OSError as error:
        raise DataError(
            f"folder must be one that can be listed, got {error.filename or folder} ({error.strerror}). "
            "Change its permissions, or name the others."
        ) from None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links


def _common(bases: Sequence[Path]) -> str:
    """The innermost folder of all; on Windows there is none for several drives."""
    try:
        return os.path.commonpath(bases)
    except ValueError:
        return ""


def _relative(path: Path, base: Path) -> Path:
    """The way from the base; with the drive as its first folder where there is no base."""
    if path.is_relative_to(base):
        return path.relative_to(base)
    return Path(path.drive.replace(":", "") or "root", *path.parts[1:])
