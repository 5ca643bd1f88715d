"""Between the part and the sensor: a lens out of focus, dust on the glass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

DIAMETERS = (0.004, 0.012)
"""Smallest and largest speck of dust, as a share of the longer side of the photograph."""
DEPTHS = (0.2, 0.6)
"""Share of the light that the faintest and the densest speck take away."""
_RIM = 0.4  # share of a speck's radius over which it fades: dust on the glass is never in focus


def blurred(image: UInt8[np.ndarray, "H W 3"], sigma_px: float) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph through a Gaussian of that standard deviation, its border mirrored.

    The camera's noise is smoothed with it, which a lens would leave as it is.
    """
    soft: np.ndarray = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return soft


def dusty(image: UInt8[np.ndarray, "H W 3"], specks: int, random: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph through a glass with round, blurred specks that take away part of the light.

    The same state of the generator gives the same specks, in photographs of any size at the same places.

    Args:
        image: The photograph.
        specks: How many there are, anywhere on it.
        random: Draws place, diameter and depth of each.
    """
    through = transmission((image.shape[0], image.shape[1]), specks, random)
    darker: np.ndarray = np.rint(image * through[..., None]).astype(np.uint8)
    return darker


def transmission(size: tuple[int, int], specks: int, random: np.random.Generator) -> Float[np.ndarray, "H W"]:
    """The share of the light that comes through a dusty glass, for each pixel of a photograph of that size."""
    height, width = size
    through = np.ones(size, np.float32)
    drawn = random.uniform(size=(specks, 4))
    for row, column, diameter, depth in drawn:
        radius = max(width, height) * (DIAMETERS[0] + diameter * (DIAMETERS[1] - DIAMETERS[0])) / 2
        y, x = row * (height - 1), column * (width - 1)
        rows = slice(max(0, int(np.floor(y - radius))), min(height, int(np.ceil(y + radius)) + 1))
        columns = slice(max(0, int(np.floor(x - radius))), min(width, int(np.ceil(x + radius)) + 1))
        down, right = np.ogrid[rows, columns]
        cover = np.clip((1 - np.hypot(down - y, right - x) / radius) / _RIM, 0, 1)
        through[rows, columns] *= 1 - (DEPTHS[0] + depth * (DEPTHS[1] - DEPTHS[0])) * cover
    return through
