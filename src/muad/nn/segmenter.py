"""The segmentation network of DiffusionAD, which is DRAEM's: a U-Net with batch norm from six channels to one logit.

References:
    Zavrtanik et al., DRAEM, ICCV 2021, arXiv:2108.07610; Zhang et al., DiffusionAD, arXiv:2303.08730.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

DIVISOR_PX = 32
"""Height and width of its images must be multiples of this: it halves them five times."""


class Segmenter(nn.Module):
    """Tells from an image and its reconstruction where they differ in a way that matters.

    Args:
        width: Channels of the first stage; the authors' 64 gives 28,373,569 parameters.
        in_channels: Image and reconstruction together.
    """

    def __init__(self, width: int = 64, in_channels: int = 6) -> None:
        super().__init__()
        down = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        up = [width * factor for factor in (8, 4, 2, 1, 1)]
        self.encoder = nn.ModuleList(
            _double_convolution(inside, outside) for inside, outside in zip([in_channels, *down], down, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(inside, outside, 3, padding=1),
                nn.BatchNorm2d(outside),
                nn.ReLU(inplace=True),
            )
            for inside, outside in zip([down[-1], *up], up, strict=False)
        )
        self.decoder = nn.ModuleList(
            _double_convolution(outside + skipped, outside) for outside, skipped in zip(up, down[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(up[-1], 1, 3, padding=1)

    def forward(self, pair: Float[Tensor, "b 6 H W"]) -> Float[Tensor, "b 1 H W"]:
        """Logit of being anomalous for every pixel of images stacked on their reconstructions."""
        levels = [self.encoder[0](pair)]
        for stage in self.encoder[1:]:
            levels.append(stage(self.pool(levels[-1])))
        hidden = levels.pop()
        for enlarge, stage in zip(self.enlarge, self.decoder, strict=True):
            hidden = stage(torch.cat([enlarge(hidden), levels.pop()], dim=1))
        logits: Tensor = self.head(hidden)
        return logits


def from_official_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the authors' segmentation checkpoints under the names they have here."""
    prefixes = {f"encoder_segment.block{number}": f"encoder.{number - 1}" for number in range(1, 7)}
    for index, letter in enumerate("b1234"):
        joint = "_" if letter == "b" else ""
        prefixes[f"decoder_segment.up{joint}{letter}"] = f"enlarge.{index}"
        prefixes[f"decoder_segment.db{joint}{letter}"] = f"decoder.{index}"
    prefixes["decoder_segment.fin_out.0"] = "head"
    renamed = {}
    for name, tensor in weights.items():
        known = next((prefix for prefix in prefixes if name.startswith(f"{prefix}.")), None)
        renamed[name if known is None else prefixes[known] + name.removeprefix(known)] = tensor
    return renamed


def _double_convolution(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )
