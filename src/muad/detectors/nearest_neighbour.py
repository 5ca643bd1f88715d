"""The honest baseline: how far is each patch from the nearest patch of a normal image, in the same features?

PatchCore without its network: neighbourhood-averaged patch features, a greedy coreset of those of normal images,
and the distance to the nearest of them. Everything before and after (encoder, layer groups, preprocessing, map, score)
is Dinomaly's, so that the two differ in the detector alone.

References:
    Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022, arXiv:2106.08265.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.dinomaly import top_mean
from muad.errors import ConfigError
from muad.types import Prediction

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from muad.detectors.dinomaly import Dinomaly

_PROJECTED_WIDTH = 64
_NEIGHBOURHOOD = 3


class NearestNeighbour(nn.Module):
    """Scores patches by their distance to remembered normal ones.

    DEVIATION: PatchCore compares by Euclidean distance and reweights the largest one; here each layer group is brought
    to unit length first, so that the distance is the cosine Dinomaly uses, and the score is Dinomaly's.

    Args:
        frozen: Gives encoder, layer groups, preprocessing, map and score; its decoder is not used.
        coreset_fraction: Share of the patches that is remembered, above 0 to 1.
    """

    def __init__(self, frozen: Dinomaly, coreset_fraction: float = 0.02) -> None:
        super().__init__()
        if not 0 < coreset_fraction <= 1:
            raise ConfigError(f"coreset_fraction must be above 0 and at most 1, got {coreset_fraction}.")
        self.frozen = frozen
        self.preprocessing = frozen.preprocessing
        self.coreset_fraction = coreset_fraction
        self.memory: Float[Tensor, "m d"] | None = None

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return self.frozen.device

    @torch.no_grad()
    def remember(self, batches: Iterable[Float[Tensor, "b 3 H W"]], seed: int = 0) -> None:
        """Add a coreset of the patches of normal images, usually all of one category, to what is remembered."""
        patches = torch.cat([self.describe(images).flatten(0, 1) for images in batches])
        count = max(1, int(self.coreset_fraction * len(patches)))
        chosen = patches[greedy_coreset(patches, count, seed)]
        self.memory = chosen if self.memory is None else torch.cat([self.memory, chosen])

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Maps and scores made from patch distances as Dinomaly makes them from its own.

        Raises:
            ConfigError: Nothing was remembered yet.
        """
        if self.memory is None:
            raise ConfigError("memory must hold normal patches before prediction, got none. Call remember first.")
        patches = self.describe(images)  # (b, h w, d), of length sqrt(groups)
        similarity = torch.stack([(image @ self.memory.T).amax(1) for image in patches])
        groups = patches[0, 0].square().sum()
        distance = (2 * (groups - similarity)).clamp(min=0).sqrt().reshape(-1, *self.frozen.encoder.grid)
        anomaly_map = self.frozen.blur(self.frozen.resize_map(distance))
        return Prediction(anomaly_map=anomaly_map, score=top_mean(anomaly_map, self.frozen.config.top_fraction))

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores from the inspected part of maps, as Dinomaly makes them."""
        return self.frozen.score(maps, inspected)

    def describe(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b n d"]:
        """Patch features: each group averaged over 3x3 patches and brought to unit length, then laid side by side."""
        groups = len(self.frozen.layer_groups)
        kept = self.frozen.encode(images)[:, :groups, -self.frozen.encoder.grid[0] * self.frozen.encoder.grid[1] :]
        batch, _, _, width = kept.shape
        spatial = kept.float().flatten(0, 1).transpose(1, 2).reshape(batch * groups, width, *self.frozen.encoder.grid)
        averaged = F.avg_pool2d(spatial, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2, count_include_pad=False)
        unit = F.normalize(averaged.flatten(2).transpose(1, 2), dim=-1)  # (b groups, n, d)
        return unit.reshape(batch, groups, -1, width).transpose(1, 2).flatten(2)


def greedy_coreset(patches: Float[Tensor, "m d"], count: int, seed: int = 0) -> Int[Tensor, " count"]:
    """Indices of patches such that every patch has a chosen one near: always the farthest one next.

    Distances are taken in a random projection, which keeps them to a few percent.

    Args:
        patches: Candidates.
        count: How many to choose.
        seed: Of the first choice and of the projection.
    """
    generator = torch.Generator().manual_seed(seed)
    width = min(_PROJECTED_WIDTH, patches.shape[1])
    projection = torch.randn(patches.shape[1], width, generator=generator).to(patches.device) / width**0.5
    points = patches @ projection
    chosen = torch.empty(count, dtype=torch.long, device=patches.device)
    chosen[0] = int(torch.randint(len(points), (1,), generator=generator))
    squared = points.square().sum(1)
    nearest = torch.full((len(points),), torch.inf, device=patches.device)
    for place in range(1, count):
        last = points[chosen[place - 1]]
        nearest = torch.minimum(nearest, squared - 2 * (points @ last) + last.square().sum())
        chosen[place] = nearest.argmax()
    return chosen
