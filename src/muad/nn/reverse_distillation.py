"""What reverse distillation and its descendants share: stages of a CNN fused, squeezed, and restored by its mirror.

Deng and Li, Anomaly Detection via Reverse Distillation from One-Class Embedding, CVPR 2022, arXiv:2201.10703; official
code hq-deng/RD4AD (MIT), written anew here. Names:

| here | official code |
|---|---|
| `FusingBottleneck` | `BN_layer`: multi-scale feature fusion and one-class embedding |
| `MirroredDecoder` | `ResNet` of `de_resnet.py` |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BlockKind = Literal["basic", "bottleneck"]
Resampling = Literal["keep", "halve", "double"]
Activation = Callable[[], nn.Module]
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualConfig:
    """Residual blocks of a bottleneck and a decoder; the defaults mirror Wide ResNet-50-2.

    Attributes:
        kind: `bottleneck`: a 3x3 convolution between two of 1x1; `basic`: two of 3x3, as in ResNet-18 and -34.
        inner_share: Channels of the 3x3 convolution of a `bottleneck` block, as a share of those that come out.
        fusing_blocks: Blocks of the bottleneck.
        decoder_blocks: Blocks of the decoder at each stage, the coarsest first.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: BlockKind = "bottleneck"
    inner_share: float = 0.5
    fusing_blocks: int = 3
    decoder_blocks: tuple[int, int, int] = (3, 4, 6)

    def __post_init__(self) -> None:
        if not 0 < self.inner_share <= 4:
            raise ConfigError(f"blocks.inner_share must be above 0 and at most 4, got {self.inner_share}.")
        if not 1 <= self.fusing_blocks <= 64:
            raise ConfigError(f"blocks.fusing_blocks must be from 1 to 64, got {self.fusing_blocks}.")
        if not all(1 <= count <= 64 for count in self.decoder_blocks):
            raise ConfigError(f"blocks.decoder_blocks must be from 1 to 64 each, got {list(self.decoder_blocks)}.")


class ResidualBlock(nn.Module):
    """A block of a ResNet that may halve its map, or double it by a transposed convolution of 2x2.

    Args:
        config: Its kind.
        channels: That go in, and that come out.
        resampling: What becomes of the map's size.
        activation: Makes the activations.
    """

    def __init__(
        self, config: ResidualConfig, channels: tuple[int, int], resampling: Resampling, activation: Activation
    ) -> None:
        super().__init__()
        before, after = channels
        if config.kind == "basic":
            layers = [(_resample(before, after, resampling), after), (_convolution(after, after, 3), after)]
        else:
            inner = max(1, round(config.inner_share * after))
            layers = [
                (_convolution(before, inner, 1), inner),
                (_resample(inner, inner, resampling), inner),
                (_convolution(inner, after, 1), after),
            ]
        parts = [part for layer, width in layers for part in (layer, nn.BatchNorm2d(width), activation())]
        self.body = nn.Sequential(*parts[:-1])  # the last activation comes after the sum
        self.shortcut: nn.Module = nn.Identity()
        if resampling == "double":
            self.shortcut = nn.Sequential(_resample(before, after, resampling), nn.BatchNorm2d(after))
        elif resampling == "halve" or before != after:
            self.shortcut = nn.Sequential(
                _convolution(before, after, 1, stride=2 if resampling == "halve" else 1), nn.BatchNorm2d(after)
            )
        self.activation = activation()

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d m n"]:
        """Maps after the block."""
        restored: Tensor = self.activation(self.body(maps) + self.shortcut(maps))
        return restored


