"""A part that lies otherwise: moved or turned, with what is true of it; its border is mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt8

    Mask = UInt8[np.ndarray, "H W"] | None


def shifted(
    image: UInt8[np.ndarray, "H W 3"], mask: Mask, distance_px: float, random: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask]:
    """Photograph and mask, moved in a random direction by whole pixels, so that nothing is interpolated.

    Args:
        image: The photograph.
        mask: What is defect in it, or None.
        distance_px: How far, before both parts of the way are rounded.
        random: Draws the direction.
    """
    angle = random.uniform(0, 2 * np.pi)
    way = (round(distance_px * np.sin(angle)), round(distance_px * np.cos(angle)))
    return moved(image, *way), None if mask is None else moved(mask, *way)


def moved(pixels: UInt8[np.ndarray, "H W *c"], down: int, right: int) -> UInt8[np.ndarray, "H W *c"]:
    """Pixels so many further down and to the right."""
    height, width = pixels.shape[:2]
    around = [(max(0, down), max(0, -down)), (max(0, right), max(0, -right)), (0, 0)][: pixels.ndim]
    wider = np.pad(pixels, around, mode="reflect")
    top, left = max(0, -down), max(0, -right)
    return np.ascontiguousarray(wider[top : top + height, left : left + width])


def turned(
    image: UInt8[np.ndarray, "H W 3"], mask: Mask, degrees: float, random: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask]:
    """Photograph and mask, turned about the middle, to a random side.

    Args:
        image: The photograph; interpolated by cubic splines, which smooths it a little.
        mask: What is defect in it, or None; each pixel takes the nearest.
        degrees: By how much.
        random: Draws the side.
    """
    angle = degrees * (1 if random.uniform() < 0.5 else -1)
    return rotated(image, angle, cv2.INTER_CUBIC), None if mask is None else rotated(mask, angle, cv2.INTER_NEAREST)


def rotated(pixels: UInt8[np.ndarray, "H W *c"], degrees: float, interpolation: int) -> UInt8[np.ndarray, "H W *c"]:
    """Pixels turned against the clock about the middle of the picture, by one of OpenCV's interpolations."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    found: np.ndarray = cv2.warpAffine(
        pixels, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
    )
    return found
