"""A running mean of weights, which often predicts better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class WeightAverage:
    """Exponential moving average of named tensors.

    At the beginning, where it would hold little but the initial values, it averages over fewer steps.

    Args:
        tensors: What is averaged, as it is now.
        decay: Share of the mean that a step leaves.

    Attributes:
        tensors: The mean; of whole numbers, such as counters, the last value.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take in the values after one step, the first of which is step 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)
