"""PatchCore: how far is each patch from the nearest patch of a normal image, in features of a frozen encoder?

In reading order: configuration, patches, memory, anomaly map and score. Nothing is trained. Features of every normal
image are averaged over neighbouring patches; a coreset of them is the memory; what is far from all of it is anomalous.

Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022, arXiv:2106.08265; official code
amazon-science/patchcore-inspection (Apache-2.0), written anew here.

| here | official code | paper |
|---|---|---|
| `patches` | `PatchMaker`, `_embed` | locally aware patch features |
| `memory` | `features` of the `NearestNeighbourScorer` | memory bank |
| `greedy_coreset` | `ApproximateGreedyCoresetSampler` | coreset subsampling |

Departures from it are listed in docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from muad.detectors.base import DetectorConfig, FittingDetector
from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.encoders.pyramids import Pyramid, build_pyramid
from muad.errors import LARGEST_PX, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from muad.detectors.types import Batch, Features

_PROJECTED_WIDTH = 64
_NEIGHBOURHOOD = 3
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCoreConfig(DetectorConfig):
    """What is remembered of normal images, and how distances become map and score.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen network: a vision transformer or a pyramid of a CNN.
        resize_px: Height and width images are resized to.
        crop_px: Height and width of the centre that is kept; what lies outside is never inspected.
        groups: Into how many equal groups the tapped layers of a vision transformer are averaged; the stages of a
            pyramid are never averaged.
        coreset: How patches are chosen for the memory.
        coreset_fraction: Share of the patches that is remembered, above 0 to 1.
        coreset_of: Whether that share is chosen of each category's patches or of all together.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur_sigma_px: Width of the Gaussian of 5x5 pixels; 0 for none.
        top_fraction: Share of largest map values whose mean is the score; of less than one value, the maximum.
    """

    name: Literal["patchcore"] = "patchcore"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    resize_px: tuple[int, int] = (224, 224)
    crop_px: tuple[int, int] = (224, 224)
    groups: int = 2
    coreset: Literal["greedy", "random"] = "greedy"
    coreset_fraction: float = 0.02
    coreset_of: Literal["category", "all"] = "category"
    map_px: int = 256
    blur_sigma_px: float = 4.0
    top_fraction: float = 0.01

    def __post_init__(self) -> None:
        Preprocessing(resize_px=self.resize_px, crop_px=self.crop_px)
        require_sides("detector", "resize_px", self.resize_px)
        require_sides("detector", "crop_px", self.crop_px)
        map_px, share = self.map_px, self.coreset_fraction
        _require(1 <= self.groups <= 256, "groups", "from 1 to 256", self.groups)
        _require(0 < share <= 1, "coreset_fraction", "above 0 and at most 1", share)
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        largest = "above 0 and at most 1 (1e-6 for the largest value alone)"
        _require(0 < self.top_fraction <= 1, "top_fraction", largest, self.top_fraction)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:  # noqa: ARG003  any number is remembered alike
        """A larger image where a GPU encodes it."""
        side = 448 if device == "cuda" else 224
        return {"detector": {"resize_px": [side, side], "crop_px": [side, side]}}


class PatchCore(FittingDetector):
    """Frozen encoder and a memory of normal patches.

    DEVIATION: PatchCore compares by Euclidean distance; here each layer is brought to unit length first, so that the
    distance is a cosine's, and map and score are made as Dinomaly makes them.

    Args:
        config: Memory and scoring.

    Raises:
        ConfigError: The sizes do not fit the encoder, or the groups do not fit the layers.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = PatchCoreConfig
    memory: Float[Tensor, "m d"]

    def __init__(self, config: PatchCoreConfig) -> None:
        super().__init__()
        self.config = config
        self.by_category = config.coreset_of == "category"
        self.encoder = (build_pyramid if config.encoder.is_pyramid else build_encoder)(config.encoder, config.crop_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.crop_px, mean=self.encoder.mean, std=self.encoder.std
        )
        taps = len(self.encoder.tap_layers)
        if isinstance(self.encoder, Pyramid):
            self.grid, width = self.encoder.grids[0], sum(self.encoder.channels)
        else:
            if taps % config.groups:
                raise ConfigError(f"detector.groups must divide the {taps} tapped layers, got {config.groups}.")
            self.grid, width = self.encoder.grid, self.encoder.width * config.groups
        self.encoding = f"patchcore {self.encoder.tap_layers} {config.groups} {config.encoder.position_interpolation}"
        self.map_head = GridHead(
            grids=("distance",),
            input_px=config.crop_px,
            map_px=config.map_px,
            blur_sigma_px=config.blur_sigma_px,
            top_fraction=config.top_fraction,
        )
        self.register_buffer("memory", torch.empty(0, width))

    # ------------------------------------------------------------------------------------------------- patches

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Features:
        """Patch tokens of each group of layers, averaged; or the maps of the stages."""
        tapped: list[Tensor] = self.encoder(images)
        if isinstance(self.encoder, Pyramid):
            return tuple(tapped)
        count = len(tapped) // self.config.groups
        groups = [tapped[begin : begin + count] for begin in range(0, len(tapped), count)]
        averaged = [_mean(group) for group in groups]
        return torch.stack([tokens[:, self.encoder.prefix_tokens :] for tokens in averaged], dim=1)

    def patches(self, features: Features) -> Float[Tensor, "b n d"]:
        """Patch features: each layer averaged over 3x3 patches and brought to unit length, then laid side by side."""
        if isinstance(features, tuple):  # coarser stages are brought to the places of the finest
            averaged = [_neighbourhood_mean(stage.float()) for stage in features]
            placed = [F.interpolate(stage, self.grid, mode="bilinear") for stage in averaged]
            return torch.cat([F.normalize(stage.flatten(2).transpose(1, 2), dim=-1) for stage in placed], dim=-1)
        batch, groups, _, width = features.shape
        spatial = features.float().flatten(0, 1).transpose(1, 2).reshape(batch * groups, width, *self.grid)
        unit = F.normalize(_neighbourhood_mean(spatial).flatten(2).transpose(1, 2), dim=-1)  # (b groups, n, d)
        return unit.reshape(batch, groups, -1, width).transpose(1, 2).flatten(2)

    # -------------------------------------------------------------------------------------------------- memory

    def fit(self, batches: Iterable[Batch], seed: int, progress: Callable[[str, int, int], None]) -> None:
        """Remember a coreset of the patches of these images, beside what is remembered already."""
        found = [
            self.patches(self.encode(batch.images) if batch.features is None else batch.features).flatten(0, 1)
            for batch in batches
        ]
        patches = torch.cat(found)
        count = max(1, int(self.config.coreset_fraction * len(patches)))
        if self.config.coreset == "greedy":
            chosen = greedy_coreset(patches, count, seed, lambda done: progress("choose patches", done, count))
        else:
            order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))
            chosen = order[:count].to(patches.device)
        self.memory = torch.cat([self.memory, patches[chosen]])

    def trainable_state(self) -> dict[str, Tensor]:
        """The memory; nothing else was learned."""
        return {"memory": self.memory}

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """A memory has as many patches as were chosen."""
        rows = shapes["memory"][0] if len(shapes.get("memory", ())) == 2 else 0
        self.memory = self.memory.new_empty(rows, self.memory.shape[1])

    # ------------------------------------------------------------------------------------ anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Distance of every patch to the nearest remembered one.

        Raises:
            ConfigError: Nothing was remembered yet.
        """
        if not len(self.memory):
            raise ConfigError("memory must hold normal patches before prediction, got none. Train the detector first.")
        patches = self.patches(self.encode(images))  # (b, h w, d), of length sqrt(layers)
        similarity = torch.stack([(image @ self.memory.T).amax(1) for image in patches])
        squared_length = patches[0, 0].square().sum()
        distance = (2 * (squared_length - similarity)).clamp(min=0).sqrt()
        return {"distance": distance.reshape(-1, *self.grid)}


def greedy_coreset(
    patches: Float[Tensor, "m d"], count: int, seed: int = 0, progress: Callable[[int], None] = lambda _: None
) -> Int[Tensor, " count"]:
    """Indices of patches such that every patch has a chosen one near: always the farthest one next.

    Distances are taken in a random projection, which keeps them to a few percent.

    Args:
        patches: Candidates.
        count: How many to choose.
        seed: Of the first choice and of the projection.
        progress: Called now and then with how many are chosen.
    """
    generator = torch.Generator().manual_seed(seed)
    width = min(_PROJECTED_WIDTH, patches.shape[1])
    projection = torch.randn(patches.shape[1], width, generator=generator).to(patches.device) / width**0.5
    points = patches @ projection
    chosen = torch.empty(count, dtype=torch.long, device=patches.device)
    chosen[0] = int(torch.randint(len(points), (1,), generator=generator))
    squared = points.square().sum(1)
    nearest = torch.full((len(points),), torch.inf, device=patches.device)
    for place in range(1, count):
        last = points[chosen[place - 1]]
        nearest = torch.minimum(nearest, squared - 2 * (points @ last) + last.square().sum())
        chosen[place] = nearest.argmax()
        if place % 100 == 0:
            progress(place)
    return chosen


def _mean(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total / len(tensors)


def _neighbourhood_mean(features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """Mean over 3x3 places; at the rim, over those there are."""
    return F.avg_pool2d(features, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2, count_include_pad=False)
