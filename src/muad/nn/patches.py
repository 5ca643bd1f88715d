"""Locally aware patch features: what PatchCore remembers and SimpleNet judges, from stages of a CNN.

Each place of a stage takes its neighbours' values along; averages over runs of them bring every stage to one width.

References:
    Roth et al., PatchCore, CVPR 2022, arXiv:2106.08265, section 3.1; `PatchMaker`, `Preprocessing` and `Aggregator` of
    amazon-science/patchcore-inspection, which SimpleNet takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def embed_patches(
    stages: Sequence[Float[Tensor, "b _ _ _"]], *, stage_width: int, width: int, neighbourhood: int = 3
) -> Float[Tensor, "b n width"]:
    """One feature for every place of the first stage, row by row.

    Averaging comes before coarse stages are enlarged: it works on channels, the other on places, so the order matters
    for memory alone, and the authors' holds nine times as much.

    Args:
        stages: Maps, fine to coarse; in float32 whatever they are in.
        stage_width: To which each stage's channels times neighbours are averaged.
        width: To which the stages side by side are averaged.
        neighbourhood: Side of the window around a place, odd; zeros stand in for what lies outside the map.
    """
    grid = stages[0].shape[2:]
    averaged = []
    for stage in stages:
        rows, columns = stage.shape[2:]
        windows = F.unfold(stage.float(), neighbourhood, padding=neighbourhood // 2)  # (b, c k k, n)
        pooled = _averages(windows, stage_width).reshape(stage.shape[0], stage_width, rows, columns)
        if (rows, columns) != tuple(grid):
            pooled = F.interpolate(pooled, grid, mode="bilinear", align_corners=False)
        averaged.append(pooled.flatten(2))
    return _averages(torch.cat(averaged, dim=1), width).transpose(1, 2)


def _averages(values: Float[Tensor, "b c n"], width: int) -> Float[Tensor, "b width n"]:
    """Adaptive averages over the channels, which are equal runs where their number allows it."""
    batch, channels, places = values.shape
    if channels == width:
        return values
    if channels % width == 0:
        return values.reshape(batch, width, channels // width, places).mean(dim=2)
    return F.adaptive_avg_pool1d(values.transpose(1, 2), width).transpose(1, 2)
