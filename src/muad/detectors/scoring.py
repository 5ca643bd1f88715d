"""The score of an image whose map counts only in part, because the rest shows padding or lies outside the region."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


def mean_of_largest(
    maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"], count: Callable[[int], int]
) -> Float[Tensor, " b"]:
    """Mean of the largest inspected values of each map; minus infinity where nothing was inspected.

    Args:
        maps: Anomaly maps.
        inspected: Which of their cells count.
        count: How many values to take of so many.
    """
    values = [anomaly_map[cells] for anomaly_map, cells in zip(maps, inspected, strict=True)]
    nothing = maps.new_full((), -torch.inf)
    return torch.stack([part.topk(count(part.numel())).values.mean() if part.numel() else nothing for part in values])
