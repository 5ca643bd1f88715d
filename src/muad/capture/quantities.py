"""What is measured of a photograph: a few numbers, from a reduced copy, in milliseconds at any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

_SIDE_PX = 512  # the longer side of the reduced copy; nothing is enlarged
_COARSE_PX = 32
_TAIL = 0.001  # share of pixels at each end that may be hot or dead ones
_COARSE_TAIL = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """How a photograph was taken, in grey levels of 0 to 255.

    Attributes:
        range: From the darkest to the brightest pixel, but for one in a thousand at each end; none in a frame of one
            grey.
        structure: The same between parts of the frame, each a thirty-second of the longer side: noise has none.
    """

    range: float
    structure: float


def measure(image: UInt8[np.ndarray, "H W 3"], inspected: Bool[np.ndarray, "H W"] | None = None) -> Capture:
    """The quantities of a photograph.

    Args:
        image: In RGB, after the run's value range.
        inspected: Which pixels count; None for all.
    """
    grey = _reduced_grey(image)
    shown = None if inspected is None else _fitted(inspected.astype(np.float32), grey.shape) > 0
    return Capture(
        range=_width(grey if shown is None else grey[shown], _TAIL),
        structure=_width(_coarse(grey, shown), _COARSE_TAIL),
    )


def _reduced_grey(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
    """A grey copy whose longer side has 512 px, or less if the image has.

    Averaging all pixels of a large photograph would take ten times as long as averaging four of each cell, and hide
    what blurs single pixels.
    """
    cell = max(image.shape[:2]) // _SIDE_PX
    if cell > 1:
        height, width = image.shape[0] // cell, image.shape[1] // cell
        places = (cell // 4, 3 * cell // 4)
        corners = (image[y::cell, x::cell][:height, :width] for y in places for x in places)
        grey: np.ndarray = np.stack([_grey(corner) for corner in corners]).mean(axis=0, dtype=np.float32)
    else:
        grey = _grey(image).astype(np.float32)
    side = max(grey.shape)
    if side > _SIDE_PX:
        height, width = (max(1, round(length * _SIDE_PX / side)) for length in grey.shape)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return grey


def _grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def _fitted(values: Float[np.ndarray, "h w"], size: tuple[int, ...]) -> Float[np.ndarray, "m n"]:
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _coarse(grey: Float[np.ndarray, "h w"], shown: Bool[np.ndarray, "h w"] | None) -> Float[np.ndarray, " n"]:
    """Mean grey of each cell of a coarse grid, of the pixels that count; where none does there is no cell."""
    factor = min(1.0, _COARSE_PX / max(grey.shape))
    size = tuple(max(1, round(length * factor)) for length in grey.shape)
    if shown is None:
        return _fitted(grey, size).ravel()
    cover = _fitted(shown.astype(np.float32), size)
    means = _fitted(np.where(shown, grey, 0), size)[cover > 0] / cover[cover > 0]
    return np.asarray(means)


def _width(values: Float[np.ndarray, ...], tail: float) -> float:
    low, high = np.quantile(values, [tail, 1 - tail]) if values.size else (0.0, 0.0)
    return round(float(high - low), 3)  # resizing one grey leaves some millionths
