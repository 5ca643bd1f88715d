"""MambaAD: reverse distillation with a decoder of state-space blocks that scan the map along Hilbert's curve.

In reading order: configuration, bottleneck, decoder, detector. A frozen CNN gives three maps; a bottleneck fuses them
at half the size of the coarsest; a decoder gives the three back. It has learned to do so for normal images, and where
it does not succeed is anomalous. Its blocks see the whole map, by selective scans from eight directions, and what is
near, by depthwise convolutions.

He et al., MambaAD: Exploring State Space Models for Multi-class Unsupervised Anomaly Detection, NeurIPS 2024,
arXiv:2404.06564; official code lewandofskee/MambaAD (no licence stated), read for facts and written anew here. Names:

| here | official code | paper |
|---|---|---|
| `FusingBottleneck` | `MFF_OCE` | half-FPN bottleneck |
| `ScanDecoder` | `MambaUPNet` | Mamba decoder |
| `LocalityEnhanced` | `LSSModule` | LSS module |
| `ScanBlock` | `HSSBlock` | HSS block |
| `PlaneScan` | `SS2D` | 2-D selective scan |
| `scan_orders` | `HSCANS` | hybrid scanning encoder and decoder |

Departures from it are listed in docs/fidelity.md. Read next: nn/selective_scan.py, nn/scan_orders.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.rd4ad import offline_pyramid, suggested_steps, three_stages
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.errors import ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.scan_orders import Curve, Directions, scan_orders
from muad.nn.selective_scan import (
    ScanBackend,
    require_backend,
    selective_scan,
    selective_scan_as_ops,
    selective_scan_cuda,
)
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch, Features

_BLOCKS_AT_MOST = 48
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class MambaAdConfig(DetectorConfig):
    """Everything the paper varies. The defaults are the authors' for MVTec AD.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen CNN, of which three stages are read, each of half the size of the one before.
        resize_px: Height and width images are resized to; nothing is cut off.
        depths: Scan blocks of each stage of the decoder, coarse to fine; they come in modules of three, else of two.
        state: Numbers in the state of a scan, for every channel.
        expansion: Channels of a scan as a multiple of those of the map.
        curve: Order in which a scan goes through the map.
        directions: From how many directions it does so.
        kernels_px: Sides of the depthwise convolutions beside the scans.
        drop_path: Share of scan blocks that are skipped for an image in training, at the finest of the decoder's
            blocks none; rising linearly towards the coarsest.
        scan: What computes the scans: `torch` anywhere, `cuda` by the package mamba-ssm on a GPU.
        mse_weight: Factor on the squared error.
        blur_sigma_px: Width of the Gaussian that smooths the map; 0 for none.
    """

    name: Literal["mambaad"] = "mambaad"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="resnet34"))
    resize_px: tuple[int, int] = (256, 256)
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    state: int = 16
    expansion: int = 2
    curve: Curve = "hilbert"
    directions: Directions = 8
    kernels_px: tuple[int, int] = (5, 7)
    drop_path: float = 0.2
    scan: ScanBackend = "torch"
    mse_weight: float = 5.0
    blur_sigma_px: float = 4.0

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        in_modules = all(2 <= depth <= _BLOCKS_AT_MOST and modules_of(depth) for depth in self.depths)
        _require(in_modules, "depths", f"multiples of 3 or 2 up to {_BLOCKS_AT_MOST}", list(self.depths))
        _require(1 <= self.state <= 256, "state", "from 1 to 256", self.state)
        _require(1 <= self.expansion <= 16, "expansion", "from 1 to 16", self.expansion)
        odd = all(1 <= side <= 31 and side % 2 for side in self.kernels_px)
        _require(odd, "kernels_px", "odd numbers up to 31", list(self.kernels_px))
        _require(0 <= self.drop_path < 1, "drop_path", "from 0 to below 1", self.drop_path)
        _require(0 < self.mse_weight <= 1e6, "mse_weight", "above 0 and at most 1e6", self.mse_weight)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The published rates; where a CPU trains, small images and a short decoder with few directions."""
        steps = suggested_steps(images, device)
        small = {"resize_px": [128, 128], "depths": [2, 2, 2, 2], "state": 4, "directions": 4, "expansion": 1}
        return {
            "detector": {"encoder": {"name": offline_pyramid()}, **({} if device == "cuda" else small)},
            "optim": {
                "kind": "adamw", "lr": 5e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4,
                "amsgrad": False, "clip_norm": 5.0,
            },
            "schedule": {"kind": "drop", "total_steps": steps, "warmup_steps": 0, "final_lr": 5e-4, "drop_at": 0.8},
        }  # fmt: skip


