"""The plain path to compare with: Dinomaly in eager float32, operation by operation in the authors' order.

Softmax attention with its n x n matrix, linear attention by three-operand sums, layers stacked to be averaged, features
moved to images before they are compared, one upsampling per group, every map value sorted for the score. The weights
are those of the given detector, so both give the same maps (tests/benchmarks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors import Dinomaly


class ReferencePath(nn.Module):
    """Maps and scores of a detector with linear attention and two groups, the slow way.

    Args:
        detector: Trained; its encoder is switched to explicit softmax attention.
    """

    def __init__(self, detector: Dinomaly) -> None:
        super().__init__()
        self.detector = detector
        for block in detector.encoder.network.blocks:
            block.attn.fused_attn = False

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, " b"]]:
        """Blurred maps and scores."""
        encoded, restored = self.features(self.detector.encoder(images), dropout_rate=0.0)
        maps = self._map(encoded, restored, images.shape[-2:])
        values = torch.sort(maps.flatten(1), dim=1, descending=True)[0]
        return maps, values[:, : int(values.shape[1] * self.detector.config.top_fraction)].mean(dim=1)

    def features(
        self, layers: list[Float[Tensor, "b n d"]], *, dropout_rate: float
    ) -> tuple[list[Float[Tensor, "b d h w"]], list[Float[Tensor, "b d h w"]]]:
        """Encoder and decoder features to compare, one pair of images for each group."""
        detector = self.detector
        tokens = F.dropout(torch.stack(layers, dim=1).mean(dim=1), dropout_rate)
        tokens = F.dropout(F.gelu(detector.bottleneck.fc1(tokens)), dropout_rate)
        tokens = F.dropout(detector.bottleneck.fc2(tokens), dropout_rate)
        decoded = []
        for block in detector.decoder:
            tokens = tokens + _linear_attention(block.attn, block.norm1(tokens))
            tokens = tokens + block.mlp["fc2"](F.gelu(block.mlp["fc1"](block.norm2(tokens))))
            decoded.append(tokens)
        decoded = decoded[::-1]
        encoded = [self._as_image([layers[layer] for layer in group]) for group in detector.layer_groups]
        restored = [self._as_image([decoded[layer] for layer in group]) for group in detector.layer_groups]
        return encoded, restored

    def _as_image(self, layers: list[Float[Tensor, "b n d"]]) -> Float[Tensor, "b d h w"]:
        mean = torch.stack(layers, dim=1).mean(dim=1)[:, self.detector.encoder.prefix_tokens :]
        return mean.permute(0, 2, 1).reshape(len(mean), -1, *self.detector.encoder.grid).contiguous()

    def _map(self, encoded: list[Tensor], restored: list[Tensor], size: tuple[int, int]) -> Float[Tensor, "b H W"]:
        maps = []
        for target, output in zip(encoded, restored, strict=True):
            distance = 1 - F.cosine_similarity(target, output)
            corners = self.detector.config.align_corners
            maps.append(F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=corners))
        anomaly_map = torch.cat(maps, dim=1).mean(dim=1, keepdim=True)
        side = self.detector.config.map_px
        anomaly_map = F.interpolate(anomaly_map, size=side, mode="bilinear", align_corners=False)
        return _blur(anomaly_map, self.detector.config.blur_sigma_px)[:, 0]


def _linear_attention(mixer: nn.Module, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    batch, count, width = tokens.shape
    qkv = mixer.qkv(tokens).reshape(batch, count, 3, mixer.heads, width // mixer.heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    q, k = F.elu(q) + 1.0, F.elu(k) + 1.0
    summary = torch.einsum("...sd,...se->...de", k, v)
    normaliser = 1.0 / torch.einsum("...sd,...d->...s", q, k.sum(dim=-2))
    mixed = torch.einsum("...de,...sd,...s->...se", summary, q, normaliser)
    return mixer.proj(mixed.transpose(1, 2).reshape(batch, count, width))


def _blur(maps: Float[Tensor, "b 1 H W"], sigma_px: float) -> Float[Tensor, "b 1 H W"]:
    offset = torch.arange(5.0) - 2
    kernel = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma_px**2))
    return F.conv2d(maps, (kernel / kernel.sum())[None, None], padding=2)
