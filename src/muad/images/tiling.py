"""Which tiles make small defects large enough, and long parts square, without magnifying what is not there."""

from __future__ import annotations

import itertools
import math

LONG = 2.0
"""Ratio of the sides from which on a part is long: stretched to a square it loses much of its detail."""
_MOST_PER_AXIS = 8
_LEAST_DETAIL = 0.8  # of a view's pixels that a tile should have in the photograph; below that it is only magnified


def magnification(count: int, overlap: float) -> float:
    """By how much an axis grows in the views when it is cut into `count` tiles.

    Args:
        count: Number of tiles.
        overlap: Share of a tile that its neighbour has too.
    """
    return count - (count - 1) * overlap


def tiles_for(
    photo_px: tuple[int, int], view_px: tuple[int, int], wanted: float, overlap: float
) -> tuple[int, int] | None:
    """The fewest tiles in which areas are at least `wanted` times as large as in the stretched photograph.

    Args:
        photo_px: Height and width of the photographs.
        view_px: Height and width of what the detector sees.
        wanted: Factor on the area.
        overlap: Share of a tile that its neighbour has too.

    Returns:
        Rows and columns, of tiles that are not long themselves where there are such; None where the photographs do not
        have the detail.
    """
    found = []
    for rows, columns in itertools.product(range(1, _MOST_PER_AXIS + 1), repeat=2):
        grown = magnification(rows, overlap), magnification(columns, overlap)
        height, width = (length / factor for length, factor in zip(photo_px, grown, strict=True))
        has_detail = all(
            count == 1 or length >= _LEAST_DETAIL * view
            for count, length, view in zip((rows, columns), (height, width), view_px, strict=True)
        )
        if has_detail and grown[0] * grown[1] >= wanted:
            stretched = abs(math.log(height / width))
            found.append((stretched > math.log(LONG), rows * columns, stretched, (rows, columns)))
    return min(found)[-1] if found else None


def square_tiles(photo_px: tuple[int, int], view_px: tuple[int, int]) -> tuple[int, int] | None:
    """Tiles that are about square, of a long part; None if it is not long or too small to be worth cutting.

    Args:
        photo_px: Height and width of the photographs.
        view_px: Height and width of what the detector sees.
    """
    short, long = min(photo_px), max(photo_px)
    if long < LONG * short:
        return None
    count = min(_MOST_PER_AXIS, round(long / short))
    if long / count < _LEAST_DETAIL * max(view_px):
        return None
    return (count, 1) if photo_px[0] == long else (1, count)
