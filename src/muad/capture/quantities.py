"""What is measured of a photograph: a few numbers, from a reduced copy, in milliseconds at any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

_SIDE_PX = 512  # the longer side of the reduced copy; nothing is enlarged
_COARSE_PX = 32  # the longer side of the copy in which noise has averaged out
_CELL_PX = 16
_ENDS = (0.001, 0.01, 0.99, 0.999)  # hot and dead pixels are fewer than one in a thousand
_COARSE_ENDS = (0.01, 0.99)
# Levels between these ends of the means of cells that hold nothing but noise, by its finest detail and the cell's side:
# 4.65 deviations, of which the finest detail has 0.87, and half as much again where resizing ties neighbours together.
_NOISE_WIDTH, _LEAST_CELL_PX = 8.0, 8.0
_CLIPPED_DARK, _CLIPPED_BRIGHT = 2, 253
_FLAT_LEVELS = 1.5  # a cell of the reduced copy in which pixels differ by no more shows nothing
_LEAST_DETAIL = 0.02  # grey levels added to every band, so that a ratio of nothing is one
_RIM_PX = 6  # of a region of interest: what a filter takes from outside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """How a photograph was taken. Levels are grey levels of 0 to 255, shares are of the pixels that count.

    Attributes:
        brightness: Mean level.
        highlights: Level that one pixel in a hundred exceeds: it shows the light where the part's own colours vary.
        dark: Share of pixels without light, at level 2 or below.
        bright: Share of saturated pixels, at level 253 or above.
        contrast: Difference of the levels that one pixel in a hundred and all but one in a hundred exceed, as a share
            of their sum: more or less light leaves it as it is.
        grain: Deviation of the finest detail (below 1 px of the reduced copy) over that of the next (1 to 2 px): low
            in a blurred photograph, high in a noisy one.
        sharpness: Deviation of fine detail (1 to 2 px) over that of coarser (2 to 4 px): noise hides blur less here.
        blank: Share of the frame's cells in which nothing is to be seen.
        structure: Levels from the darkest to the brightest part of the frame, each a thirty-second of the longer side:
            noise averages out in them, and what is left of it is taken off.
        range: Levels from the darkest to the brightest pixel, but for one in a thousand at each end.
    """

    brightness: float
    highlights: float
    dark: float
    bright: float
    contrast: float
    grain: float
    sharpness: float
    blank: float
    structure: float
    range: float


def measure(image: UInt8[np.ndarray, "H W 3"], inspected: Bool[np.ndarray, "H W"] | None = None) -> Capture:
    """The quantities of a photograph.

    Args:
        image: In RGB, after the run's value range.
        inspected: Which pixels count; None for all.
    """
    grey, single = _reduced(image)
    shown = None if inspected is None else _resized(inspected.astype(np.float32), grey.shape) > 0.5
    if shown is not None and shown.any():
        alone = _resized(shown.astype(np.float32), single.shape) > 0
        single, counted = single[alone], grey[shown]
    else:
        shown, counted = None, grey
    finest, fine, coarser = _detail(grey, shown)
    lowest, low, high, highest = np.quantile(counted.ravel()[::3], _ENDS).tolist()  # of many pixels some are enough
    return Capture(
        brightness=round(float(counted.mean()), 3),
        highlights=high,
        dark=float((single <= _CLIPPED_DARK).mean()),
        bright=float((single >= _CLIPPED_BRIGHT).mean()),
        contrast=(high - low) / max(high + low, 1.0),
        grain=finest / fine,
        sharpness=fine / coarser,
        blank=_blank(grey, shown),
        structure=_structure(grey, shown, finest),
        range=round(highest - lowest, 3),  # resizing one grey leaves some millionths
    )


def _reduced(image: UInt8[np.ndarray, "H W 3"]) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "m n"]]:
    """A grey copy whose longer side has 512 px, or less if the image has, and some single pixels as they are.

    Averaging all pixels of a large photograph takes ten times as long as averaging four of each cell, and hides what
    blurs single pixels.
    """
    cell = max(image.shape[:2]) // _SIDE_PX
    if cell > 1:
        height, width = image.shape[0] // cell, image.shape[1] // cell
        places = (cell // 4, 3 * cell // 4)
        corners = [_grey(image[y::cell, x::cell][:height, :width]) for y in places for x in places]
        single, grey = corners[0], np.add.reduce(corners, dtype=np.float32) * np.float32(0.25)
    else:
        single = _grey(image)
        grey = single.astype(np.float32)
    side = max(grey.shape)
    if side > _SIDE_PX:
        grey = _resized(grey, tuple(max(1, round(length * _SIDE_PX / side)) for length in grey.shape))
    return grey, single


def _grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def _resized(values: Float[np.ndarray, "h w"], size: tuple[int, ...]) -> Float[np.ndarray, "m n"]:
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _detail(grey: Float[np.ndarray, "h w"], shown: Bool[np.ndarray, "h w"] | None) -> tuple[float, float, float]:
    """Deviations of what is finer than 1 px, of 1 to 2 px and of 2 to 4 px, the last at half the size."""
    first = cv2.GaussianBlur(grey, (7, 7), 1)
    second = cv2.GaussianBlur(first, (13, 13), 3**0.5)
    half = second[::2, ::2]
    fourth = cv2.GaussianBlur(half, (13, 13), 3**0.5)
    inner = shown
    if shown is not None:
        inside = cv2.erode(shown.astype(np.uint8), np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)) > 0
        inner = inside if inside[::2, ::2].any() else shown
    bands = (
        (grey - first, inner),
        (first - second, inner),
        (half - fourth, None if inner is None else inner[::2, ::2]),
    )
    finest, fine, coarser = (
        float((band if where is None or not where.any() else band[where]).std()) + _LEAST_DETAIL
        for band, where in bands
    )
    return finest, fine, coarser


def _blank(grey: Float[np.ndarray, "h w"], shown: Bool[np.ndarray, "h w"] | None) -> float:
    """Share of cells, of those that count altogether, in which levels hardly differ; 0 where there is none."""
    rows, columns = (max(1, length // _CELL_PX) for length in grey.shape)
    height, width = min(grey.shape[0], rows * _CELL_PX), min(grey.shape[1], columns * _CELL_PX)

    def cells(values: np.ndarray) -> np.ndarray:
        return values[:height, :width].reshape(rows, height // rows, columns, width // columns)

    flat = np.ptp(cells(grey), axis=(1, 3)) <= _FLAT_LEVELS
    if shown is not None:
        flat = flat[cells(shown).all(axis=(1, 3))]
    return float(flat.mean()) if flat.size else 0.0


def _structure(grey: Float[np.ndarray, "h w"], shown: Bool[np.ndarray, "h w"] | None, finest: float) -> float:
    """Levels between the means of the cells of a coarse grid, of the pixels that count, beyond what noise explains."""
    factor = min(1.0, _COARSE_PX / max(grey.shape))
    size = tuple(max(1, round(length * factor)) for length in grey.shape)
    if shown is None:
        means = _resized(grey, size)
    else:
        cover = _resized(shown.astype(np.float32), size)
        means = _resized(np.where(shown, grey, np.float32(0)), size)[cover > 0] / cover[cover > 0]
    low, high = np.quantile(means, _COARSE_ENDS).tolist()
    # In a smaller cell noise has not averaged out, and may be a fine texture as well.
    noise = _NOISE_WIDTH * finest * factor if 1 / factor >= _LEAST_CELL_PX else 0.0
    return max(0.0, round(float(high - low - noise), 3))
