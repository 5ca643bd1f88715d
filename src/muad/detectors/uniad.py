"""UniAD: a transformer restores features of many categories, kept from copying them by masks, queries and jitter.

In reading order: configuration, network, loss, anomaly map and score. Stages of a frozen CNN, brought to one size, are
jittered, encoded and decoded; every decoder layer starts anew from learned queries; no place may look at its own
neighbourhood. What is not restored is anomalous.

You et al., A Unified Model for Multi-class Anomaly Detection, NeurIPS 2022, arXiv:2206.03687; official code
zhiyuanyou/UniAD (Apache-2.0), written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encode` | `MFCN` | multi-scale features |
| `Restorer` | `UniAD` | reconstruction model |
| `jitter_scale` | `feature_jitter.scale` | alpha of feature jittering |
| `queries` | `learned_embed` | query embedding of a layer-wise query decoder |
| `neighbours` | `neighbor_size` | neighbour masked attention |

Departures from it are listed in docs/fidelity.md. Read next: nn/attention.py, nn/noise.py, encoders/pyramids.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.packages import installed_cnn
from muad.encoders.pyramids import build_pyramid, reading_strides
from muad.errors import LARGEST_PX, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.attention import neighbour_mask
from muad.nn.noise import seeded_dropout
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Generator, Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

Masked = Literal["encoder", "decoder_memory", "decoder_previous"]
_STRIDES = (2, 4, 8, 16)
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class UniAdConfig(DetectorConfig):
    """Everything the authors vary. The defaults are theirs for MVTec AD, one detector for all categories.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen CNN; unless said otherwise its stages of strides 2 to 16 are read, at the size of the last.
        resize_px: Height and width images are resized to; nothing is cut off.
        width: Of the transformer's tokens.
        heads: Of its attention.
        encoder_layers: Layers of its encoder.
        decoder_layers: Layers of its decoder.
        feedforward: Hidden width of its layers.
        dropout_rate: Of attention and layers, 0 to below 1.
        jitter_scale: Strength of the noise on features, relative to a place's norm over the number of channels.
        jitter_probability: Share of images that are jittered.
        neighbours: Side of the window around a place that it may not attend to: 0 for none, or an odd number.
        masked: Attentions with that window: among the encoder's tokens, of queries to these, and of queries to what the
            layer before restored.
        pool_px: Side of the windows whose averages, at every pixel, give the score: their largest.
    """

    name: Literal["uniad"] = "uniad"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="efficientnet_b4"))
    resize_px: tuple[int, int] = (224, 224)
    width: int = 256
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    feedforward: int = 1024
    dropout_rate: float = 0.1
    jitter_scale: float = 20.0
    jitter_probability: float = 1.0
    neighbours: int = 7
    masked: tuple[Masked, ...] = ("encoder", "decoder_memory", "decoder_previous")
    pool_px: int = 16

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        for name in ("width", "heads", "feedforward"):
            _require(1 <= getattr(self, name) <= 65_536, name, "from 1 to 65536", getattr(self, name))
        fits = self.width % (2 * self.heads) == 0
        _require(fits, "width", f"a multiple of twice detector.heads {self.heads}", self.width)
        for name, least in (("encoder_layers", 0), ("decoder_layers", 1)):
            _require(least <= getattr(self, name) <= 256, name, f"from {least} to 256", getattr(self, name))
        _require(0 <= self.dropout_rate < 1, "dropout_rate", "from 0 to below 1", self.dropout_rate)
        _require(0 <= self.jitter_scale <= 1e6, "jitter_scale", "from 0 to 1e6", self.jitter_scale)
        share, side = self.jitter_probability, self.neighbours
        _require(0 <= share <= 1, "jitter_probability", "from 0 to 1", share)
        odd = side == 0 or (0 < side <= LARGEST_PX and side % 2 == 1)
        _require(odd, "neighbours", f"0 or an odd number up to {LARGEST_PX}", side)
        most = min(self.resize_px)
        _require(0 <= self.pool_px <= most, "pool_px", f"from 0 to the image's shorter side {most}", self.pool_px)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' settings at a length that suits the data: theirs is 1000 looks at each image."""
        most, looks = (50_000, 200) if device == "cuda" else (1_500, 40)
        steps = min(most, max(400, round(images * looks / 8 / 100) * 100))
        encoder = installed_cnn()
        return {
            "detector": {} if encoder is None else {"encoder": {"name": encoder}},
            "optim": {"kind": "adamw", "lr": 1e-4, "eps": 1e-8, "amsgrad": False, "clip_norm": 0.1},
            "schedule": {"kind": "drop", "total_steps": steps, "warmup_steps": 0, "final_lr": 1e-5, "drop_at": 0.8},
            "training": {"batch_size": 8, "save_every_steps": max(50, steps // 10)},
        }


# ------------------------------------------------------------------------------------------------------ network


class Attention(nn.Module):
    """Softmax attention of queries to other tokens, some of which they may not see.

    Args:
        width: Token width.
        heads: Number of heads.
        dropout_rate: On the weights, which are not normalised again.
    """

    def __init__(self, width: int, heads: int, dropout_rate: float) -> None:
        super().__init__()
        self.heads, self.dropout_rate = heads, dropout_rate
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "b n d"],
        keys: Float[Tensor, "b n d"],
        values: Float[Tensor, "b n d"],
        keep: Bool[Tensor, "n n"] | None,
        noise: Sequence[Generator] | None,
    ) -> Float[Tensor, "b n d"]:
        """What the queries take from the values."""
        given = zip((queries, keys, values), self.in_proj.weight.chunk(3), self.in_proj.bias.chunk(3), strict=True)
        q, k, v = (self._split(F.linear(tokens, weight, bias)) for tokens, weight, bias in given)
        if noise is None or self.dropout_rate == 0:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        else:
            logits = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1)).float()
            weights = (logits if keep is None else logits.masked_fill(~keep, -torch.inf)).softmax(dim=-1)
            mixed = torch.matmul(seeded_dropout(weights, self.dropout_rate, noise).to(v.dtype), v)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected

    def _split(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b heads n e"]:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Attentions and an MLP, each with a residual that is normalised after it.

    Args:
        config: Widths and noise.
        attentions: How many.
        places: Queries it begins with, one for every place; 0 to begin with what it is given.
    """

    def __init__(self, config: UniAdConfig, attentions: int, places: int = 0) -> None:
        super().__init__()
        width, self.dropout_rate = config.width, config.dropout_rate
        self.queries = nn.Parameter(torch.randn(places, width)) if places else None
        self.attentions = nn.ModuleList(Attention(width, config.heads, self.dropout_rate) for _ in range(attentions))
        self.linear1 = nn.Linear(width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(attentions + 1))

    def forward(
        self,
        attended: Sequence[tuple[Float[Tensor, "b n d"], Bool[Tensor, "n n"] | None]],
        positions: Float[Tensor, "n d"],
        noise: Sequence[Generator] | None,
    ) -> Float[Tensor, "b n d"]:
        """Tokens after the layer.

        Args:
            attended: What each attention looks at, and what of it each place may see.
            positions: Added to queries and keys, not to values.
            noise: One generator per image for dropout, or None for none.
        """
        given = attended[0][0]
        tokens = given if self.queries is None else self.queries.expand_as(given)
        for attention, norm, (others, keep) in zip(self.attentions, self.norms, attended, strict=False):
            mixed = attention(tokens + positions, others + positions, others, keep, noise)
            tokens = norm(tokens + seeded_dropout(mixed, self.dropout_rate, noise))
        hidden = seeded_dropout(self.linear1(tokens).relu(), self.dropout_rate, noise)
        restored: Tensor = self.norms[-1](tokens + seeded_dropout(self.linear2(hidden), self.dropout_rate, noise))
        return restored


class Restorer(nn.Module):
    """Gives features back as they would be without an anomaly.

    Args:
        channels: Of the features.
        grid: Their rows and columns.
        config: Widths, depths, masks and noise.
    """

    def __init__(self, channels: int, grid: tuple[int, int], config: UniAdConfig) -> None:
        super().__init__()
        width, places = config.width, grid[0] * grid[1]
        self.input_proj = nn.Linear(channels, width)
        self.output_proj = nn.Linear(width, channels)
        self.rows = nn.Parameter(torch.rand(grid[0], width // 2))
        self.columns = nn.Parameter(torch.rand(grid[1], width // 2))
        self.encoder_layers = nn.ModuleList(Layer(config, 1) for _ in range(config.encoder_layers))
        self.decoder_layers = nn.ModuleList(Layer(config, 2, places) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.masked = config.masked
        keep = neighbour_mask(grid, config.neighbours, prefix_tokens=0) if config.neighbours else None
        if keep is not None and config.masked and not keep.any(dim=1).all():
            size = f"{grid[0]} x {grid[1]}"
            msg = f"detector.neighbours must leave every place of the grid of {size} one it may attend to, "
            raise ConfigError(f"{msg}got {config.neighbours}. Take a smaller window, or larger images.")
        self.register_buffer("keep", keep, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Float[Tensor, "b n c"], noise: Sequence[Generator] | None) -> Float[Tensor, "b n c"]:
        """Restored features of every place, with dropout from one generator per image, or none."""
        positions = self.positions()
        tokens = self.input_proj(tokens)
        for layer in self.encoder_layers:
            tokens = layer([(tokens, self._keep("encoder"))], positions, noise)
        memory = tokens
        for layer in self.decoder_layers:
            attended = [(memory, self._keep("decoder_memory")), (tokens, self._keep("decoder_previous"))]
            tokens = layer(attended, positions, noise)
        restored: Tensor = self.output_proj(self.norm(tokens))
        return restored

    def positions(self) -> Float[Tensor, "n d"]:
        """Learned for columns in the first half of the width, for rows in the second."""
        rows, columns = len(self.rows), len(self.columns)
        across = self.columns[None].expand(rows, -1, -1)
        down = self.rows[:, None].expand(-1, columns, -1)
        return torch.cat([across, down], dim=-1).flatten(0, 1)

    def _keep(self, where: Masked) -> Tensor | None:
        return cast("Tensor | None", self.keep) if where in self.masked else None


class UniAd(SteppingDetector):
    """Frozen encoder and a transformer that restores what it sees.

    Args:
        config: Architecture, noise and scoring.

    Raises:
        ConfigError: The encoder is no CNN, or the image is too small for it or for the masks.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = UniAdConfig

    def __init__(self, config: UniAdConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_pyramid(reading_strides(config.encoder, _STRIDES), config.resize_px)
        self.encoder.fold()
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.grid = self.encoder.grids[-1]
        self.encoding = f"stages {self.encoder.tap_layers} at the size of the last"
        self.map_head = GridHead(
            grids=("distance",), input_px=config.resize_px, align_corners=True, pool_px=config.pool_px
        )
        self.restorer = Restorer(sum(self.encoder.channels), self.grid, config)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group: the authors decay every trainable tensor alike."""
        return [{"name": "restorer", "params": list(self.restorer.parameters())}]

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
        """All stages at the size of the coarsest, one behind the other."""
        stages = self.encoder(images)
        placed = [F.interpolate(stage, self.grid, mode="bilinear", align_corners=True) for stage in stages]
        return torch.cat(placed, dim=1)

    def restore(
        self, features: Float[Tensor, "b c h w"], noise: Sequence[Generator] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Features as the transformer gives them back, in float32.

        Args:
            features: From `encode`.
            noise: One generator per image for jitter and dropout, or None for neither.
        """
        tokens = features.float().flatten(2).transpose(1, 2)
        restored = self.restorer(tokens if noise is None else self.jitter(tokens, noise), noise)
        placed: Tensor = restored.float().transpose(1, 2).reshape(features.shape)
        return placed

    def jitter(self, tokens: Float[Tensor, "b n c"], noise: Sequence[Generator]) -> Float[Tensor, "b n c"]:
        """Tokens with noise, drawn from one generator per image."""
        # DEVIATION: noise is drawn from each image's seed, not from one stream, so that processes and resumes agree;
        # whether there is any is drawn for each image, not for the whole batch.
        drawn = torch.zeros_like(tokens)
        for image, generator in zip(drawn, noise, strict=True):
            lot = torch.rand(1, generator=generator, device=tokens.device)
            image.normal_(generator=generator).mul_(lot <= self.config.jitter_probability)
        return jittered(tokens, drawn, self.config.jitter_scale)

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  nothing here changes over the run
        """Mean squared error of restored features."""
        features = self.encode(batch.images) if batch.features is None else cast("Tensor", batch.features)
        noise = [torch.Generator(features.device).manual_seed(seed) for seed in batch.seeds]
        loss = F.mse_loss(self.restore(features, noise), features.float())
        return Losses(total=loss, terms={"restoration": loss.detach()})

    # ------------------------------------------------------------------------------- anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Distance of features from what is restored of them, at every place."""
        return {"distance": self.distance(self.encode(images))}

    def distance(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        """The same of encoded images."""
        difference = self.restore(features) - features
        return difference.square().sum(dim=1).sqrt()


def jittered(tokens: Float[Tensor, "b n c"], noise: Float[Tensor, "b n c"], scale: float) -> Float[Tensor, "b n c"]:
    """Tokens with standard noise on them, in proportion to their norms over their number of channels."""
    norms = tokens.square().sum(dim=2, keepdim=True).sqrt()
    return tokens + noise * (norms / tokens.shape[2]) * scale
