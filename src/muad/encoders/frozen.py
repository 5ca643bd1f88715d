"""What vision transformers and CNNs have in common once they are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.encoders.encoder import EncoderConfig
    from muad.encoders.families import EncoderFamily
    from muad.encoders.pyramids import PyramidFamily


class Frozen(nn.Module):
    """A network for images of one size that stays in eval mode and computes no gradients.

    Attributes:
        name: As asked for.
        image_size: Height and width of the images it takes.
        fingerprint: SHA-256 of the weights that take part, whatever file they came from and whatever the image size.
        mean: Channel means the images must be normalised by.
        std: Channel standard deviations they must be normalised by.
        licence: Of the weights.
        source: Where the weights are from, as a phrase for people.
        is_random: True if nothing was learned: the weights come from a seed.
    """

    def __init__(
        self,
        network: nn.Module,
        config: EncoderConfig,
        family: EncoderFamily | PyramidFamily,
        image_size: tuple[int, int],
        weights_fingerprint: str,
    ) -> None:
        super().__init__()
        self.name = config.name
        self.image_size = image_size
        self.fingerprint = weights_fingerprint
        self.mean = family.mean
        self.std = family.std
        self.licence = family.licence
        self.is_random = config.is_random
        self.source = f"{family.source}, seed {config.seed}" if config.is_random else family.source
        self.network = network
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002  the signature is torch's
        """Stay in eval mode: batch norm uses its trained statistics, DINOv3 does not jitter its rotary positions."""
        return super().train(False)

    def averaged(self, images: Float[Tensor, "b 6 H W"]) -> list[Tensor]:
        """Of images that show two senses, three channels each: what it makes of both, averaged layer by layer.

        References:
            Guo et al., Dinomaly2, arXiv:2510.17611; its preview code, whose share of the first sense is a half.
        """
        first, second = images[:, :3], images[:, 3:]
        outputs: list[Tensor] = self(torch.cat([first, second]))
        return [0.5 * output[: len(images)] + 0.5 * output[len(images) :] for output in outputs]

    def require_images(self, images: Float[Tensor, "b c H W"]) -> None:
        """Refuse images of another size.

        Raises:
            ConfigError: They are.
        """
        if tuple(images.shape[1:]) != (3, *self.image_size):
            msg = f"images must be [b, 3, {self.image_size[0]}, {self.image_size[1]}], got {list(images.shape)}."
            raise ConfigError(msg)
