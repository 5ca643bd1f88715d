"""ViTAD: reverse distillation with plain vision transformers. What a decoder of tokens cannot restore is anomalous.

In reading order: configuration, network, loss, anomaly map and score. A frozen ViT gives tokens after a quarter, half
and three quarters of its blocks, and those of its last block; from the last alone a ViT without skips restores the
others, the deepest first.

Zhang et al., Exploring Plain ViT Reconstruction for Multi-class Unsupervised Anomaly Detection, arXiv:2312.07495;
official code zhangzjn/ADer, written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encoder` | `net_t`, `teachers`, `neck` | ViT encoder |
| `fusion` | `net_fusion` | linear fuser |
| `positions`, `decoder` | `net_s`, `students` | ViT decoder |

Departures from it are listed in docs/fidelity.md. Read next: nn/attention.py, nn/mining.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.errors import LARGEST_PX, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.attention import SoftmaxAttention
from muad.nn.mining import flattened_cosine_loss
from muad.runtime.heads import Blur, GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

_QUARTERS = 4
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class ViTadConfig(DetectorConfig):
    """Everything the authors chose. The defaults are theirs.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen ViT. Of the blocks that are read, the last feeds the decoder, which restores the others:
            unless it says which, the last one of each quarter of its blocks.
        resize_px: Height and width images are resized to.
        blocks_per_target: Blocks of the decoder before each restored layer.
        decay_biases: Whether biases and norms decay like matrices.
        align_corners: Sampling of the maps' enlargement; the authors' True stretches them by up to half a patch.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur: `reflected`: a wide Gaussian over the map mirrored at its rim; `five_px`: one of 5x5 pixels over zeros.
        blur_sigma_px: Its width; 0 for none.
        pool_px: Side of the windows whose largest average is the score; 0 for the largest value.
    """

    name: Literal["vitad"] = "vitad"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="dino-small"))
    resize_px: tuple[int, int] = (256, 256)
    blocks_per_target: int = 3
    decay_biases: bool = False
    align_corners: bool = True
    map_px: int = 0
    blur: Blur = "reflected"
    blur_sigma_px: float = 4.0
    pool_px: int = 16

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        map_px, pool_px = self.map_px, self.pool_px
        _require(1 <= self.blocks_per_target <= 64, "blocks_per_target", "from 1 to 64", self.blocks_per_target)
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        _require(0 <= pool_px <= LARGEST_PX, "pool_px", f"from 0 to {LARGEST_PX}", pool_px)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' optimizer, and the packaged encoder at a size that every ViT here takes."""
        longest, side = (20_000, 448) if device == "cuda" else (1_000, 224)
        return {
            "detector": {"encoder": {"name": EncoderConfig().name}, "resize_px": [side, side]},
            "optim": {
                "kind": "adamw", "lr": 1e-4, "eps": 1e-8, "weight_decay": 1e-4, "amsgrad": False, "clip_norm": 5.0,
            },
            "schedule": {
                "kind": "drop", "total_steps": min(longest, max(300, round(images * 44 / 8 / 100) * 100)),
                "warmup_steps": 0, "final_lr": 1e-5,
            },
            "training": {"batch_size": 8},
        }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ network


class DecoderBlock(nn.Module):
    """Pre-norm attention and MLP with residuals, as in any ViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SoftmaxAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens after attention and MLP."""
        tokens = tokens + self.attn(self.norm1(tokens))
        restored: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens + restored


class ViTad(SteppingDetector):
    """Frozen ViT, linear fusion, ViT decoder.

    Args:
        config: Architecture and scoring.

    Raises:
        ConfigError: The encoder is no vision transformer, or its layers or the image size do not go with it.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = ViTadConfig

    def __init__(self, config: ViTadConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(reading_quarters(config.encoder), config.resize_px)
        self.fingerprint = self.encoder.fingerprint
        self.encoding = f"vitad {self.encoder.tap_layers} {config.encoder.position_interpolation}"
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.targets, width = len(self.encoder.tap_layers) - 1, self.encoder.width
        self.map_head = GridHead(
            grids=tuple(f"layer_{number}" for number in range(self.targets)),
            weights=(1 / self.targets**2,) * self.targets,  # the authors divide by their number twice
            input_px=config.resize_px,
            map_px=config.map_px,
            align_corners=config.align_corners,
            blur_sigma_px=config.blur_sigma_px,
            blur=config.blur,
            pool_px=config.pool_px,
        )
        rows, columns = self.encoder.grid
        self.fusion = nn.Linear(width, width)
        self.positions = nn.Parameter(torch.empty(1, rows * columns, width))
        self.decoder = nn.ModuleList(
            DecoderBlock(width, self.encoder.heads) for _ in range(self.targets * config.blocks_per_target)
        )
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.decoder.apply(_initialise)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Biases and norms apart from the rest, for they do not decay."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if self.config.decay_biases:
            return [{"name": "decoder", "params": learning}]
        return [
            {"name": "decoder", "params": [p for p in learning if p.dim() > 1]},
            {"name": "biases", "params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k n d"]:
        """Patch tokens of the layers to restore, shallow to deep, then those the decoder starts from."""
        return torch.stack([tokens[:, self.encoder.prefix_tokens :] for tokens in self.encoder(images)], dim=1)

    def decode(
        self, encoded: Float[Tensor, "b k n d"]
    ) -> tuple[list[Float[Tensor, "b n d"]], list[Float[Tensor, "b n d"]]]:
        """The layers to restore, shallow to deep, and what the decoder makes of the last block's tokens for each."""
        *targets, neck = encoded.unbind(1)
        tokens = self.fusion(neck) + self.positions
        restored = []
        for number, block in enumerate(self.decoder, 1):
            tokens = block(tokens)
            if number % self.config.blocks_per_target == 0:
                restored.append(tokens)
        restored.reverse()  # the deepest layer is restored first
        return targets, restored

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  the same at every step
        """Sum over the layers of the cosine distance between flattened maps."""
        encoded = self.encode(batch.images) if batch.features is None else cast("Tensor", batch.features)
        pairs = zip(*self.decode(encoded), strict=True)
        losses = [flattened_cosine_loss(target, output) for target, output in pairs]
        terms = {f"cosine_layer_{number}": loss.detach() for number, loss in enumerate(losses)}
        return Losses(total=torch.stack(losses).sum(), terms=terms)

    # ------------------------------------------------------------------------------- anomaly map and score

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Cosine distance at every patch of each layer."""
        pairs = zip(*self.decode(self.encode(images)), strict=True)
        distances = [1 - F.cosine_similarity(a.float(), b.float(), dim=-1) for a, b in pairs]
        grid = self.encoder.grid
        return {f"layer_{number}": one.reshape(-1, *grid) for number, one in enumerate(distances)}


def reading_quarters(config: EncoderConfig) -> EncoderConfig:
    """The encoder read after each quarter of its blocks, where its settings leave the blocks open.

    Raises:
        ConfigError: It is no vision transformer, or fewer than two of its blocks are read.
    """
    depth = config.vit_family().layout.depth
    if config.tap_layers is None:
        quarters = {-(-depth * part // _QUARTERS) - 1 for part in range(1, _QUARTERS + 1)}
        config = replace(config, tap_layers=tuple(sorted(quarters)))
    taps = config.tap_layers
    if taps is None or len(taps) < 2:
        msg = f"detector.encoder.tap_layers must be two blocks or more, the last of which restores, got {taps}."
        raise ConfigError(msg)
    return config


def _initialise(module: nn.Module) -> None:
    """Truncated normal of deviation 0.02 for linear layers, zero bias, as timm."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
