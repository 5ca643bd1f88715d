"""Dinomaly: one reconstruction detector for many categories, in reading order.

Configuration, network, loss, anomaly map and score. A frozen ViT gives features of eight blocks; their mean goes
through a noisy bottleneck and eight decoder blocks that are too unfocused to copy an anomaly; what the decoder
fails to reconstruct is anomalous.

Guo et al., Dinomaly: The Less Is More Philosophy in Multi-Class Unsupervised Anomaly Detection, CVPR 2025,
arXiv:2405.14325; official code guojiajeremy/Dinomaly (Apache-2.0), written anew here. Dinomaly2 (Guo et al.,
arXiv:2510.17611) is the same with other settings, those of the recipes `dinomaly2-*`. Names:

| here | official code | paper |
|---|---|---|
| `tap_layers` | `target_layers` | layers of the encoder |
| `grouping` | `fuse_layer_encoder`, `fuse_layer_decoder` | Loose Constraint |
| `Bottleneck`, `dropout_rate` | `bMlp`, `drop` | Noisy Bottleneck |
| `LinearAttention` | `LinearAttention2` | Linear Attention |
| `easy_fraction`, `easy_weight` | `p`, `factor` | Loose Loss, k % and gradient shrink |
| `recentring` | `context_aware_recenter` | Context-Aware Recentering (Dinomaly2) |
| `bottleneck_layers` | `fuse_layer_bottleneck` | |

Departures from it are listed in docs/fidelity.md. Read next: nn/attention.py, nn/mining.py,
encoders/encoder.py, optim/stable_adamw.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.scoring import mean_of_largest
from muad.detectors.types import Losses, Prediction
from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.errors import LARGEST_PX, MOST_STEPS, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.attention import ConvMixer, LinearAttention, SoftmaxAttention, neighbour_mask
from muad.nn.mining import flattened_cosine_loss, gather_points, least_hard
from muad.nn.noise import Noise, dropout
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

Mixer = Literal["linear", "softmax", "conv3", "conv5", "conv7"]
Grouping = Literal["two_groups", "one_group", "layer_to_layer", "every_second", "every_fourth", "concatenation"]
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class DinomalyConfig(DetectorConfig):
    """Everything the paper varies. The defaults are the authors' for MVTec AD.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen ViT.
        resize_px: Height and width images are resized to.
        crop_px: Height and width of the centre that is kept; what lies outside is never inspected.
        recentring: Restore what patches are beside their image's class token, normalised, in place of what they are.
        dropout_rate: Noise of the bottleneck, 0 to below 1 (Real-IAD multi-class: 0.4).
        bottleneck_width: Width of a linear layer before the bottleneck, whose own input then has no noise (Dinomaly2:
            256); None for none.
        bottleneck_layers: Which of the tapped layers, counted from 0, have their mean go in; None for all.
        bottleneck_lr_factor: Learning rate of the bottleneck's first layer as a multiple of that of the rest.
        attention: Token mixer of the decoder.
        attention_eps: Added to the normaliser of linear attention.
        neighbour_mask: Side of the window a patch may not attend to: 0 for none, or an odd number.
        decoder_depth: Number of decoder blocks; None for as many as there are tapped layers.
        grouping: How tapped layers and decoder blocks are compared.
        hard_mining: Damp the gradient of points that are already reconstructed well.
        easy_fraction: Share of points counted as easy once the ramp is over.
        easy_weight: Factor on the gradient of easy points.
        easy_ramp_steps: Steps over which the easy share rises from 0.
        align_corners: Sampling of the first upsampling; the authors' True stretches the map by up to half a patch.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur_sigma_px: Width of the Gaussian of 5x5 pixels; 0 for none.
        top_fraction: Share of largest map values whose mean is the score; of less than one value, the maximum.
    """

    name: Literal["dinomaly"] = "dinomaly"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    resize_px: tuple[int, int] = (448, 448)
    crop_px: tuple[int, int] = (392, 392)
    recentring: bool = False
    dropout_rate: float = 0.2
    bottleneck_width: int | None = None
    bottleneck_layers: tuple[int, ...] | None = None
    bottleneck_lr_factor: float = 1.0
    attention: Mixer = "linear"
    attention_eps: float = 0.0
    neighbour_mask: int = 0
    decoder_depth: int | None = None
    grouping: Grouping = "two_groups"
    hard_mining: bool = True
    easy_fraction: float = 0.9
    easy_weight: float = 0.1
    easy_ramp_steps: int = 1000
    align_corners: bool = True
    map_px: int = 256
    blur_sigma_px: float = 4.0
    top_fraction: float = 0.01

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        Preprocessing(resize_px=self.resize_px, crop_px=self.crop_px)
        _require(0 <= self.dropout_rate < 1, "dropout_rate", "from 0 to below 1", self.dropout_rate)
        width, layers, factor = self.bottleneck_width, self.bottleneck_layers, self.bottleneck_lr_factor
        _require(width is None or 1 <= width <= 2**16, "bottleneck_width", f"from 1 to {2**16}", width)
        rising = layers is None or (bool(layers) and layers[0] >= 0 and all(a < b for a, b in pairwise(layers)))
        _require(rising, "bottleneck_layers", "rising numbers of tapped layers, from 0", layers)
        _require(0 < factor <= 100, "bottleneck_lr_factor", "above 0 and at most 100", factor)
        _require(0 <= self.attention_eps <= 1, "attention_eps", "from 0 to 1", self.attention_eps)
        odd = self.neighbour_mask == 0 or (0 < self.neighbour_mask <= LARGEST_PX and self.neighbour_mask % 2 == 1)
        _require(odd, "neighbour_mask", f"0 or an odd number up to {LARGEST_PX}", self.neighbour_mask)
        if self.neighbour_mask and self.attention.startswith("conv"):
            raise ConfigError(
                f"detector.neighbour_mask must be 0 with detector.attention = {self.attention!r}, got "
                f"{self.neighbour_mask}. A convolution attends to nothing: use 'linear' or 'softmax'."
            )
        if self.recentring and self.attention.startswith("conv"):
            raise ConfigError(
                f"detector.recentring must be false with detector.attention = {self.attention!r}, got true. "
                "A convolution leaves the class token out: use 'linear' or 'softmax'."
            )
        depth = self.decoder_depth
        _require(depth is None or 1 <= depth <= 256, "decoder_depth", "from 1 to 256", depth)
        _require(0 <= self.easy_fraction < 1, "easy_fraction", "from 0 to below 1", self.easy_fraction)
        _require(0 <= self.easy_weight <= 1, "easy_weight", "from 0 to 1", self.easy_weight)
        ramp, map_px = self.easy_ramp_steps, self.map_px
        _require(1 <= ramp <= MOST_STEPS, "easy_ramp_steps", f"from 1 to {MOST_STEPS}", ramp)
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        largest = "above 0 and at most 1 (1e-6 for the largest value alone)"
        _require(0 < self.top_fraction <= 1, "top_fraction", largest, self.top_fraction)

    @property
    def needs_whole_batch(self) -> str | None:
        """Mining does."""
        return "detector.hard_mining, whose threshold is that of the whole batch" if self.hard_mining else None


# ------------------------------------------------------------------------------------------------------ network


class Bottleneck(nn.Module):
    """Dropout, linear, GELU, dropout, linear, dropout: the noise that teaches the decoder to restore normality.

    In Dinomaly2 a narrow linear layer comes first of all.
    """

    def __init__(self, width: int, dropout_rate: float, narrow_width: int | None = None) -> None:
        super().__init__()
        self.narrow = None if narrow_width is None else nn.Linear(width, narrow_width)
        self.fc1 = nn.Linear(narrow_width or width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout_rate = dropout_rate

    def forward(self, tokens: Float[Tensor, "b n d"], noise: Noise | None) -> Float[Tensor, "b n d"]:
        """Tokens through the MLP, with noise of each image's own, or none."""
        tokens = tokens if self.narrow is None else self.narrow(tokens)
        rate = self.dropout_rate
        hidden = F.gelu(self.fc1(dropout(tokens, rate, noise, place=0)))
        return dropout(self.fc2(dropout(hidden, rate, noise, place=1)), rate, noise, place=2)

    @property
    def first(self) -> nn.Linear:
        """The first of its linear layers."""
        return self.fc1 if self.narrow is None else self.narrow


