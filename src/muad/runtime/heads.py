"""From what a network measures to anomaly map and score, in plain numpy: the same after training and in a bundle.

A head is made of its settings alone, which are plain values, so that it can be written down beside an exported network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Blur: TypeAlias = Literal["five_px", "reflected"]
_BLUR_PX = 5
_LEAST_GAIN = 1e-2  # of an axis, below which what smoothing took away is noise and is not brought back


class Head(Protocol):
    """What turns a network's tensors into a result."""

    def __call__(
        self, tensors: Mapping[str, Float[np.ndarray, "b ..."]]
    ) -> tuple[Float[np.ndarray, "b H W"], Float[np.ndarray, " b"]]:
        """Anomaly maps and scores."""
        ...

    def score(self, maps: Float[np.ndarray, "b H W"], inspected: Bool[np.ndarray, "b H W"]) -> Float[np.ndarray, " b"]:
        """Scores from the inspected part of maps; minus infinity where nothing was inspected."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GridHead:
    """Grids enlarged to one map, added up and blurred; the score is the mean of the largest values of something.

    Of what: of the map; of its averages over windows (`pool_px`); of the grid it was made of (`score_grid`). Or the
    network gives a score itself (`score_tensor`).

    Attributes:
        grids: Names of the tensors `[b, h, w]` that are added up; each may be of another size.
        weights: Factor of each; none for 1. A mean of three has a third each.
        input_px: Height and width of the network's images, to which grids are enlarged bilinearly.
        map_px: Side of the square map they are then resized to; 0 for the size of the images.
        align_corners: Sampling of the first enlargement.
        blur_sigma_px: Width of a Gaussian; 0 for none.
        blur: `five_px`: a window of 5x5 pixels with zeros outside the map; `reflected`: a window of four times the
            width to either side with the map mirrored at its rim, as scipy's `gaussian_filter`.
        top_fraction: Share of the largest values whose mean is the score; 0 for the maximum.
        top_pixels: Their number, in place of a share; 0 for the share.
        pool_px: Side of the windows, one at every pixel, whose averages are those values; 0 for the map's own values.
        score_grid: Rows and columns of the one grid whose values they are, before any enlargement; None for the map.
        score_tensor: Name of the tensor `[b]` that is the score; empty for none. Where only a part of a map is
            inspected, the other settings say what the score is.
    """

    grids: tuple[str, ...]
    weights: tuple[float, ...] = ()
    input_px: tuple[int, int]
    map_px: int = 0
    align_corners: bool = False
    blur_sigma_px: float = 0.0
    blur: Blur = "five_px"
    top_fraction: float = 0.0
    top_pixels: int = 0
    pool_px: int = 0
    score_grid: tuple[int, int] | None = None
    score_tensor: str = ""

    def __post_init__(self) -> None:
        for name in ("grids", "weights", "input_px", "score_grid"):  # JSON knows lists alone
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        if self.weights and len(self.weights) != len(self.grids):
            raise ConfigError(f"head.weights must be one for each of {len(self.grids)} grids, got {self.weights}.")
        if self.blur not in ("five_px", "reflected"):
            raise ConfigError(f"head.blur must be five_px or reflected, got {self.blur}.")
        if self.score_grid and (len(self.grids) > 1 or self.pool_px):
            raise ConfigError("head.score_grid must be left out with several grids or head.pool_px, got both.")

    def __call__(
        self, tensors: Mapping[str, Float[np.ndarray, "b ..."]]
    ) -> tuple[Float[np.ndarray, "b H W"], Float[np.ndarray, " b"]]:
        """Anomaly maps and scores."""
        weights = self.weights or (1.0,) * len(self.grids)
        grids = [
            tensors[name].astype(np.float32, copy=False) * np.float32(weight) if weight != 1 else tensors[name]
            for name, weight in zip(self.grids, weights, strict=True)
        ]
        anomaly_map: np.ndarray = np.asarray(sum(self._enlarged(grid) for grid in grids), np.float32)
        if self.score_tensor:
            given: np.ndarray = tensors[self.score_tensor].astype(np.float32).reshape(len(anomaly_map))
            return anomaly_map, given
        pooled = _window_means(anomaly_map, self.pool_px) if self.pool_px else anomaly_map
        values = (grids[0] if self.score_grid else pooled).reshape(len(anomaly_map), -1)
        count = self.counted(values.shape[1])
        largest = np.partition(values, values.shape[1] - count, axis=1)[:, -count:]
        scores: np.ndarray = largest.mean(axis=1, dtype=np.float32)
        return anomaly_map, scores

    def score(self, maps: Float[np.ndarray, "b H W"], inspected: Bool[np.ndarray, "b H W"]) -> Float[np.ndarray, " b"]:
        """Scores from the inspected part of maps.

        Of windows those count that are, for one of their pixels, the most inspected it lies in, with the mean of what
        is inspected of them: so that every pixel counts, and none more because it lies at a rim. Values of the grid are
        won back from the map, and count where one of their pixels is inspected.
        """
        parts = [self._counted(anomaly_map, cells) for anomaly_map, cells in zip(maps, inspected, strict=True)]
        scores = [np.sort(part)[-self.counted(part.size) :].mean() if part.size else -np.inf for part in parts]
        return np.array(scores, np.float32)

    def _counted(self, anomaly_map: Float[np.ndarray, "H W"], inspected: Bool[np.ndarray, "H W"]) -> np.ndarray:
        """The values that count of a map."""
        if self.pool_px and inspected.any():
            return _inspected_means(anomaly_map, inspected, self.pool_px)
        if self.score_grid is None:
            counted: np.ndarray = anomaly_map[inspected]
            return counted
        rows, columns = (_inverse(*settings) for settings in self._axes(self.score_grid))
        touched = np.logical_or.reduceat(inspected, _starts(inspected.shape[0], self.score_grid[0]), axis=0)
        touched = np.logical_or.reduceat(touched, _starts(inspected.shape[1], self.score_grid[1]), axis=1)
        values: np.ndarray = (rows @ anomaly_map @ columns.T)[touched]
        return values

    def counted(self, cells: int) -> int:
        """How many of so many values are averaged."""
        return min(cells, self.top_pixels) if self.top_pixels else max(1, int(self.top_fraction * cells))

    def _enlarged(self, grids: Float[np.ndarray, "b h w"]) -> Float[np.ndarray, "b H W"]:
        # All stages are linear and work on rows and columns one after the other: one matrix for each axis.
        rows, columns = self.matrices((grids.shape[1], grids.shape[2]))
        enlarged: np.ndarray = rows @ grids.astype(np.float32, copy=False) @ columns.T
        return enlarged

    def matrices(self, grid: tuple[int, int]) -> tuple[Float[np.ndarray, "H h"], Float[np.ndarray, "W w"]]:
        """Of rows and columns: the map of a grid of that size is `rows @ grid @ columns.T`."""
        rows, columns = (_axis(*settings) for settings in self._axes(grid))
        return rows, columns

    def _axes(self, grid: tuple[int, int]) -> list[tuple[int, int, int, bool, float, Blur]]:
        """What the matrices of both axes depend on."""
        after = (self.map_px, self.align_corners, self.blur_sigma_px, self.blur)
        return [(cells, pixels, *after) for cells, pixels in zip(grid, self.input_px, strict=True)]


@cache
def _axis(
    cells: int, input_px: int, map_px: int, align_corners: bool, blur_sigma_px: float, blur: Blur
) -> Float[np.ndarray, "out cells"]:
    """One axis of the chain grid, image size, map size, blur."""
    matrix = _bilinear(cells, input_px, align_corners)
    if map_px:
        matrix = _bilinear(input_px, map_px, align_corners=False) @ matrix
    if blur_sigma_px and blur == "reflected":
        matrix = _reflected_gaussian(len(matrix), blur_sigma_px) @ matrix
    elif blur_sigma_px:
        kernel = _gaussian(_BLUR_PX // 2, blur_sigma_px)
        matrix = np.stack([np.convolve(column, kernel, mode="same") for column in matrix.T], axis=1)
    return matrix.astype(np.float32)


@cache
def _inverse(
    cells: int, input_px: int, map_px: int, align_corners: bool, blur_sigma_px: float, blur: Blur
) -> Float[np.ndarray, "cells out"]:
    """What undoes an axis, as far as that can be done."""
    axis = _axis(cells, input_px, map_px, align_corners, blur_sigma_px, blur)
    inverse: np.ndarray = np.linalg.pinv(axis.astype(np.float64), rcond=_LEAST_GAIN)
    return inverse


def _bilinear(cells: int, pixels: int, align_corners: bool) -> Float[np.ndarray, "pixels cells"]:
    """The matrix that samples a line of cells at pixels, as torch's `interpolate` does."""
    places = np.arange(pixels, dtype=np.float64)
    if align_corners:
        at = places * (cells - 1) / max(1, pixels - 1)
    else:
        at = np.clip((places + 0.5) * cells / pixels - 0.5, 0, None)
    below = np.minimum(np.floor(at).astype(int), cells - 1)
    above, share = np.minimum(below + 1, cells - 1), at - below
    matrix = np.zeros((pixels, cells))
    np.add.at(matrix, (np.arange(pixels), below), 1 - share)
    np.add.at(matrix, (np.arange(pixels), above), share)
    return matrix


