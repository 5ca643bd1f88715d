"""Regions of interest: which part of a category's photographs is inspected at all.

A folder holds `<category>.png` for each category, white where to inspect and black where not. What is black is painted
over before any detector sees the photograph, in training and prediction alike, so that neither a fixture nor a hand can
teach or alarm it; scores, maps and figures leave it out.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import ConfigError, DataError
from muad.images.reading import read_mask

if TYPE_CHECKING:
    from jaxtyping import Bool, UInt8

_SUFFIX = ".png"
_SHAPE_TOLERANCE = 0.02  # relative difference of aspect ratios that rounding may explain


class InterestMasks:
    """The masks of a folder, by category.

    Args:
        folder: Holds `<category>.png`.

    Raises:
        ConfigError: There is no mask there.
        DataError: A mask cannot be read, or is black all over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
        if not files:
            raise ConfigError(
                f"images.roi_dir must be a folder with a mask <category>{_SUFFIX} for each category, got {folder} "
                "without any. Draw white where to inspect, black where not."
            )
        self._masks = {file.stem: _read(file) for file in files}
        digest = hashlib.sha256()
        for name, mask in self._masks.items():
            digest.update(f"{name} {mask.shape} ".encode() + np.packbits(mask).tobytes())
        self._digest = digest.hexdigest()[:16]
        self._scaled: dict[tuple[str, tuple[int, int]], np.ndarray] = {}

    def __repr__(self) -> str:
        """Names the masks by their content, so that features kept under one set are not taken for another's."""
        return f"{type(self).__name__}({self._digest})"

    @property
    def categories(self) -> tuple[str, ...]:
        """Those that have a mask."""
        return tuple(self._masks)

    def require(self, categories: Collection[str]) -> None:
        """Refuse to go on without a mask for each category.

        Raises:
            ConfigError: One is missing; a mask that is white all over says that everything is inspected.
        """
        missing = sorted(set(categories) - set(self._masks))
        if missing:
            raise ConfigError(
                f"images.roi_dir must hold a mask for each category, got {self.folder} without "
                f"{', '.join(name + _SUFFIX for name in missing)}. Draw it; white all over to inspect everything."
            )

    def mask(self, category: str | None, size: tuple[int, int], name: str = "image") -> Bool[np.ndarray, "H W"]:
        """Which pixels of an image of some height and width are inspected.

        Args:
            category: What the image shows.
            size: Height and width; the mask is scaled to them.
            name: What to call the image in an error.

        Raises:
            ConfigError: The category is not known, or has no mask.
            DataError: The image has another shape than the mask.
        """
        if category is None:
            raise ConfigError(
                f"category must be given for {name}, got none: this run has a region of interest for each category. "
                f"Name one of {', '.join(self._masks)}."
            )
        self.require([category])
        if (category, size) not in self._scaled:
            drawn = self._masks[category]
            ratio = (size[1] / size[0]) / (drawn.shape[1] / drawn.shape[0])
            if abs(ratio - 1) > _SHAPE_TOLERANCE:
                raise DataError(
                    f"{name} must have the shape of its region of interest, {drawn.shape[0]}x{drawn.shape[1]} or the "
                    f"same scaled, got {size[0]}x{size[1]} (height x width). Draw {category}{_SUFFIX} on such an image."
                )
            scaled = cv2.resize(drawn.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
            if len(self._scaled) >= len(self._masks):  # photographs of a category mostly share a size
                self._scaled.clear()
            self._scaled[category, size] = scaled
        return self._scaled[category, size]

    def paint(
        self, image: UInt8[np.ndarray, "H W 3"], category: str | None, colour: tuple[int, int, int], name: str
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The image with one colour where nothing is inspected."""
        mask = self.mask(category, (image.shape[0], image.shape[1]), name)
        painted: np.ndarray = np.where(mask[..., None], image, np.array(colour, np.uint8))
        return painted


def copy_masks(folder: Path, target: Path) -> None:
    """Copy every mask, so that a run has its own wherever it goes.

    Raises:
        ConfigError: The target cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob(f"*{_SUFFIX}")):
            if not (target / file.name).exists() or not (target / file.name).samefile(file):
                shutil.copyfile(file, target / file.name)
    except OSError as error:
        raise ConfigError(f"run folder must be writable, got {target} ({error}). Name another.") from None


def _read(file: Path) -> Bool[np.ndarray, "H W"]:
    mask = read_mask(file, "grey") > 127
    if not mask.any():
        raise DataError(f"region of interest {file} must be white where to inspect, got a mask that is black all over.")
    return mask