class DecoderBlock(nn.Module):
    """Pre-norm mixer and MLP with residuals; no positions, no layer scale."""

    def __init__(self, width: int, mixer: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-8)
        self.attn = mixer
        self.norm2 = nn.LayerNorm(width, eps=1e-8)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens after mixing and MLP."""
        tokens = tokens + self.attn(self.norm1(tokens))
        restored: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens + restored


class Dinomaly(SteppingDetector):
    """Frozen encoder, noisy bottleneck, unfocused decoder.

    Args:
        config: Architecture, loss and scoring.

    Raises:
        ConfigError: The sizes do not fit the encoder, or the grouping does not fit the layers.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = DinomalyConfig
    asks_no_host: ClassVar[bool] = True
    joins_senses: ClassVar[bool] = True
    goes_on_by: ClassVar[Literal["insertion", "rehearsal", ""]] = "rehearsal"

    def __init__(self, config: DinomalyConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, config.crop_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.crop_px, mean=self.encoder.mean, std=self.encoder.std
        )
        taps, width = len(self.encoder.tap_layers), self.encoder.width
        depth = config.decoder_depth or taps
        self.layer_groups = layer_groups(config.grouping, taps, depth)
        self.bottleneck_layers = config.bottleneck_layers or tuple(range(taps))
        if self.bottleneck_layers[-1] >= taps:
            asked = list(self.bottleneck_layers)
            raise ConfigError(f"detector.bottleneck_layers must be below the {taps} tapped layers, got {asked}.")
        every = len(self.bottleneck_layers) == taps
        self.targets_cover_all = every and config.grouping in ("two_groups", "one_group", "layer_to_layer")
        # A convolution needs a plain grid, so the class and register tokens leave before the bottleneck.
        self.patches_only = config.attention.startswith("conv")
        positions = config.encoder.position_interpolation
        self.encoding = f"{self.encoder.tap_layers} {self.layer_groups} {positions} {self.patches_only}"
        self.encoding += "" if every else f" {self.bottleneck_layers}"
        if config.recentring and not config.encoder.vit_family().layout.class_token:
            raise ConfigError(f"detector.recentring needs a class token, got encoder {self.encoder.name} without one.")
        self.map_head = GridHead(
            grids=("distance",),
            input_px=config.crop_px,
            map_px=config.map_px,
            align_corners=config.align_corners,
            blur_sigma_px=config.blur_sigma_px,
            top_fraction=config.top_fraction,
        )
        self.bottleneck = Bottleneck(width, config.dropout_rate, config.bottleneck_width)
        # Sparse groupings never read the last blocks: these would neither learn nor change anything, so are not built.
        self.unread = 0 if config.grouping == "concatenation" else min(map(min, self.layer_groups))
        self.decoder = nn.ModuleList(DecoderBlock(width, self._mixer()) for _ in range(depth - self.unread))
        # DEVIATION: the authors leave open how the decoder's width grows to that of several layers; here, linearly.
        concatenated = len(self.layer_groups[0]) * width if config.grouping == "concatenation" else None
        self.head = nn.Linear(width, concatenated) if concatenated else None
        for module in (self.bottleneck, self.decoder, self.head):
            if module is not None:
                module.apply(_initialise)

    def _mixer(self) -> nn.Module:
        config, encoder = self.config, self.encoder
        if config.attention.startswith("conv"):
            return ConvMixer(encoder.width, kernel_size=int(config.attention[-1]), grid=encoder.grid)
        keep = None
        if config.neighbour_mask:
            keep = neighbour_mask(encoder.grid, config.neighbour_mask, encoder.prefix_tokens)
            if not keep.any(dim=1).all():
                raise ConfigError(f"detector.neighbour_mask must not hide every patch, got {config.neighbour_mask}.")
        if config.attention == "softmax":
            return SoftmaxAttention(encoder.width, encoder.heads, keep=keep)
        return LinearAttention(encoder.width, encoder.heads, eps=config.attention_eps, keep=keep)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group, or the bottleneck's first layer apart; all decay alike, biases and norms included."""
        own = [] if self.config.bottleneck_lr_factor == 1 else list(self.bottleneck.first.parameters())
        apart = set(own)
        rest = [p for p in self.parameters() if p.requires_grad and p not in apart]
        groups: list[ParameterGroup] = [{"name": "decoder", "params": rest}]
        if own:
            groups.insert(0, {"name": "bottleneck", "params": own, "lr_factor": self.config.bottleneck_lr_factor})
        return groups

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k n d"]:
        """All the frozen encoder has to say of images: fused targets, then the bottleneck's input if it is another."""
        layers = self.encoder(images)
        if self.patches_only:
            layers = [layer[:, self.encoder.prefix_tokens :] for layer in layers]
        if self.config.grouping == "concatenation":
            kept = [layers[layer] for layer in self.layer_groups[0]]
        else:
            kept = [_mean([layers[layer] for layer in group]) for group in self.layer_groups]
        # Equal groups that cover all layers have the mean of all layers as their mean: it need not be kept.
        into = [] if self.targets_cover_all else [_mean([layers[layer] for layer in self.bottleneck_layers])]
        return torch.stack([*kept, *into], dim=1)

    def decode(
        self, encoded: Float[Tensor, "b k n d"], noise: Noise | None = None
    ) -> tuple[list[Float[Tensor, "b n d"]], list[Float[Tensor, "b n d"]]]:
        """Encoder and decoder features to compare: one pair of patch-token tensors per layer group.

        Args:
            encoded: From `encode`.
            noise: For the bottleneck, or None for none.
        """
        kept = list(encoded.unbind(1))
        tokens = self.bottleneck(_mean(kept) if self.targets_cover_all else kept.pop(), noise)
        decoded = []
        for block in self.decoder:
            tokens = block(tokens)
            decoded.append(tokens)
        decoded.reverse()  # shallow encoder layers meet the last decoder blocks
        if self.head is not None:
            targets, restored = [torch.cat(kept, dim=-1)], [self.head(decoded[0])]
        else:
            targets = kept
            restored = [_mean([decoded[layer - self.unread] for layer in group]) for group in self.layer_groups]
        prefix = 0 if self.patches_only else self.encoder.prefix_tokens
        patches = [recentred(each, prefix) if self.config.recentring else each[:, prefix:] for each in targets]
        return patches, [output[:, prefix:] for output in restored]

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int | Float[Tensor, ""]) -> Losses:
        """Hard-mined cosine loss, averaged over the layer groups."""
        features = self.encode(batch.images) if batch.features is None else cast("Tensor", batch.features)
        losses = self.group_losses(features, _noise(batch, features.device), step)
        terms = {f"cosine_group_{index}": loss.detach() for index, loss in enumerate(losses)}
        return Losses(total=torch.stack(losses).mean(), terms=terms)

    def group_losses(
        self, features: Float[Tensor, "b k n d"], noise: Noise, step: int | Float[Tensor, ""]
    ) -> list[Float[Tensor, ""]]:
        """The loss of every layer group."""
        encoded, decoded = self.decode(features, noise)
        easy_fraction = self.easy_fraction_at(step)
        easy_weight = self.config.easy_weight if self.config.hard_mining else 1.0
        return [
            hard_mined_cosine_loss(target, output, easy_fraction, easy_weight)
            for target, output in zip(encoded, decoded, strict=True)
        ]

    def easy_fraction_at(self, step: int | Float[Tensor, ""]) -> float | Float[Tensor, ""]:
        """Share of points that count as easy at a step."""
        most = self.config.easy_fraction
        share = most * step / self.config.easy_ramp_steps
        return share.clamp(max=most) if isinstance(share, torch.Tensor) else min(share, most)

    def compile_losses(self) -> None:
        """Turn the losses into a few large kernels; takes half a minute at the first step, for each shape once."""
        self.group_losses = torch.compile(self.group_losses, dynamic=False)  # type: ignore[method-assign]

    # ------------------------------------------------------------------------------- anomaly map and score

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Blurred anomaly map of side `map_px` and the mean of its largest values."""
        distance = self.distance_map(images)
        anomaly_map = self.blur(self.resize_map(distance))
        return Prediction(anomaly_map=anomaly_map, score=top_mean(anomaly_map, self.config.top_fraction))

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Mean of the largest inspected values of each map."""
        return mean_of_largest(maps, inspected, lambda cells: max(1, int(self.config.top_fraction * cells)))

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Distance at every patch."""
        return {"distance": self.distance_map(images)}

    def distance_map(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Cosine distance between encoder and decoder at every patch, averaged over the groups; 0 to 2."""
        encoded, decoded = self.decode(self.encode(images))
        distances = [cosine_distance(target, output) for target, output in zip(encoded, decoded, strict=True)]
        return _mean(distances).reshape(-1, *self.encoder.grid)

    def upsample_map(self, distance: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """First stage: the patch grid at the size of the input."""
        size, corners = self.config.crop_px, self.config.align_corners
        return F.interpolate(distance[:, None], size, mode="bilinear", align_corners=corners)[:, 0]

    def resize_map(self, distance: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """Second stage: the map the metrics are defined on, `map_px` square (or the size of the input)."""
        upsampled = self.upsample_map(distance)
        if self.config.map_px == 0:
            return upsampled
        size = (self.config.map_px, self.config.map_px)
        return F.interpolate(upsampled[:, None], size, mode="bilinear", align_corners=False)[:, 0]

    def blur(self, anomaly_map: Float[Tensor, "b H W"]) -> Float[Tensor, "b H W"]:
        """Third stage: a 5x5 Gaussian with zeros outside the map, so that its rim fades as in the authors' code."""
        if self.config.blur_sigma_px == 0:
            return anomaly_map
        offset = torch.arange(-2.0, 3.0, device=anomaly_map.device, dtype=torch.float64)
        kernel = torch.exp(-(offset**2) / (2 * self.config.blur_sigma_px**2))
        kernel = (kernel / kernel.sum()).to(anomaly_map.dtype)
        blurred = F.conv2d(anomaly_map[:, None], kernel[None, None, :, None], padding=(2, 0))
        return F.conv2d(blurred, kernel[None, None, None, :], padding=(0, 2))[:, 0]


def layer_groups(grouping: Grouping, taps: int, depth: int) -> tuple[tuple[int, ...], ...]:
    """Indices into the tapped layers, and into the reversed decoder blocks, that are averaged and compared.

    Raises:
        ConfigError: The number of layers does not allow the grouping.
    """
    if depth != taps and grouping != "concatenation":
        raise ConfigError(
            f"detector.decoder_depth must be the number of tapped layers {taps}, got {depth}. "
            "Leave it out, or use detector.grouping = 'concatenation'."
        )
    every = {"layer_to_layer": 1, "every_second": 2, "every_fourth": 4}
    divisor = 2 if grouping in ("two_groups", "concatenation") else every.get(grouping, 1)
    if taps % divisor:
        raise ConfigError(
            f"detector.grouping = {grouping!r} needs a multiple of {divisor} tapped layers, got {taps}. "
            "Tap other layers, or use 'one_group' or 'layer_to_layer'."
        )
    layers = tuple(range(taps))
    if grouping == "two_groups":
        return layers[: taps // 2], layers[taps // 2 :]
    if grouping == "one_group":
        return (layers,)
    if grouping == "concatenation":
        return (layers[1::2],)
    return tuple((layer,) for layer in layers[every[grouping] - 1 :: every[grouping]])


def recentred(tokens: Float[Tensor, "b n d"], prefix: int, summed: int = 1) -> Float[Tensor, "b p d"]:
    """What patches are beside their image as a whole: minus its class token, then normalised over the width.

    Args:
        tokens: Fused features, class token first.
        prefix: Tokens before the first patch.
        summed: Of how many layers they are the sum; 1 for their mean.

    References:
        Guo et al., Dinomaly2, arXiv:2510.17611, "Context-Aware Recentering"; `Dinomaly.forward` of the preview code.
    """
    beside = tokens[:, prefix:].float() - tokens[:, :1].float()
    return F.layer_norm(beside, beside.shape[-1:], eps=1e-8 * summed**2)


def cosine_distance(encoded: Float[Tensor, "b n d"], decoded: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
    """1 - cosine over the width of every token, in float32; 0 to 2."""
    return 1 - F.cosine_similarity(encoded.float(), decoded.float(), dim=-1)


def hard_mined_cosine_loss(
    encoded: Float[Tensor, "b n d"],
    decoded: Float[Tensor, "b n d"],
    easy_fraction: float | Float[Tensor, ""],
    easy_weight: float,
) -> Float[Tensor, ""]:
    """Mean cosine distance between whole feature maps, its gradient damped where reconstruction is already good.

    The value does not depend on the mining, see nn/mining.py.

    Args:
        encoded: Fused encoder features; receive no gradient.
        decoded: Fused decoder features at the same tokens.
        easy_fraction: Share of points (0 to 1) counted as easy, over the batches of all processes together.
        easy_weight: Factor on the gradient at easy points; 0 drops them, 1 disables mining.

    Returns:
        Loss in [0, 2], averaged over images.

    References:
        Guo et al., Dinomaly, CVPR 2025, arXiv:2405.14325, "Loose Loss"; `global_cosine_hm_percent`.
    """
    with torch.no_grad():
        distance = cosine_distance(encoded, decoded)
        points = gather_points(distance)
        threshold = least_hard(points.flatten(), easy_fraction)
        weight = torch.where(distance < threshold, easy_weight, 1.0)[..., None]
    return flattened_cosine_loss(encoded, decoded, weight)


def top_mean(anomaly_map: Float[Tensor, "b H W"], fraction: float) -> Float[Tensor, " b"]:
    """Mean of the largest values of each map: `int(fraction * pixels)` of them, at least one."""
    values = anomaly_map.flatten(1)
    return values.topk(max(1, int(fraction * values.shape[1])), dim=1).values.mean(dim=1)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Mean of equally shaped tensors without stacking them."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total / len(tensors)


def _noise(batch: Batch, device: torch.device) -> Noise:
    """What the bottleneck's noise is drawn from."""
    # DEVIATION: noise is drawn from each image's seed, not from one stream, so that processes and resumes agree.
    if batch.device_seeds is not None:
        return batch.device_seeds
    if device.type == "cuda":
        return torch.tensor(batch.seeds).to(device, non_blocking=True)
    return [torch.Generator(device).manual_seed(seed) for seed in batch.seeds]


def _initialise(module: nn.Module) -> None:
    """Truncated normal of deviation 0.01 cut at 0.03 for linear layers, zero bias; norms start as the identity."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.01, a=-0.03, b=0.03)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