class FusingBottleneck(nn.Module):
    """Three stages, each half as large as the one before, in one map half as large as the last: normality in brief.

    Args:
        channels: Of the stages, fine to coarse.
        config: Blocks.
    """

    def __init__(self, channels: Sequence[int], config: ResidualConfig) -> None:
        super().__init__()
        self.shrink = nn.ModuleList()
        for stage in range(len(channels) - 1):
            steps = [
                part
                for before, after in zip(channels[stage:], channels[stage + 1 :], strict=False)
                for part in (_convolution(before, after, 3, stride=2), nn.BatchNorm2d(after), nn.ReLU())
            ]
            self.shrink.append(nn.Sequential(*steps))
        self.channels, fused = 2 * channels[-1], len(channels) * channels[-1]
        blocks = [ResidualBlock(config, (fused, self.channels), "halve", nn.ReLU)]
        blocks += [
            ResidualBlock(config, (self.channels, self.channels), "keep", nn.ReLU)
            for _ in range(config.fusing_blocks - 1)
        ]
        self.blocks = nn.Sequential(*blocks)
        _initialise(self)

    def forward(self, stages: Sequence[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b d m n"]:
        """The map of all stages together."""
        shrunk = [shrink(stage) for shrink, stage in zip(self.shrink, stages, strict=False)]
        embedding: Tensor = self.blocks(torch.cat([*shrunk, stages[-1]], dim=1))
        return embedding


class MirroredDecoder(nn.Module):
    """From the bottleneck's map back to the stages it was made of.

    Args:
        channels: Of the stages, fine to coarse.
        grids: Rows and columns of each. DEVIATION: where they are odd, what the doubling gives too much is cut off.
        config: Blocks.
        activation: Makes the activations of the blocks.
        outputs: How many 1x1 convolutions give a version of each stage, as ReContrast needs two; 0 for the plain map.
    """

    def __init__(
        self,
        channels: Sequence[int],
        grids: Sequence[tuple[int, int]],
        config: ResidualConfig,
        activation: Activation = nn.ReLU,
        outputs: int = 0,
    ) -> None:
        super().__init__()
        self.grids = tuple(grids)
        self.stages = nn.ModuleList()
        before = 2 * channels[-1]
        for after, count in zip(reversed(channels), config.decoder_blocks, strict=True):
            blocks = [ResidualBlock(config, (before, after), "double", activation)]
            blocks += [ResidualBlock(config, (after, after), "keep", activation) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*blocks))
            before = after
        self.outputs = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, width, 1) for width in channels) for _ in range(outputs)
        )
        _initialise(self)

    def forward(self, embedding: Float[Tensor, "b d m n"]) -> list[Float[Tensor, "b c h w"]]:
        """The stages, fine to coarse, before any output convolution."""
        maps, restored = embedding, []
        for blocks, (rows, columns) in zip(self.stages, reversed(self.grids), strict=True):
            maps = blocks(maps)[:, :, :rows, :columns]
            restored.append(maps)
        restored.reverse()
        return restored

    def version(self, number: int, stages: Sequence[Float[Tensor, "b c h w"]]) -> list[Float[Tensor, "b c h w"]]:
        """Restored stages through the output convolutions of that number."""
        convolutions = cast("nn.ModuleList", self.outputs[number])
        return [convolution(stage) for convolution, stage in zip(convolutions, stages, strict=True)]


def stage_distances(
    encoded: Sequence[Float[Tensor, "b c h w"]], decoded: Sequence[Float[Tensor, "b c h w"]]
) -> list[Float[Tensor, "b h w"]]:
    """1 - cosine over the channels at every place of each stage, in float32; 0 to 2."""
    pairs = zip(encoded, decoded, strict=True)
    return [1 - F.cosine_similarity(target.float(), output.float(), dim=1) for target, output in pairs]


def learned_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Parameters of a part that learns and the statistics of its batch norms, by name: what a checkpoint must hold."""
    tensors = {name: parameter.detach() for name, parameter in module.named_parameters()}
    tensors |= {name: buffer for name, buffer in module.named_buffers() if name.rsplit(".", 1)[-1] in _STATISTICS}
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def require_halving(grids: Sequence[tuple[int, int]], tap_layers: Sequence[int], name: str) -> None:
    """Refuse stages that are not three, each half as large as the one before.

    Args:
        grids: Rows and columns of the stages.
        tap_layers: Which they are.
        name: Of the encoder.

    Raises:
        ConfigError: They are not.
    """
    halved = [tuple(-(-cells // 2) for cells in grid) for grid in grids[:-1]]
    if len(grids) != 3 or list(grids[1:]) != halved:
        sizes = ", ".join(f"{rows}x{columns}" for rows, columns in grids)
        raise ConfigError(
            f"detector.encoder.tap_layers must be three stages of {name}, each half as large as the one before, got "
            f"{list(tap_layers)} of {sizes}. Leave it out for those of strides 4, 8 and 16."
        )


def _convolution(before: int, after: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False)


def _resample(before: int, after: int, resampling: Resampling) -> nn.Module:
    if resampling == "double":
        return nn.ConvTranspose2d(before, after, 2, 2, bias=False)
    return _convolution(before, after, 3, stride=2 if resampling == "halve" else 1)


def _initialise(network: nn.Module) -> None:
    """He's for convolutions but not for transposed ones, as the authors; norms start as the identity by themselves."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
