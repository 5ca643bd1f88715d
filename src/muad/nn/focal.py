"""What focal losses are made of: cross-entropy that counts less the surer the network is of the truth.

References:
    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv:1708.02002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def focal_entropy(logits: Float[Tensor, "b 1 H W"], masks: Float[Tensor, "b 1 H W"], gamma: float) -> Float[Tensor, ""]:
    """Mean of (1 - p)^gamma times the binary cross-entropy, p being the probability given to the truth."""
    entropy = F.binary_cross_entropy_with_logits(logits.float(), masks, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()