def modules_of(depth: int) -> list[int]:
    """Scan blocks of each module of a stage: modules of three where these make up the depth, else of two."""
    size = next((size for size in (3, 2) if depth % size == 0), 0)
    return [size] * (depth // size) if size else []


# --------------------------------------------------------------------------------------------------- bottleneck


class FusingBottleneck(nn.Module):
    """Three maps brought to the size of the coarsest and added up; then three residual blocks, the first of stride 2.

    Args:
        channels: Of the three maps, fine to coarse.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        from timm.models.resnet import Bottleneck

        fine, middle, coarse = channels
        narrow, wide = coarse // 2, 2 * coarse
        shortcut = nn.Sequential(nn.Conv2d(coarse, wide, 1, stride=2, bias=False), nn.BatchNorm2d(wide))
        first = Bottleneck(coarse, narrow, stride=2, downsample=shortcut)
        self.bn_layer = nn.Sequential(first, *(Bottleneck(wide, narrow) for _ in range(2)))
        self.conv1 = nn.Conv2d(fine, middle, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, coarse, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(coarse)
        self.conv21 = nn.Conv2d(middle, middle, 1)
        self.bn21 = nn.BatchNorm2d(middle)
        self.conv31 = nn.Conv2d(coarse, coarse, 1)
        self.bn31 = nn.BatchNorm2d(coarse)
        self.convf = nn.Conv2d(coarse, coarse, 1)
        self.bnf = nn.BatchNorm2d(coarse)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, stages: Sequence[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b c h w"]:
        """One map of half the size of the coarsest and twice its channels."""
        fine, middle, coarse = stages
        fused = F.relu(self.bn21(self.conv21(middle))) + F.relu(self.bn1(self.conv1(fine)))
        fused = F.relu(self.bn2(self.conv2(fused))) + F.relu(self.bn31(self.conv31(coarse)))
        found: Tensor = self.bn_layer(F.relu(self.bnf(self.convf(fused))))
        return found


# ------------------------------------------------------------------------------------------------------ decoder


class PlaneScan(nn.Module):
    """A map read along a curve from several directions, each by a selective scan of its own; what they say is added.

    Args:
        width: Channels of the map.
        grid: Rows and columns of it.
        config: State, expansion, curve, directions and what computes the scans.
    """

    orders: Tensor
    places: Tensor

    def __init__(self, width: int, grid: tuple[int, int], config: MambaAdConfig) -> None:
        super().__init__()
        inner, state, directions = config.expansion * width, config.state, config.directions
        self.state, self.rank, self.backend = state, math.ceil(width / 16), config.scan
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        bound = inner**-0.5
        self.x_proj_weight = nn.Parameter(torch.empty(directions, self.rank + 2 * state, inner).uniform_(-bound, bound))
        bound = self.rank**-0.5
        self.dt_projs_weight = nn.Parameter(torch.empty(directions, inner, self.rank).uniform_(-bound, bound))
        # The bias is such that a step is from 0.001 to 0.1 long, evenly in its logarithm, before anything is learned.
        step = torch.exp(torch.empty(directions, inner).uniform_(math.log(1e-3), math.log(0.1))).clamp(min=1e-4)
        self.dt_projs_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.A_logs = nn.Parameter(torch.arange(1, state + 1).float().log().repeat(directions * inner, 1))
        self.Ds = nn.Parameter(torch.ones(directions * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        orders = scan_orders(config.curve, *grid, directions)
        self.register_buffer("orders", orders, persistent=False)
        self.register_buffer("places", orders.argsort(dim=1), persistent=False)

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """The map after the scans, gated by itself."""
        batch, height, width, _ = tokens.shape
        inner, gate = self.in_proj(tokens).chunk(2, dim=-1)
        inner = F.silu(self.conv2d(inner.permute(0, 3, 1, 2))).flatten(2)  # (b, d, n)
        said = self.scan(inner).transpose(1, 2).reshape(batch, height, width, -1)
        gated: Tensor = self.out_proj(self.out_norm(said) * F.silu(gate))
        return gated

    def scan(self, inner: Float[Tensor, "b d n"]) -> Float[Tensor, "b d n"]:
        """What all directions say at each place, added up; in float32."""
        # What a scan is told of a place depends on the place alone: it is computed before they are put in order.
        told = F.linear(inner.transpose(1, 2), self.x_proj_weight.flatten(0, 1)).transpose(1, 2)
        told = told.reshape(inner.shape[0], len(self.orders), -1, inner.shape[-1])  # (b, k, r + 2 s, n)
        # In float32 like their parameters, whatever precision the rest runs in.
        with torch.autocast(inner.device.type, enabled=False):
            scan = self._scan_at_once if torch.compiler.is_exporting() else self._scan_in_turn
            return scan(inner.float(), told.float())

    def _scan_in_turn(self, inner: Float[Tensor, "b d n"], told: Float[Tensor, "b k c n"]) -> Float[Tensor, "b d n"]:
        """One direction after the other, as memory wants it."""
        added = torch.zeros_like(inner)
        decays, skips = self._decays(), self.Ds.chunk(len(self.orders))
        for number, (order, places) in enumerate(zip(self.orders, self.places, strict=True)):
            rank, write, read = torch.split(told[:, number, :, order], [self.rank, self.state, self.state], 1)
            ordered, delta = inner[..., order], self.dt_projs_weight[number] @ rank
            decay, skip, bias = decays[number], skips[number], self.dt_projs_bias[number]
            if self.backend == "cuda" and inner.device.type == "cuda":
                said = selective_scan_cuda(ordered, delta, decay, write[:, None], read[:, None], skip, bias)
            else:
                said = selective_scan(ordered, delta, decay, write, read, skip, bias)
            added = added + said[..., places]
        return added

    def _scan_at_once(self, inner: Float[Tensor, "b d n"], told: Float[Tensor, "b k c n"]) -> Float[Tensor, "b d n"]:
        """All directions side by side, in few operations, as other runtimes want it."""
        batch, directions = inner.shape[0], len(self.orders)
        ordered = inner[..., self.orders].transpose(1, 2)  # (b, k, d, n)
        told = told.gather(3, self.orders[None, :, None].expand(batch, -1, told.shape[2], -1))
        rank, write, read = torch.split(told, [self.rank, self.state, self.state], 2)
        said = selective_scan_as_ops(
            ordered,
            self.dt_projs_weight @ rank,
            self._decays(),
            write,
            read,
            self.Ds.reshape(directions, -1),
            self.dt_projs_bias,
        )
        return said.gather(3, self.places[None, :, None].expand(batch, -1, inner.shape[1], -1)).sum(1)

    def _decays(self) -> Float[Tensor, "k d s"]:
        return -torch.exp(self.A_logs).reshape(len(self.orders), -1, self.state)


class ScanBlock(nn.Module):
    """Norm and scan, beside a path that does nothing."""

    def __init__(self, width: int, grid: tuple[int, int], config: MambaAdConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.self_attention = PlaneScan(width, grid, config)

    def forward(
        self, tokens: Float[Tensor, "b h w d"], weight: Float[Tensor, "b 1 1 1"] | None
    ) -> Float[Tensor, "b h w d"]:
        """The map and what the scan adds to it, times a weight for each image if there is one."""
        added: Tensor = self.self_attention(self.ln_1(tokens))
        return tokens + (added if weight is None else added * weight)


class LocalityEnhanced(nn.Module):
    """Scan blocks one after the other, beside two depthwise convolutions; all three are fused and added to the map.

    Args:
        width: Channels of the map.
        grid: Rows and columns of it.
        blocks: Number of scan blocks.
        drop_path: Share of images that pass a scan block by, in training.
        config: The rest.
    """

    def __init__(self, width: int, grid: tuple[int, int], blocks: int, drop_path: float, config: MambaAdConfig) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.smm_blocks = nn.ModuleList(ScanBlock(width, grid, config) for _ in range(blocks))
        small, large = config.kernels_px
        self.small = _local_branch(width, small)
        self.large = _local_branch(width, large)
        self.finalconv11 = nn.Conv2d(3 * width, width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                rows, columns = module.kernel_size
                nn.init.normal_(module.weight, 0, math.sqrt(2 * module.groups / (rows * columns * module.out_channels)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Float[Tensor, "b h w d"], noise: Sequence[Generator] | None) -> Float[Tensor, "b h w d"]:
        """The map, looked at as a whole and closely; with a generator for each image, some pass scan blocks by."""
        scanned = tokens
        for block in self.smm_blocks:
            scanned = block(scanned, self._weight(tokens, noise))
        plane = tokens.permute(0, 3, 1, 2)
        fused = torch.cat([scanned.permute(0, 3, 1, 2), self.small(plane), self.large(plane)], dim=1)
        found: Tensor = tokens + self.finalconv11(fused).permute(0, 2, 3, 1)
        return found

    def _weight(self, tokens: Tensor, noise: Sequence[Generator] | None) -> Float[Tensor, "b 1 1 1"] | None:
        if noise is None or not self.drop_path:
            return None
        kept = torch.stack([torch.rand(1, generator=generator) >= self.drop_path for generator in noise])
        return (kept / (1 - self.drop_path)).to(tokens)[:, :, None, None]


def _local_branch(width: int, kernel_px: int) -> nn.Sequential:
    """Pointwise, depthwise, pointwise, each with instance norm and SiLU."""
    depthwise = nn.Conv2d(width, width, kernel_px, padding=kernel_px // 2, groups=width, bias=False)
    convolutions = [nn.Conv2d(width, width, 1), depthwise, nn.Conv2d(width, width, 1)]
    return nn.Sequential(*(nn.Sequential(layer, nn.InstanceNorm2d(width), nn.SiLU()) for layer in convolutions))


class PatchExpand(nn.Module):
    """A map of twice the height and width: every place gives four, each of another quarter of its channels."""

    def __init__(self, width: int, finer: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * finer, bias=False)
        self.norm = nn.LayerNorm(finer)

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h2 w2 e"]:
        """The finer map."""
        batch, height, width, _ = tokens.shape
        quarters = self.expand(tokens).reshape(batch, height, width, 2, 2, -1)
        finer: Tensor = self.norm(quarters.transpose(2, 3).reshape(batch, 2 * height, 2 * width, -1))
        return finer


class ScanDecoder(nn.Module):
    """From the bottleneck's map to those of the encoder, each stage of twice the size of the one before.

    Args:
        channels: Of the encoder's maps, fine to coarse.
        grid: Rows and columns of the bottleneck's.
        config: The rest.
    """

    def __init__(self, channels: Sequence[int], grid: tuple[int, int], config: MambaAdConfig) -> None:
        super().__init__()
        widths = [2 * channels[-1], *reversed(channels)]
        rates = torch.linspace(config.drop_path, 0, sum(config.depths)).tolist()
        self.expand = nn.ModuleList(PatchExpand(wide, finer) for wide, finer in pairwise(widths))
        self.stages = nn.ModuleList()
        for number, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            size = (grid[0] * 2**number, grid[1] * 2**number)
            own = rates[sum(config.depths[:number]) :]  # of as many modules as there are, as in the authors' code
            self.stages.append(
                nn.ModuleList(
                    LocalityEnhanced(width, size, blocks, rate, config)
                    for blocks, rate in zip(modules_of(depth), own, strict=False)
                )
            )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(
        self, fused: Float[Tensor, "b c h w"], noise: Sequence[Generator] | None = None
    ) -> list[Float[Tensor, "b c h w"]]:
        """The encoder's maps given back, fine to coarse."""
        tokens = fused.permute(0, 2, 3, 1)
        found: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            if number:
                tokens = self.expand[number - 1](tokens)
            for module in cast("nn.ModuleList", stage):
                tokens = module(tokens, noise)
            if number:
                found.insert(0, tokens.permute(0, 3, 1, 2))
        return found


# ----------------------------------------------------------------------------------------------------- detector


class MambaAd(SteppingDetector):
    """Frozen CNN, fusing bottleneck, decoder of scans.

    Args:
        config: Architecture, loss and scoring.

    Raises:
        ConfigError: The encoder has no three stages that halve, the size does not fit them, or a package is missing.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = MambaAdConfig

    def __init__(self, config: MambaAdConfig) -> None:
        super().__init__()
        self.config = config
        require_backend(config.scan)
        self.encoder = three_stages(config.encoder, config.resize_px)
        self.encoder.fold()
        channels, grids = self.encoder.channels, self.encoder.grids
        self.fingerprint, self.encoding = self.encoder.fingerprint, f"mambaad {self.encoder.tap_layers}"
        rows, columns = grids[-1]
        if rows % 2 or columns % 2 or rows * columns < 8:
            raise ConfigError(
                "detector.resize_px must be multiples of 32 and more than 32x32, so that the coarsest map is even, "
                f"got {list(config.resize_px)}, of which {config.encoder.name} makes {rows}x{columns}."
            )
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.bottleneck = FusingBottleneck(channels)
        self.decoder = ScanDecoder(channels, (grids[-1][0] // 2, grids[-1][1] // 2), config)
        self.map_head = GridHead(
            grids=("stage_0", "stage_1", "stage_2"),
            input_px=config.resize_px,
            align_corners=True,
            blur_sigma_px=config.blur_sigma_px,
            blur="reflected",
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """Biases and norms apart from the rest, for they do not decay."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [
            {"name": "decoder", "params": [p for p in learning if p.dim() > 1]},
            {"name": "biases", "params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
        ]

    def trainable_state(self) -> dict[str, Tensor]:
        """All but the encoder, with the running statistics of the bottleneck's batch norm."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Features:
        """Maps of the three stages."""
        return tuple(self.encoder(images))

    def decode(
        self, stages: Sequence[Float[Tensor, "b c h w"]], noise: Sequence[Generator] | None = None
    ) -> list[Float[Tensor, "b c h w"]]:
        """These maps given back through the bottleneck, in float32.

        Args:
            stages: From `encode`.
            noise: One random generator per image for skipping scan blocks, or None to skip none.
        """
        return [restored.float() for restored in self.decoder(self.bottleneck(stages), noise)]

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  nothing here changes over the run
        """Mean squared error of the maps given back, added over the stages."""
        # DEVIATION: which blocks are skipped is drawn from each image's seed, so that processes and resumes agree.
        stages = cast("tuple[Tensor, ...]", self.encode(batch.images) if batch.features is None else batch.features)
        noise = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        errors = [
            F.mse_loss(restored, stage.float())
            for restored, stage in zip(self.decode(stages, noise), stages, strict=True)
        ]
        terms = {f"mse_stage_{number}": error.detach() for number, error in enumerate(errors)}
        return Losses(total=self.config.mse_weight * torch.stack(errors).sum(), terms=terms)

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Cosine distance between what was read and what was given back, at every place of each stage."""
        stages = self.encode(images)
        distances = [
            1 - F.cosine_similarity(stage.float(), restored)
            for stage, restored in zip(stages, self.decode(cast("tuple[Tensor, ...]", stages)), strict=True)
        ]
        return {f"stage_{number}": distance for number, distance in enumerate(distances)}
