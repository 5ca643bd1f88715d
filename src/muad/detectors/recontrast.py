"""ReContrast: reverse distillation whose encoder learns what the images at hand look like, without collapsing.

In reading order: configuration, network, loss, anomaly map and score. A copy of the frozen CNN is trained beside it.
The stages of both go through one bottleneck and one decoder; what is restored from one is compared with the stages of
the other, so that the two views of an image are contrasted and neither may become constant.

Guo et al., ReContrast: Domain-Specific Anomaly Detection via Contrastive Reconstruction, NeurIPS 2023,
arXiv:2306.02602; official code guojiajeremy/ReContrast, written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encoder`, `trained` | `encoder_freeze`, `encoder` | frozen and trainable encoder |
| `bottleneck`, `decoder` | `bottleneck`, `decoder` with `output_conv=2` | bottleneck, decoder |
| `hard_from`, `hard_to` | `alpha`, `alpha_final` | alpha of the global cosine with hard-normal mining |
| `easy_weight` | `factor` | |

Departures from it are listed in docs/fidelity.md. Read next: nn/reverse_distillation.py, nn/mining.py.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.rd4ad import offline_pyramid, suggested_steps, three_stages
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.errors import LARGEST_PX, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.mining import flattened_cosine_loss, gather_points
from muad.nn.reverse_distillation import (
    FusingBottleneck,
    MirroredDecoder,
    ResidualConfig,
    learned_tensors,
    stage_distances,
)
from muad.runtime.heads import Blur, GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

    Stages = list[Float[Tensor, "b c h w"]]

_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class ReContrastConfig(DetectorConfig):
    """Everything the authors chose. The defaults are theirs for one detector of many categories.

    Attributes:
        name: Which detector this configures.
        encoder: The CNN, frozen and copied; three stages are read, those of strides 4, 8 and 16 unless it says others.
        resize_px: Height and width images are resized to.
        blocks: Residual blocks of bottleneck and decoder.
        activation: Of the decoder.
        encoder_lr_factor: Learning rate of the trained encoder as a multiple of the schedule's.
        encoder_norm: Batch norm of the trained encoder: `pretrained` statistics, or those of each `batch`, remembered.
        pretrained_norm_categories: Categories of which a batch is normalised by `pretrained` statistics all the same.
        hard_mining: Damp the gradient of places that are already restored well.
        hard_from: A place is easy below the mean distance and so many standard deviations: at the first step.
        hard_to: The same after the ramp.
        hard_ramp_share: Share of the run over which it rises.
        easy_weight: Factor on the gradient of easy places.
        align_corners: Sampling of the maps' enlargement; the authors' True stretches them by up to half a place.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur: `five_px`: a Gaussian of 5x5 pixels over zeros; `reflected`: a wide one over the map mirrored at its rim.
        blur_sigma_px: Its width; 0 for none.
        top_fraction: Share of largest map values whose mean is the score; 0 for the maximum.
    """

    name: Literal["recontrast"] = "recontrast"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="wide_resnet50_2"))
    resize_px: tuple[int, int] = (256, 256)
    blocks: ResidualConfig = field(default_factory=ResidualConfig)
    activation: Literal["gelu", "relu"] = "gelu"
    encoder_lr_factor: float = 0.005
    encoder_norm: Literal["pretrained", "batch"] = "pretrained"
    pretrained_norm_categories: tuple[str, ...] = ()
    hard_mining: bool = True
    hard_from: float = -3.0
    hard_to: float = 1.0
    hard_ramp_share: float = 0.1
    easy_weight: float = 0.0
    align_corners: bool = True
    map_px: int = 0
    blur: Blur = "five_px"
    blur_sigma_px: float = 4.0
    top_fraction: float = 0.01

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        map_px = self.map_px
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        _require(0 <= self.top_fraction <= 1, "top_fraction", "from 0 to 1", self.top_fraction)
        _require(0 <= self.encoder_lr_factor <= 100, "encoder_lr_factor", "from 0 to 100", self.encoder_lr_factor)
        for name in ("hard_from", "hard_to"):
            _require(-100 <= getattr(self, name) <= 100, name, "from -100 to 100", getattr(self, name))
        _require(0 < self.hard_ramp_share <= 1, "hard_ramp_share", "above 0 and at most 1", self.hard_ramp_share)
        _require(0 <= self.easy_weight <= 1, "easy_weight", "from 0 to 1", self.easy_weight)

    @property
    def needs_whole_batch(self) -> str | None:
        """Mining does."""
        return "detector.hard_mining, whose threshold is that of the whole batch" if self.hard_mining else None

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' optimizer and schedule; a short run without a graphics card, for nothing can be kept."""
        steps = suggested_steps(images, device)
        return {
            "detector": {"encoder": {"name": offline_pyramid()}},
            "optim": {"kind": "adamw", "lr": 2e-3, "eps": 1e-10, "weight_decay": 1e-5, "clip_norm": 0.0},
            "schedule": {
                "kind": "drop", "total_steps": steps if device == "cuda" else min(steps, 400), "warmup_steps": 0,
                "final_lr": 4e-4,
            },
        }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ network


