"""From the patch grid to the blurred map and the score, without the stages in between.

Upsampling, resizing and the Gaussian with zeros outside are linear and work on rows and columns one after the other, so
all three together are one matrix per axis: map = R grid C^T. The matrices are the chain applied to the identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from muad.detectors.scoring import mean_of_largest

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from muad.detectors import Dinomaly

_BLUR_PX = 5


class MapMaker:
    """Maps and scores of a detector's patch grids.

    Args:
        detector: Its sizes and sampling count; it is not kept.

    Attributes:
        size: Height and width of the maps.
    """

    def __init__(self, detector: Dinomaly) -> None:
        config = detector.config
        self._top_fraction = config.top_fraction
        rows, columns = (
            _axis_matrix(patches, input_px, config.map_px, config.align_corners, config.blur_sigma_px)
            for patches, input_px in zip(detector.encoder.grid, config.crop_px, strict=True)
        )
        self._rows, self._columns = rows.float(), columns.float()
        self.size = (len(rows), len(columns))

    def maps(self, grids: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """What `resize_map` and `blur` of the detector give, on the grids' device."""
        if self._rows.device != grids.device:
            self._rows, self._columns = self._rows.to(grids.device), self._columns.to(grids.device)
        return torch.matmul(torch.matmul(self._rows, grids.float()), self._columns.t())

    def partial_scores(self, maps: Float[Tensor, "b H W"], inspected: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
        """The same from the inspected part of each map."""
        return mean_of_largest(maps, inspected, lambda cells: max(1, int(self._top_fraction * cells)))

    def scores(self, maps: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
        """Mean of the largest values of each map, found by partial selection."""
        values = maps.flatten(1)
        count = max(1, int(self._top_fraction * values.shape[1]))
        if values.device.type != "cpu":
            return values.topk(count, dim=1, sorted=False).values.mean(dim=1)
        largest = np.partition(values.numpy(), values.shape[1] - count, axis=1)[:, -count:]
        return torch.from_numpy(largest.mean(axis=1))


def _axis_matrix(
    patches: int, input_px: int, map_px: int, align_corners: bool, blur_sigma_px: float
) -> Float[Tensor, "out patches"]:
    """One axis of the chain patch grid, input size, map size, blur, in float64."""
    line = torch.eye(patches, dtype=torch.float64)[:, None]  # one impulse per patch
    line = F.interpolate(line, input_px, mode="linear", align_corners=align_corners)
    if map_px:
        line = F.interpolate(line, map_px, mode="linear", align_corners=False)
    if blur_sigma_px:
        offset = torch.arange(_BLUR_PX, dtype=torch.float64) - _BLUR_PX // 2
        kernel = torch.exp(-(offset**2) / (2 * blur_sigma_px**2))
        line = F.conv1d(line, (kernel / kernel.sum())[None, None], padding=_BLUR_PX // 2)
    return line[:, 0].t().contiguous()
