"""Losses over whole feature maps whose gradient is damped where reconstruction is already good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def flattened_cosine_loss(
    encoded: Float[Tensor, "b ..."], decoded: Float[Tensor, "b ..."], weight: Float[Tensor, "b ..."] | None = None
) -> Float[Tensor, ""]:
    """Mean cosine distance between whole feature maps, in float32; 0 to 2.

    Each image's map is flattened to one vector, so places of large norm weigh more. The value does not depend on the
    weight: the authors' codes scale gradients in a hook, here the same gradient comes from
    b' = stop(b) + w (b - stop(b)), which equals b.

    Args:
        encoded: Features to restore; receive no gradient.
        decoded: Restored features.
        weight: Factors on the gradient; None for 1.
    """
    encoded, decoded = encoded.detach().float(), decoded.float()
    if weight is not None:
        fixed = decoded.detach()
        decoded = fixed + weight * (decoded - fixed)
    return (1 - F.cosine_similarity(encoded.flatten(1), decoded.flatten(1), dim=-1)).mean()


def least_hard(points: Float[Tensor, " m"], easy_fraction: float | Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The smallest distance that still counts as hard, if that share of all is easy."""
    # DEVIATION: at least one point counts as hard; the authors' code fails on batches under ten points.
    if isinstance(easy_fraction, torch.Tensor):  # how many is known on the device alone
        hard = (points.numel() * (1 - easy_fraction)).long().clamp(min=1)
        return points.sort(descending=True).values.gather(0, hard[None] - 1)[0]
    return points.topk(max(1, int(points.numel() * (1 - easy_fraction)))).values[-1]


def gather_points(distance: Float[Tensor, "b ..."]) -> Float[Tensor, "all ..."]:
    """The points of every process, so that mining does not depend on how many there are."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return distance
    everyone = [torch.empty_like(distance) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, distance.contiguous())
    return torch.cat(everyone)