class ReContrast(SteppingDetector):
    """Frozen and trained encoder, one bottleneck, a decoder of two outputs.

    Args:
        config: Architecture, loss and scoring.

    Raises:
        ConfigError: The encoder is no CNN, or its stages or the image size do not go with it.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = ReContrastConfig

    def __init__(self, config: ReContrastConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = three_stages(config.encoder, config.resize_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        channels = self.encoder.channels
        self.map_head = GridHead(
            grids=tuple(f"stage_{number}" for number in range(len(channels))),
            weights=(1 / len(channels),) * len(channels),
            input_px=config.resize_px,
            map_px=config.map_px,
            align_corners=config.align_corners,
            blur_sigma_px=config.blur_sigma_px,
            blur=config.blur,
            top_fraction=config.top_fraction,
        )
        self.trained = copy.deepcopy(self.encoder.network).requires_grad_(True)
        self.bottleneck = FusingBottleneck(channels, config.blocks)
        activation = nn.GELU if config.activation == "gelu" else nn.ReLU
        self.decoder = MirroredDecoder(channels, self.encoder.grids, config.blocks, activation, outputs=2)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """The trained encoder's batch norm goes into training mode only where the settings say so."""
        super().train(mode)
        self.trained.train(mode and self.config.encoder_norm == "batch")
        return self

    def parameter_groups(self) -> list[ParameterGroup]:
        """The encoder learns far more slowly than the rest."""
        return [
            {"name": "decoder", "params": [*self.decoder.parameters(), *self.bottleneck.parameters()]},
            {
                "name": "encoder",
                "params": list(self.trained.parameters()),
                "lr_factor": self.config.encoder_lr_factor,
            },
        ]

    def trainable_state(self) -> dict[str, Tensor]:
        """The trained encoder, bottleneck and decoder, with the statistics of their batch norms."""
        parts = ("trained", "bottleneck", "decoder")
        return {name: tensor for part in parts for name, tensor in learned_tensors(getattr(self, part), part).items()}

    def contrast(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Stages, Stages]:
        """Stages and what is restored in their place: the frozen encoder's from the trained one's, then the reverse."""
        frozen, trained = self.encoder(images), list(self.trained(images))
        both = [torch.cat(pair) for pair in zip(trained, frozen, strict=True)]
        restored, count = self.decoder(self.bottleneck(both)), images.shape[0]
        from_trained = self.decoder.version(0, [maps[:count] for maps in restored])
        from_frozen = self.decoder.version(1, [maps[count:] for maps in restored])
        return [*frozen, *trained], [*from_trained, *from_frozen]

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int) -> Losses:
        """Hard-mined cosine loss, summed over the stages and averaged over both directions."""
        config = self.config
        if self.training and config.pretrained_norm_categories:
            listed = set(batch.categories) <= set(config.pretrained_norm_categories)
            self.trained.train(config.encoder_norm == "batch" and not listed)
        encoded, decoded = self.contrast(batch.images)
        risen = min(1.0, step / (config.hard_ramp_share * self.total_steps))
        deviations = config.hard_from + (config.hard_to - config.hard_from) * risen
        easy_weight = config.easy_weight if config.hard_mining else 1.0
        losses = [
            deviating_cosine_loss(target, output, deviations, easy_weight)
            for target, output in zip(encoded, decoded, strict=True)
        ]
        stages = len(losses) // 2
        terms = {
            f"cosine_stage_{number}": (losses[number] + losses[number + stages]).detach() / 2
            for number in range(stages)
        }
        return Losses(total=torch.stack(losses).sum() / 2, terms=terms)

    # ------------------------------------------------------------------------------- anomaly map and score

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Cosine distance at every place of each stage, averaged over both directions."""
        distances = stage_distances(*self.contrast(images))
        stages = len(distances) // 2
        return {f"stage_{n}": (distances[n] + distances[n + stages]) / 2 for n in range(stages)}


def deviating_cosine_loss(
    encoded: Float[Tensor, "b c h w"], decoded: Float[Tensor, "b c h w"], deviations: float, easy_weight: float
) -> Float[Tensor, ""]:
    """Mean cosine distance between whole maps, its gradient damped at places that are restored better than most.

    The value does not depend on the mining, see nn/mining.py.

    Args:
        encoded: Encoder features; receive no gradient.
        decoded: Restored features.
        deviations: Places are easy below the mean of their distances and so many standard deviations, over the batches
            of all processes together.
        easy_weight: Factor on the gradient at easy places; 0 drops them, 1 disables mining.

    References:
        `global_cosine_hm` of the authors' code.
    """
    with torch.no_grad():
        (distance,) = stage_distances([encoded], [decoded])
        points = gather_points(distance)
        threshold = points.mean() + deviations * points.std()
        weight = torch.where(distance < threshold, easy_weight, 1.0)[:, None]
    return flattened_cosine_loss(encoded, decoded, weight)