def _gaussian(reach: int, sigma: float) -> Float[np.ndarray, " k"]:
    """Weights of so many pixels to either side; their sum is 1."""
    offset = np.arange(-reach, reach + 1)
    kernel: np.ndarray = np.exp(-(offset**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return kernel


def _reflected_gaussian(pixels: int, sigma: float) -> Float[np.ndarray, "pixels pixels"]:
    """The matrix that blurs a line mirrored at its ends, the last pixel repeated."""
    reach = int(4 * sigma + 0.5)
    at = (np.arange(pixels)[:, None] + np.arange(-reach, reach + 1)) % (2 * pixels)
    matrix = np.zeros((pixels, pixels))
    places = (np.arange(pixels)[:, None], np.where(at < pixels, at, 2 * pixels - 1 - at))
    np.add.at(matrix, places, _gaussian(reach, sigma))
    return matrix


def _window_means(maps: Float[np.ndarray, "... H W"], side: int) -> Float[np.ndarray, "... m n"]:
    """Means over every square window that lies in a map; over all of a side that is shorter."""
    height, width = min(side, maps.shape[-2]), min(side, maps.shape[-1])
    means: np.ndarray = _window_sums(maps, side) / (height * width)
    return means.astype(np.float32)


def _window_sums(maps: np.ndarray, side: int) -> Float[np.ndarray, "... m n"]:
    sums = maps.astype(np.float64)
    for axis in (-2, -1):
        moved = np.moveaxis(sums, axis, -1)
        window = min(side, moved.shape[-1])
        running = np.concatenate([np.zeros((*moved.shape[:-1], 1)), np.cumsum(moved, axis=-1)], axis=-1)
        sums = np.moveaxis(running[..., window:] - running[..., :-window], -1, axis)
    return sums


def _inspected_means(
    anomaly_map: Float[np.ndarray, "H W"], inspected: Bool[np.ndarray, "H W"], side: int
) -> Float[np.ndarray, " m"]:
    """Means over the inspected part of those windows that are the fullest for one of their inspected pixels."""
    height, width = (min(side, pixels) for pixels in inspected.shape)
    counts = np.rint(_window_sums(inspected, side)).astype(np.int64)
    around = np.pad(counts, ((height - 1, height - 1), (width - 1, width - 1)))
    fullest = _sliding(around, height, width, np.maximum)  # for every pixel, of the windows it lies in
    least = _sliding(np.where(inspected, fullest, np.iinfo(np.int64).max), height, width, np.minimum)
    sums = _window_sums(np.where(inspected, anomaly_map, 0), side)
    chosen = counts == least
    means: np.ndarray = sums[chosen] / counts[chosen]
    return means


def _sliding(values: np.ndarray, height: int, width: int, extreme: np.ufunc) -> np.ndarray:
    """The extreme of every window."""
    rows = np.lib.stride_tricks.sliding_window_view(values, height, axis=0)
    tall = extreme.reduce(rows, axis=-1)
    found: np.ndarray = extreme.reduce(np.lib.stride_tricks.sliding_window_view(tall, width, axis=1), axis=-1)
    return found


def _starts(pixels: int, cells: int) -> np.ndarray:
    """The first pixel of each cell."""
    return np.arange(cells) * pixels // cells
