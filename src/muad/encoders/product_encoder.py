"""The encoder in the package, as the recogniser uses it: one forward pass, tokens out. All else is numpy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from muad.device import choose_device
from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.recognition.appearance import SIDE_PX, Appearance
from muad.recognition.products import ENCODER

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

_LAST_BLOCK, _BATCH = 11, 16


def product_encoder(device: str | torch.device) -> ProductEncoder:
    """The one of a device, shared by all who need it: it is frozen."""
    return _of_device(choose_device(device))


@lru_cache(maxsize=2)
def _of_device(device: torch.device) -> ProductEncoder:
    return ProductEncoder(device)


class ProductEncoder(nn.Module):
    """The encoder in the package, for photographs in the recogniser's size. Get it from `product_encoder`.

    Args:
        device: Where to compute.

    Attributes:
        fingerprint: Of its weights.
        prefix_tokens: How many of its tokens come before the patches.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        config = EncoderConfig(name=ENCODER, tap_layers=(_LAST_BLOCK,))
        self._encoder = build_encoder(config, (SIDE_PX, SIDE_PX)).to(device)
        self._device = device
        self.fingerprint = self._encoder.fingerprint
        self.prefix_tokens = self._encoder.prefix_tokens

    def encode(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Appearance:
        """What images that `shrink` made look like."""
        parts = []
        for start in range(0, len(images), _BATCH):
            chosen = images[start : start + _BATCH]
            tokens: Tensor = self(torch.from_numpy(np.stack(chosen)))
            parts.append(Appearance.of_tokens(tokens.cpu().numpy(), self.prefix_tokens, chosen))
        return Appearance.joined(parts)

    @torch.no_grad()
    def forward(self, pixels: UInt8[Tensor, "b H W 3"]) -> Float[Tensor, "b n d"]:
        """Tokens of the last block, from what `shrink` made."""
        mean, std = (torch.tensor(value)[:, None, None] for value in (self._encoder.mean, self._encoder.std))
        images = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
        tapped: list[Tensor] = self._encoder(images.to(self._device))
        return tapped[0].float()
