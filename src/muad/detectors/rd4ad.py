"""RD4AD: reverse distillation. What a mirrored decoder cannot restore of a frozen CNN's features is anomalous.

In reading order: configuration, network, loss, anomaly map and score. Three stages of the encoder are fused and
squeezed into one small map, which has room for what normal images have in common; a decoder gives the stages back.

Deng and Li, Anomaly Detection via Reverse Distillation from One-Class Embedding, CVPR 2022, arXiv:2201.10703; official
code hq-deng/RD4AD (MIT), written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encoder` | `encoder` | teacher |
| `bottleneck` | `bn` | MFF and OCE |
| `decoder` | `decoder` | student |

Departures from it are listed in docs/fidelity.md. Read next: nn/reverse_distillation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.packages import installed_cnn
from muad.encoders.pyramids import Pyramid, build_pyramid, reading_strides
from muad.errors import LARGEST_PX, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.mining import flattened_cosine_loss
from muad.nn.reverse_distillation import (
    FusingBottleneck,
    MirroredDecoder,
    ResidualConfig,
    learned_tensors,
    require_halving,
    stage_distances,
)
from muad.runtime.heads import Blur, GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

_STRIDES = (4, 8, 16)
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Rd4adConfig(DetectorConfig):
    """Everything the authors chose. The defaults are theirs.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen CNN; three stages are read, those of strides 4, 8 and 16 unless it says others.
        resize_px: Height and width images are resized to.
        blocks: Residual blocks of bottleneck and decoder.
        align_corners: Sampling of the maps' enlargement; the authors' True stretches them by up to half a place.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur: `reflected`: a wide Gaussian over the map mirrored at its rim; `five_px`: one of 5x5 pixels over zeros.
        blur_sigma_px: Its width; 0 for none.
        top_fraction: Share of largest map values whose mean is the score; 0 for the maximum.
    """

    name: Literal["rd4ad"] = "rd4ad"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="wide_resnet50_2"))
    resize_px: tuple[int, int] = (256, 256)
    blocks: ResidualConfig = field(default_factory=ResidualConfig)
    align_corners: bool = True
    map_px: int = 0
    blur: Blur = "reflected"
    blur_sigma_px: float = 4.0
    top_fraction: float = 0.0

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        map_px = self.map_px
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        _require(0 <= self.top_fraction <= 1, "top_fraction", "from 0 to 1", self.top_fraction)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' optimizer, and about as many looks at each image as Dinomaly has."""
        return {
            "detector": {"encoder": {"name": offline_pyramid()}},
            "optim": {
                "kind": "adam", "lr": 0.005, "betas": [0.5, 0.999], "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False,
                "clip_norm": 0.0,
            },
            "schedule": {"kind": "constant", "total_steps": suggested_steps(images, device), "warmup_steps": 0},
        }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ network


class Rd4ad(SteppingDetector):
    """Frozen encoder, fusing bottleneck, mirrored decoder.

    Args:
        config: Architecture and scoring.

    Raises:
        ConfigError: The encoder is no CNN, or its stages or the image size do not go with it.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = Rd4adConfig

    def __init__(self, config: Rd4adConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = three_stages(config.encoder, config.resize_px)
        self.encoder.fold()
        self.fingerprint, self.encoding = self.encoder.fingerprint, f"stages {self.encoder.tap_layers}"
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.map_head = GridHead(
            grids=tuple(f"stage_{number}" for number in range(len(self.encoder.channels))),
            input_px=config.resize_px,
            map_px=config.map_px,
            align_corners=config.align_corners,
            blur_sigma_px=config.blur_sigma_px,
            blur=config.blur,
            top_fraction=config.top_fraction,
        )
        self.bottleneck = FusingBottleneck(self.encoder.channels, config.blocks)
        self.decoder = MirroredDecoder(self.encoder.channels, self.encoder.grids, config.blocks)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group."""
        return [{"name": "decoder", "params": [*self.decoder.parameters(), *self.bottleneck.parameters()]}]

    def trainable_state(self) -> dict[str, Tensor]:
        """Bottleneck and decoder, with the statistics of their batch norms."""
        return learned_tensors(self.bottleneck, "bottleneck") | learned_tensors(self.decoder, "decoder")

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Three stages of the frozen encoder, fine to coarse."""
        return tuple(self.encoder(images))

    def decode(self, stages: tuple[Float[Tensor, "b c h w"], ...]) -> list[Float[Tensor, "b c h w"]]:
        """The same stages as the decoder restores them."""
        restored: list[Tensor] = self.decoder(self.bottleneck(stages))
        return restored

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  the same at every step
        """Sum over the stages of the cosine distance between flattened maps."""
        stages = self.encode(batch.images) if batch.features is None else cast("tuple[Tensor, ...]", batch.features)
        losses = [flattened_cosine_loss(a, b) for a, b in zip(stages, self.decode(stages), strict=True)]
        terms = {f"cosine_stage_{number}": loss.detach() for number, loss in enumerate(losses)}
        return Losses(total=torch.stack(losses).sum(), terms=terms)

    # ------------------------------------------------------------------------------- anomaly map and score

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Cosine distance at every place of each stage; `map_head` adds them up."""
        return self.compare(self.encode(images))

    def compare(self, stages: tuple[Float[Tensor, "b c h w"], ...]) -> dict[str, Tensor]:
        """The same from stages that are there already."""
        distances = stage_distances(stages, self.decode(stages))
        return {f"stage_{number}": grid for number, grid in enumerate(distances)}


def three_stages(config: EncoderConfig, image_size: tuple[int, int]) -> Pyramid:
    """A frozen CNN of which three stages are read, each half as large as the one before.

    Args:
        config: What is wanted; without stages, the last of each of strides 4, 8 and 16.
        image_size: Height and width of the images.

    Raises:
        ConfigError: It is no CNN, or has no such stages.
        CheckpointError: The weights cannot be had.
    """
    pyramid = build_pyramid(reading_strides(config, _STRIDES), image_size)
    require_halving(pyramid.grids, pyramid.tap_layers, config.name)
    return pyramid


def offline_pyramid() -> str:
    """The CNN that is suggested: one with learned weights if its package is there, else one of random weights."""
    return installed_cnn() or "random-resnet18"


def suggested_steps(images: int, device: str) -> int:
    """Steps for that many good images: about 44 looks at each in batches of 16, within what a device can do."""
    longest = 10_000 if device == "cuda" else 1_000
    return min(longest, max(300, round(images * 44 / 16 / 100) * 100))
