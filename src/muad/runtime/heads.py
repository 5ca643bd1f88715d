"""From what a network measures to anomaly map and score, in plain numpy: the same after training and in a bundle.

A head is made of its settings alone, which are plain values, so that it can be written down beside an exported network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_BLUR_PX = 5


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
    """Grids enlarged to one map, added up and blurred; the score is the mean of the map's largest values.

    Attributes:
        grids: Names of the tensors `[b, h, w]` that are added up; each may be of another size.
        input_px: Height and width of the network's images, to which grids are enlarged bilinearly.
        map_px: Side of the square map they are then resized to; 0 for the size of the images.
        align_corners: Sampling of the first enlargement.
        blur_sigma_px: Width of a Gaussian of 5x5 pixels with zeros outside the map; 0 for none.
        top_fraction: Share of the largest values whose mean is the score; 0 for the maximum.
        top_pixels: Their number, in place of a share; 0 for the share.
    """

    grids: tuple[str, ...]
    input_px: tuple[int, int]
    map_px: int = 0
    align_corners: bool = False
    blur_sigma_px: float = 0.0
    top_fraction: float = 0.0
    top_pixels: int = 0

    def __call__(
        self, tensors: Mapping[str, Float[np.ndarray, "b ..."]]
    ) -> tuple[Float[np.ndarray, "b H W"], Float[np.ndarray, " b"]]:
        """Anomaly maps and scores."""
        maps = sum(self._enlarged(tensors[name]) for name in self.grids)
        anomaly_map: np.ndarray = np.asarray(maps, np.float32)
        values = anomaly_map.reshape(len(anomaly_map), -1)
        count = self._count(values.shape[1])
        largest = np.partition(values, values.shape[1] - count, axis=1)[:, -count:]
        return anomaly_map, largest.mean(axis=1)

    def score(self, maps: Float[np.ndarray, "b H W"], inspected: Bool[np.ndarray, "b H W"]) -> Float[np.ndarray, " b"]:
        """Scores from the inspected part of maps."""
        parts = [anomaly_map[cells] for anomaly_map, cells in zip(maps, inspected, strict=True)]
        scores = [np.sort(part)[-self._count(part.size) :].mean() if part.size else -np.inf for part in parts]
        return np.array(scores, np.float32)

    def _count(self, cells: int) -> int:
        """How many of so many values are averaged."""
        return min(cells, self.top_pixels) if self.top_pixels else max(1, int(self.top_fraction * cells))

    def _enlarged(self, grids: Float[np.ndarray, "b h w"]) -> Float[np.ndarray, "b H W"]:
        # All stages are linear and work on rows and columns one after the other: one matrix for each axis.
        rows, columns = (
            _axis(cells, pixels, self.map_px, self.align_corners, self.blur_sigma_px)
            for cells, pixels in zip(grids.shape[1:], self.input_px, strict=True)
        )
        enlarged: np.ndarray = rows @ grids.astype(np.float32, copy=False) @ columns.T
        return enlarged


@cache
def _axis(
    cells: int, input_px: int, map_px: int, align_corners: bool, blur_sigma_px: float
) -> Float[np.ndarray, "out cells"]:
    """One axis of the chain grid, image size, map size, blur."""
    matrix = _bilinear(cells, input_px, align_corners)
    if map_px:
        matrix = _bilinear(input_px, map_px, align_corners=False) @ matrix
    if blur_sigma_px:
        offset = np.arange(_BLUR_PX) - _BLUR_PX // 2
        kernel = np.exp(-(offset**2) / (2 * blur_sigma_px**2))
        matrix = np.stack([np.convolve(column, kernel / kernel.sum(), mode="same") for column in matrix.T], axis=1)
    return matrix.astype(np.float32)


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
