"""What one part looks like to several cameras that share a frame: colour, depth, infrared.

A record and a path name one image; the others are found beside it by the names of folders: `.../rgb/7.png` has its
depth in `.../z/7.tiff`, `.../depth/7.png` or `.../xyz/7.tiff`, and its infrared picture in `.../infrared/7.png`. The
folder that is exchanged is the innermost one of such a name, so that `capsule/RGB/test/hole/7.png` is understood too.
Of Eyecandies, `007_image_5.png` has `007_depth.png`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from muad.errors import DataError
from muad.images.depth import DepthRange, depth_to_rgb, fill_gaps, read_depth
from muad.images.reading import ImageBytes, is_image_file, read_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import UInt8

    from muad.images.reading import ValueRange

Sense = Literal["colour", "depth", "infrared"]
Fusion = Literal["features", "scores"]
FOLDER_NAMES: dict[Sense, tuple[str, ...]] = {
    "colour": ("rgb", "colour", "color"),
    "depth": ("z", "depth", "xyz"),
    "infrared": ("infrared", "ir", "thermal"),
}
"""Names of folders of a sense, in lower case; of several the first counts, so that prepared `z` goes before `xyz`."""
_SENSE_OF: dict[str, Sense] = {name: sense for sense, names in FOLDER_NAMES.items() for name in names}
_NUMBERED = re.compile(r"(?P<part>.+)_image_\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """Which cameras a run looks through, and how what they show becomes pictures.

    Attributes:
        names: One or two senses.
        fusion: Of two: `features`: the encoder sees both and its features are averaged; `scores`: each is a view of its
            own, and their scores and maps are summed.
        depth_range: Nearest and farthest distance, in the unit of the files; None for those of each file, as published.
        depth_gap_rounds: Pixels by which gaps of the depth are closed from their rims.
        blank_background: Whether colour and infrared are black where no depth was measured.
    """

    names: tuple[Sense, ...] = ("colour",)
    fusion: Fusion = "features"
    depth_range: DepthRange | None = None
    depth_gap_rounds: int = 3
    blank_background: bool = True

    @property
    def is_colour_alone(self) -> bool:
        """Whether an image is all there is to read."""
        return self.names == ("colour",)

    @property
    def views(self) -> int:
        """Views that one place of a part has: two where scores are summed."""
        return len(self.names) if self.fusion == "scores" else 1

    def files(self, path: Path) -> list[Path]:
        """What is read of a part.

        Raises:
            DataError: A sense has no file beside the image.
        """
        return [beside(path, name) for name in self.names]

    def read(self, path: Path | ImageBytes, value_range: ValueRange | None) -> UInt8[np.ndarray, "H W c"]:
        """What the senses show of a part, in 8 bits: three channels each, in their order.

        Args:
            path: An image of it, of any sense.
            value_range: Values that become black and white where colour or infrared has more than 8 bits.

        Raises:
            DataError: A file is missing or cannot be read, or they differ in size.
        """
        if self.is_colour_alone:
            return read_image(path, value_range)
        if isinstance(path, ImageBytes):
            raise DataError(
                f"image {path} must be a file with those of the other senses beside it, got one in memory: this run "
                f"looks at {' and '.join(self.names)}. Give a path."
            )
        files = dict(zip(self.names, self.files(path), strict=True))
        shown: list[np.ndarray] = []
        distance = None
        if "depth" in files:
            distance = fill_gaps(read_depth(files["depth"]), self.depth_gap_rounds)
        for name, file in files.items():
            if name == "depth" and distance is not None:
                picture = depth_to_rgb(distance, self.depth_range, f"depth {file}")
            else:
                picture = read_image(file, value_range)
                if distance is not None and self.blank_background and distance.shape == picture.shape[:2]:
                    picture = np.where(np.isfinite(distance)[..., None], picture, np.uint8(0))
            if shown and shown[0].shape != picture.shape:
                raise DataError(
                    f"{name} of image {path} must have the size of its {self.names[0]}, "
                    f"{shown[0].shape[0]}x{shown[0].shape[1]}, got {picture.shape[0]}x{picture.shape[1]} (height x "
                    "width). Bring both to one frame, pixel by pixel."
                )
            shown.append(picture)
        return np.concatenate(shown, axis=2)


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
