"""In which order the places of a grid are read as one sequence: curves through it, and the eight ways to walk each.

An order is a table of place numbers, row by row from 0; the sequence takes them one after the other. Curves that want
a square, or one whose side is a power of two, are drawn in the smallest such square and leave out what is outside the
grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

Curve = Literal["hilbert", "scan", "sweep", "zigzag", "zorder"]
Directions = Literal[2, 4, 8]


def curve(kind: Curve, height: int, width: int) -> Int[np.ndarray, " n"]:
    """Every place of a grid once, in the order of a curve.

    Args:
        kind: `hilbert` and `zorder` keep what is near near; `scan` goes back and forth along the rows, `sweep` always
            from the left, `zigzag` along the diagonals.
        height: Rows of the grid.
        width: Columns of the grid.
    """
    rows, columns = _walk(kind, height, width)
    inside = (rows < height) & (columns < width)
    places: np.ndarray = (rows * width + columns)[inside]
    return places


def _walk(kind: Curve, height: int, width: int) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Rows and columns of a curve that covers at least the grid."""
    if kind == "hilbert":
        points = _hilbert(max(height, width))
        return points[:, 1], points[:, 0]
    if kind == "zorder":
        points = _interleaved(max(height, width))
        return points[:, 1], points[:, 0]
    rows, columns = np.divmod(np.arange(height * width), width)
    if kind == "scan":
        return rows, np.where(rows % 2, width - 1 - columns, columns)
    if kind == "zigzag":  # diagonals in turn, even ones upwards
        diagonal = rows + columns
        order = np.lexsort((np.where(diagonal % 2, rows, columns), diagonal))
        return rows[order], columns[order]
    return rows, columns


def _hilbert(side: int) -> Int[np.ndarray, "m 2"]:
    """Hilbert's curve through the smallest square of a power of two: four copies of the curve of half the size.

    References:
        Skilling, Programming the Hilbert curve, AIP Conference Proceedings 707, 2004: the same orientation.
    """
    points = np.zeros((1, 2), np.int64)
    half = 1
    while half < side:
        flipped = points[:, ::-1]
        turned = np.stack([2 * half - 1 - points[:, 1], half - 1 - points[:, 0]], axis=1)
        points = np.concatenate([flipped, points + np.array([0, half]), points + half, turned])
        half *= 2
    return points


def _interleaved(side: int) -> Int[np.ndarray, "m 2"]:
    """Morton's order: the bits of both coordinates take turns, that of the second first."""
    points = np.zeros((1, 2), np.int64)
    half = 1
    while half < side:
        points = np.concatenate([points + np.array([across, along]) for across in (0, half) for along in (0, half)])
        half *= 2
    return points


def scan_orders(kind: Curve, height: int, width: int, directions: Directions) -> Int[Tensor, "k n"]:
    """The orders of a grid's places in which a sequence is read along a curve from several directions.

    Forward along the curve through the grid, its transpose, its quarter turn and the transpose of that, as many as half
    the directions; then the same backward.
    """
    places = np.arange(height * width).reshape(height, width)
    turned = np.rot90(places)
    views = [places, places.T, turned, turned.T][: directions // 2]
    forward = [view.reshape(-1)[curve(kind, *view.shape)] for view in views]
    return torch.from_numpy(np.stack([*forward, *(order[::-1] for order in forward)]))
