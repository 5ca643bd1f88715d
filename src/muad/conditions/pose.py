"""A part that lies otherwise: moved or turned, with what is true of it.

What lies beyond the border was never photographed, and a mirrored border would be an anomaly of its own. So the
picture is enlarged by as much as it takes that nothing of it comes into view: by 3.5 % for 2 degrees, and by 1.6 % for
4 of 512 pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    Mask = UInt8[np.ndarray, "H W"] | None


def shifted(
    image: UInt8[np.ndarray, "H W 3"], mask: Mask, distance_px: float, random: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask]:
    """Photograph and mask, moved in a random direction.

    Args:
        image: The photograph.
        mask: What is defect in it, or None.
        distance_px: How far.
        random: Draws the direction.
    """
    angle = random.uniform(0, 2 * np.pi)
    way = (distance_px * float(np.cos(angle)), distance_px * float(np.sin(angle)))
    return _both(image, mask, pose((image.shape[0], image.shape[1]), 0.0, way))


def turned(
    image: UInt8[np.ndarray, "H W 3"], mask: Mask, degrees: float, random: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask]:
    """Photograph and mask, turned about the middle, to a random side.

    Args:
        image: The photograph.
        mask: What is defect in it, or None.
        degrees: By how much.
        random: Draws the side.
    """
    angle = degrees * (1 if random.uniform() < 0.5 else -1)
    return _both(image, mask, pose((image.shape[0], image.shape[1]), angle, (0.0, 0.0)))


def pose(size: tuple[int, int], degrees: float, way: tuple[float, float]) -> Float[np.ndarray, "2 3"]:
    """Where the pixels of a photograph of that height and width go: a row for x, one for y, in x, y and 1.

    Args:
        size: Height and width.
        degrees: Turned so far against the clock, about the middle.
        way: And then moved, to the right and down.
    """
    height, width = size
    across, along = max(width - 1, 1) / 2, max(height - 1, 1) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # The corners of the picture, taken back, are the farthest that comes into view.
    scale = max(
        abs(cosine) + abs(sine) * along / across + abs(way[0]) / across,
        abs(cosine) + abs(sine) * across / along + abs(way[1]) / along,
    )
    turn = scale * np.array([[cosine, sine], [-sine, cosine]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    whole: np.ndarray = np.column_stack([turn, middle - turn @ middle + np.array(way)])
    return whole


def _both(
    image: UInt8[np.ndarray, "H W 3"], mask: Mask, matrix: Float[np.ndarray, "2 3"]
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask]:
    """The photograph by cubic splines, which smooth it a little; each pixel of the mask from the nearest."""
    return _warped(image, matrix, cv2.INTER_CUBIC), None if mask is None else _warped(mask, matrix, cv2.INTER_NEAREST)


def _warped(
    pixels: UInt8[np.ndarray, "H W *c"], matrix: Float[np.ndarray, "2 3"], interpolation: int
) -> UInt8[np.ndarray, "H W *c"]:
    size = (pixels.shape[1], pixels.shape[0])
    found: np.ndarray = cv2.warpAffine(pixels, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE)
    return found
