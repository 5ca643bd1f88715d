"""Where finished photographs go: nothing is ever overwritten, and no half file is ever seen there."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path


def free_place(folder: Path, name: str) -> Path:
    """A path below a folder that is not taken: `name`, with a number if need be."""
    wanted = folder / name
    place, number = wanted, 2
    while place.exists():
        place, number = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}"), number + 1
    return place


def move_file(file: Path, place: Path) -> None:
    """Move a file, also to another disk, where it appears when it is whole.

    Raises:
        OSError: It could not be moved; it is still where it was.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        draft = place.with_name(f".{place.name}.partial")
        shutil.copy2(file, draft)
        draft.replace(place)
        file.unlink()
