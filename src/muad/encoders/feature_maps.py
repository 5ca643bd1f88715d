"""Feature maps of one frozen encoder, or of several that look at the same images side by side.

What encoders learned differs with what they were trained on, so that one sees what another misses. Each gets the images
as it was trained to see them; what comes out is a list of maps, which a detector brings to one grid and weighs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.encoders.pyramids import Pyramid, build_pyramid
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.encoders.encoder import Encoder


class FeatureMaps(nn.Module):
    """Frozen encoders for images of one size, always in eval mode.

    Args:
        configs: The encoders, at least one.
        image_size: Height and width of the images.
        groups: Into how many equal groups the tapped blocks of each vision transformer are averaged; stages of a CNN
            are never averaged.

    Attributes:
        mean: Channel means the images must be normalised by: those of the first encoder; others see them normalised
            anew.
        std: Channel standard deviations they must be normalised by.
        fingerprint: Of the weights of all.
        channels: Of every map that comes out.
        grids: Rows and columns of each.
        from_transformers: Of each, whether it comes from a vision transformer.
        taps: Tapped blocks or stages of each encoder.

    Raises:
        ConfigError: The size does not go with one of them, or the groups do not divide its blocks.
        CheckpointError: Weights cannot be had.
    """

    def __init__(self, configs: Sequence[EncoderConfig], image_size: tuple[int, int], groups: int) -> None:
        super().__init__()
        self.groups = groups
        built: list[Encoder | Pyramid] = [
            (build_pyramid if config.is_pyramid else build_encoder)(config, image_size) for config in configs
        ]
        self.encoders = nn.ModuleList(built)
        self.mean, self.std = built[0].mean, built[0].std
        self.taps = tuple(encoder.tap_layers for encoder in built)
        channels: list[int] = []
        grids: list[tuple[int, int]] = []
        from_transformers: list[bool] = []
        for place, encoder in enumerate(built):
            if (encoder.mean, encoder.std) != (self.mean, self.std):
                scale, shift = _renormalised((self.mean, self.std), (encoder.mean, encoder.std))
                self.register_buffer(f"scale_{place}", scale, persistent=False)
                self.register_buffer(f"shift_{place}", shift, persistent=False)
            if isinstance(encoder, Pyramid):
                encoder.fold()
                channels += encoder.channels
                grids += encoder.grids
                from_transformers += [False] * len(encoder.grids)
                continue
            if len(encoder.tap_layers) % groups:
                msg = f"detector.groups must divide the {len(encoder.tap_layers)} tapped layers, got {groups}."
                raise ConfigError(msg)
            channels += [encoder.width] * groups
            grids += [encoder.grid] * groups
            from_transformers += [True] * groups
        self.channels, self.grids = tuple(channels), tuple(grids)
        self.from_transformers = tuple(from_transformers)
        prints = [encoder.fingerprint for encoder in built]
        self.fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002  the signature is torch's
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 H W"], *, lowered: bool = False) -> list[Float[Tensor, "b c h w"]]:
        """Maps of all encoders in their order, each fine to coarse or shallow to deep.

        Args:
            images: Normalised by `mean` and `std`.
            lowered: Whether vision transformers multiply in bfloat16, which changes their features by a few parts in a
                thousand. A CNN stays float32: without layer norm it would round what it has rounded, layer after layer,
                and its features change by up to a tenth.
        """
        maps: list[Tensor] = []
        for place, encoder in enumerate(self.encoders):
            seen = images
            if hasattr(self, f"scale_{place}"):
                seen = images * getattr(self, f"scale_{place}") + getattr(self, f"shift_{place}")
            with torch.autocast(
                images.device.type, torch.bfloat16, enabled=lowered and not isinstance(encoder, Pyramid)
            ):
                tapped: list[Tensor] = encoder(seen)
            maps += tapped if isinstance(encoder, Pyramid) else self._grouped(tapped, encoder)
        return maps

    def _grouped(self, tapped: list[Tensor], encoder: nn.Module) -> list[Float[Tensor, "b d h w"]]:
        """Patch tokens of each group of blocks, averaged, as maps."""
        count = len(tapped) // self.groups
        maps = []
        for begin in range(0, len(tapped), count):
            tokens = _mean(tapped[begin : begin + count])[:, encoder.prefix_tokens :]
            rows, columns = encoder.grid  # type: ignore[misc]  # a module's attributes have no types
            maps.append(tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns))
        return maps


def _renormalised(
    now: tuple[Sequence[float], Sequence[float]], wanted: tuple[Sequence[float], Sequence[float]]
) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Factor and summand that bring images normalised one way to another."""
    (mean, std), (new_mean, new_std) = (
        [torch.tensor(part, dtype=torch.float64) for part in pair] for pair in (now, wanted)
    )
    scale, shift = std / new_std, (mean - new_mean) / new_std
    return scale.float()[:, None, None], shift.float()[:, None, None]


def _mean(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total / len(tensors)
