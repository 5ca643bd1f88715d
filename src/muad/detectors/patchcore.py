"""PatchCore: how far is each patch from the nearest patch of a normal image, in features of frozen encoders?

In reading order: configuration, patches, memory, anomaly map and score, search. Nothing is trained. Features of every
normal image are averaged over neighbouring patches; a coreset of them is the memory; what is far from all of it is
anomalous.

Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022, arXiv:2106.08265; official code
amazon-science/patchcore-inspection (Apache-2.0), written anew here.

| here | official code | paper |
|---|---|---|
| `patches` | `PatchMaker`, `_embed` | locally aware patch features |
| `memory` | `features` of the `NearestNeighbourScorer` | memory bank |
| `greedy_coreset` | `GreedyCoresetSampler`, `ApproximateGreedyCoresetSampler` | coreset subsampling |
| `reweighted` | none | equation 7 |

Departures from it are listed in docs/fidelity.md.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, FittingDetector
from muad.detectors.memory_shares import MemoryShares
from muad.detectors.neighbours import ApproximateSearch, greedy_coreset, nearest, reweighted
from muad.device import has_fast_bf16
from muad.encoders.encoder import EncoderConfig
from muad.encoders.feature_maps import FeatureMaps
from muad.encoders.pyramids import PyramidFamily
from muad.errors import LARGEST_PX, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.image_by_core import image_by_core
from muad.nn.patches import embed_patches
from muad.runtime.heads import Blur, GridHead  # a setting's type, which pydantic reads

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.types import Batch, Features

_NEIGHBOURHOOD = 3
_STRIDES = (8, 16)  # of the stages of a CNN that are read unless said otherwise: the second and third, as published
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCoreConfig(DetectorConfig):
    """What is remembered of normal images, and how distances become map and score.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen network: a vision transformer or a CNN; `muad-tiny` if neither it nor `encoders` is given.
        encoders: Several that look side by side, names or tables like `encoder`, in its place.
        resize_px: Height and width images are resized to.
        crop_px: Height and width of the centre that is kept; what lies outside is never inspected.
        grid_px: Pixels of the input to a place of the grid that all layers are brought to; 0 for the finest layer's.
        groups: Into how many equal groups the tapped layers of a vision transformer are averaged; the stages of a
            CNN are never averaged.
        pooled_width: Numbers that each layer's neighbourhoods, and then all layers together, are averaged to, as
            published (1024); 0 keeps each layer's channels and lays the layers side by side.
        distance: `unit`: every layer is brought to unit length first, so that none drowns the others; `squared`: the
            squared Euclidean distance of patches as they are, as published.
        coreset: How patches are chosen for the memory.
        coreset_fraction: Share of the patches that is remembered, above 0 to 1.
        coreset_of: Whether that share is chosen of each category's patches or of all together.
        coreset_projection: Width of the random projection in which the greedy choice takes distances; 0 for none, which
            is exact and slower.
        candidate_fraction: Share of each image's patches, drawn by the seed, among which the greedy choice is made;
            of so many it needs memory and time.
        exposure_gains: Factors on the light at which normal images are remembered as well, so that the score does not
            follow it: such as [0.8, 1.25]. Depth and infrared are not lit.
        exposure_looks: `every`: each image as it is and at every gain, each of which takes as long as a look at all
            images; `one`: each image once, half of them as they are and the others at the gains in turn.
        turns: Angles in degrees by which every normal image is remembered turned as well, at every exposure, for few
            photographs of parts that lie in any direction: such as [90, 180, 270]. Each takes as long as a look too.
        most_patches: Largest number of patches remembered of each category, or of all together; 0 for no limit.
        reweight_neighbours: Over how many remembered patches around the nearest one the score is reweighted, as in the
            paper (9); 0 for none, as in the official code.
        precision: In which images are encoded: `fp32`, or `auto`: vision transformers multiply in bfloat16 where the
            device has units for it, and on a processor the nearest patch is sought so. CNNs and the distance to the
            patch that was found are float32, and so is an exported network.
        search: `exact`, or `faiss`: approximate, quicker with a large memory; an exported network searches exactly.
        map_px: Side of the square map that is blurred and scored; 0 for the size of the input.
        blur_sigma_px: Width of the Gaussian; 0 for none.
        blur: `five_px`: of 5x5 pixels; `reflected`: as wide as it is, the map mirrored at its rim, as published.
        score_from: Whether the score is taken from the map's values, or from the patches' distances, as published.
        top_fraction: Share of these largest values whose mean is the score; of less than one value, the maximum.
    """

    name: Literal["patchcore"] = "patchcore"
    encoder: EncoderConfig | None = None
    encoders: tuple[EncoderConfig | str, ...] = ()
    resize_px: tuple[int, int] = (224, 224)
    crop_px: tuple[int, int] = (224, 224)
    grid_px: int = 0
    groups: int = 2
    pooled_width: int = 0
    distance: Literal["unit", "squared"] = "unit"
    coreset: Literal["greedy", "random"] = "greedy"
    coreset_fraction: float = 0.02
    coreset_of: Literal["category", "all"] = "category"
    coreset_projection: int = 64
    candidate_fraction: float = 1.0
    exposure_gains: tuple[float, ...] = ()
    exposure_looks: Literal["every", "one"] = "every"
    turns: tuple[float, ...] = ()
    most_patches: int = 0
    reweight_neighbours: int = 0
    precision: Literal["fp32", "auto"] = "fp32"
    search: Literal["exact", "faiss"] = "exact"
    map_px: int = 256
    blur_sigma_px: float = 4.0
    blur: Blur = "five_px"
    score_from: Literal["map", "patches"] = "map"
    top_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.encoder is not None and self.encoders:
            raise ConfigError("detector.encoder must be left out with detector.encoders, got both. Name all in one.")
        if not self.encoders and self.encoder is None:
            object.__setattr__(self, "encoder", EncoderConfig())
        named = tuple(EncoderConfig(name=one) if isinstance(one, str) else one for one in self.encoders)
        object.__setattr__(self, "encoders", named)
        _require(len(named) <= 16, "encoders", "at most 16", len(named))
        Preprocessing(resize_px=self.resize_px, crop_px=self.crop_px)
        require_sides("detector", "resize_px", self.resize_px)
        require_sides("detector", "crop_px", self.crop_px)
        map_px, share = self.map_px, self.coreset_fraction
        _require(1 <= self.groups <= 256, "groups", "from 1 to 256", self.groups)
        _require(0 <= self.grid_px <= min(self.crop_px), "grid_px", "from 0 to the side of crop_px", self.grid_px)
        if self.grid_px and self.pooled_width:
            raise ConfigError(f"detector.grid_px must be 0 with detector.pooled_width, got {self.grid_px}.")
        _require(0 <= self.pooled_width <= 65_536, "pooled_width", "from 0 to 65536", self.pooled_width)
        _require(0 < share <= 1, "coreset_fraction", "above 0 and at most 1", share)
        _require(
            0 <= self.coreset_projection <= 65_536, "coreset_projection", "from 0 to 65536", self.coreset_projection
        )
        among = self.candidate_fraction
        _require(0 < among <= 1, "candidate_fraction", "above 0 and at most 1", among)
        if self.coreset == "greedy":
            _require(among >= share, "candidate_fraction", f"at least coreset_fraction {share}", among)
        gains = self.exposure_gains
        _require(len(gains) <= 16, "exposure_gains", "at most 16", len(gains))
        _require(all(0.1 <= gain <= 10 for gain in gains), "exposure_gains", "from 0.1 to 10", list(gains))
        if self.exposure_looks == "one" and not gains:
            raise ConfigError(
                "detector.exposure_gains must name a gain with detector.exposure_looks = 'one', got []. "
                "Name some, such as [0.8, 1.25], or leave both out."
            )
        turns = self.turns
        _require(len(turns) <= 35, "turns", "at most 35", len(turns))
        _require(all(0 < turn < 360 for turn in turns), "turns", "above 0 and below 360", list(turns))
        _require(0 <= self.most_patches <= 10**9, "most_patches", "from 0 to 10^9", self.most_patches)
        neighbours = self.reweight_neighbours
        _require(0 <= neighbours <= 1000, "reweight_neighbours", "from 0 to 1000", neighbours)
        _require(map_px == 0 or 8 <= map_px <= LARGEST_PX, "map_px", f"0 or from 8 to {LARGEST_PX}", map_px)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        largest = "above 0 and at most 1 (1e-6 for the largest value alone)"
        _require(0 < self.top_fraction <= 1, "top_fraction", largest, self.top_fraction)

    @property
    def side_by_side(self) -> tuple[EncoderConfig, ...]:
        """The encoder, or all of several."""
        several = tuple(one for one in self.encoders if isinstance(one, EncoderConfig))
        return several or ((self.encoder,) if self.encoder is not None else ())

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:  # noqa: ARG003  any number is remembered alike
        """A larger image where a GPU encodes it."""
        side = 448 if device == "cuda" else 224
        return {"detector": {"resize_px": [side, side], "crop_px": [side, side]}}


class PatchCore(FittingDetector):
    """Frozen encoders and a memory of normal patches.

    DEVIATION: unless `distance = "squared"`, each layer is brought to unit length first, so that the distance is a
    cosine's, and map and score are made as Dinomaly makes them.

    Args:
        config: Memory and scoring.

    Raises:
        ConfigError: The sizes do not fit an encoder, the groups do not fit the layers, or a package is missing.
        CheckpointError: An encoder's weights cannot be had.
    """

    settings = PatchCoreConfig
    joins_senses: ClassVar[bool] = True
    goes_on_by: ClassVar[Literal["insertion", "rehearsal", ""]] = "insertion"
    memory_remedy = (
        "Take a smaller detector.candidate_fraction (such as 0.1) or coreset_fraction, detector.coreset = 'random', "
        "or a smaller detector.resize_px and crop_px."
    )
    memory: Float[Tensor, "m d"]

    def __init__(self, config: PatchCoreConfig) -> None:
        super().__init__()
        self.config = config
        self.by_category = config.coreset_of == "category"
        self.exposure_gains = config.exposure_gains
        self.exposure_looks = config.exposure_looks
        self.turns = config.turns
        self.encoder = FeatureMaps([_with_stages(one) for one in config.side_by_side], config.crop_px, config.groups)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.crop_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.grid = max(self.encoder.grids)
        if config.grid_px:
            self.grid = (config.crop_px[0] // config.grid_px, config.crop_px[1] // config.grid_px)
        interpolation = [one.position_interpolation for one in config.side_by_side]
        self.encoding = f"patchcore {self.encoder.taps} {config.groups} {interpolation}"
        self.map_head = GridHead(
            grids=("distance",),
            input_px=config.crop_px,
            map_px=config.map_px,
            blur_sigma_px=config.blur_sigma_px,
            blur=config.blur,
            top_fraction=config.top_fraction,
            score_grid=self.grid if config.score_from == "patches" else None,
            score_tensor="score" if config.reweight_neighbours else "",
        )
        self.register_buffer("memory", torch.empty(0, config.pooled_width or sum(self.encoder.channels)))
        self.shares = MemoryShares()
        self._approximate = ApproximateSearch() if config.search == "faiss" else None

    # ------------------------------------------------------------------------------------------------- patches

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Features:
        """Maps of all layers: of each group of blocks of a vision transformer, and of each stage of a CNN."""
        lowered = self._is_lowered(images.device)
        if torch.compiler.is_exporting() or images.device.type != "cpu":
            return tuple(self.encoder(images, lowered=lowered))
        return tuple(image_by_core(partial(self.encoder, lowered=lowered), images))

    def _is_lowered(self, device: torch.device) -> bool:
        return self.config.precision == "auto" and has_fast_bf16(device)

    def patches(self, features: Features) -> Float[Tensor, "b n d"]:
        """Patch features: each layer averaged over 3x3 patches, brought to the finest grid, and joined with the others.

        Args:
            features: What `encode` gave.
        """
        maps = list(features)
        if self.config.pooled_width:
            width = self.config.pooled_width
            finest_first = sorted(maps, key=lambda stage: -stage.shape[2])
            joined = embed_patches(finest_first, stage_width=width, width=width, neighbourhood=_NEIGHBOURHOOD)
            return F.normalize(joined, dim=-1) if self.config.distance == "unit" else joined
        placed = []
        for stage in maps:
            averaged = _neighbourhood_mean(stage.float().contiguous(memory_format=torch.channels_last))
            if averaged.shape[2:] != self.grid:
                averaged = F.interpolate(averaged, self.grid, mode="bilinear")
            layer = averaged.flatten(2).transpose(1, 2)
            placed.append(F.normalize(layer, dim=-1) if self.config.distance == "unit" else layer)
        return torch.cat(placed, dim=-1)

    # -------------------------------------------------------------------------------------------------- memory

    def needed_bytes(self, images: int) -> int:
        """Memory for the patches among which a coreset of that many images is chosen, and for the memory itself."""
        config, (rows, columns), width = self.config, self.grid, self.memory.shape[1]
        found = images * self.looks * self.preprocessing.count * rows * columns
        kept = config.coreset_fraction * found
        kept = min(kept, config.most_patches) if config.most_patches else kept
        projected = min(config.coreset_projection or width, width)
        among = found * self._drawn_fraction
        # Candidates are held in parts and then as one, and are projected on the way.
        held = 2 * among * width + (among * projected if config.coreset == "greedy" else 0)
        return int(4 * (held + kept * width))

    @property
    def _drawn_fraction(self) -> float:
        """Share of each image's patches that is looked at for the coreset."""
        return self.config.coreset_fraction if self.config.coreset == "random" else self.config.candidate_fraction

    def fit(self, batches: Iterable[Batch], seed: int, progress: Callable[[str, int, int], None]) -> None:
        """Remember a coreset of the patches of these images, beside what is remembered already.

        Of a product of which nothing is remembered, a coreset of its own. Of one that is known, patches that lie
        farthest from its own remembered ones, which all stay; where it would have more than `most_patches` then, its
        share is thinned anew, from what was remembered of it and the new candidates together. What is remembered of
        other products is never touched.
        """
        config, drawing, seen, held = self.config, torch.Generator().manual_seed(seed), 0, 0
        found: list[Tensor] = []
        product = ""
        for batch in batches:
            product = next(iter(batch.categories), "") if self.by_category else ""
            patches = self.patches(self.encode(batch.images) if batch.features is None else batch.features)
            if self._drawn_fraction == 1:
                found.append(patches.flatten(0, 1))
                seen += len(found[-1])
                continue
            for view in patches:  # drawn one by one, so that nothing depends on how they come together
                seen += len(view)
                wanted = max(1, int(self._drawn_fraction * seen)) - held
                drawn = torch.randperm(len(view), generator=drawing)[:wanted].sort().values
                found.append(view[drawn.to(view.device)])
                held += len(drawn)
        candidates = torch.cat(found)
        count = max(1, int(config.coreset_fraction * seen))
        count = min(count, len(candidates), config.most_patches or count)
        rows = self.shares.rows_of(product)
        own = self.memory[rows]
        kept = own
        if len(own) and config.most_patches and len(own) + count > config.most_patches:
            candidates, kept, count = torch.cat([own, candidates]), own[:0], config.most_patches
        if config.coreset == "greedy":
            chosen = greedy_coreset(
                candidates,
                count,
                seed,
                beside=kept,
                projection=config.coreset_projection,
                progress=lambda done: progress("choose patches", done, count),
            )
        else:
            chosen = torch.randperm(len(candidates), generator=drawing)[:count].to(candidates.device)
        share = torch.cat([kept, candidates[chosen]])
        self.memory = torch.cat([self.memory[: rows.start], share, self.memory[rows.stop :]])
        self.shares.set(product, len(share))

    def remembered(self) -> dict[str, int]:
        """Patches of each product, where it is known whose they are."""
        return self.shares.named

    def would_remember(self, product: str, images: int) -> int:
        """Patches of a product after so many more images of it."""
        places = self.looks * self.preprocessing.count * self.grid[0] * self.grid[1]
        more = max(1, int(self.config.coreset_fraction * images * places))
        known = self.remembered().get(product, 0)
        return min(known + more, self.config.most_patches) if self.config.most_patches else known + more

    def forget(self, product: str) -> None:
        """Drop the patches of a product; the others stay as they are, in their order.

        Raises:
            ConfigError: It is not known which patches are of that product.
        """
        if product not in self.shares.named:
            why = (
                "one coreset stands for all products (detector.coreset_of = 'all')"
                if not self.by_category
                else "it was trained by a release that did not write down which patch is of which product"
            )
            raise ConfigError(
                f"product must be one whose patches the memory knows apart, got {product!r}: {why}. Train anew without "
                "it."
            )
        rows = self.shares.rows_of(product)
        self.memory = torch.cat([self.memory[: rows.start], self.memory[rows.stop :]])
        self.shares.drop(product)

    def trainable_state(self) -> dict[str, Tensor]:
        """The memory, and how many of its patches are of which product where that is known; nothing else is learned."""
        return {"memory": self.memory} | ({"shares": self.shares.tensor} if len(self.shares.tensor) else {})

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """A memory has as many patches as were chosen; one of an older release does not say whose they are."""
        rows = shapes["memory"][0] if len(shapes.get("memory", ())) == 2 else 0
        self.memory = self.memory.new_empty(rows, self.memory.shape[1])
        self.shares = MemoryShares.room(shapes.get("shares"), rows)

    # ------------------------------------------------------------------------------------ anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Distance of every patch to the nearest remembered one; where asked for, the reweighted score.

        Raises:
            ConfigError: Nothing was remembered yet.
        """
        if not len(self.memory):
            raise ConfigError("memory must hold normal patches before prediction, got none. Train the detector first.")
        return self.distances(self.patches(self.encode(images)))

    def compute_in_float32(self) -> None:
        """Encode in float32, whatever the settings say."""
        self.config = dataclasses.replace(self.config, precision="fp32")

    def network(self) -> nn.Module:
        """`measure` in float32 and with exact search, whatever the settings say of either."""
        plain = copy.copy(self)
        plain._approximate = None
        plain.compute_in_float32()
        return super(PatchCore, plain).network()

    def network_in_parts(self) -> tuple[nn.Module, tuple[str, ...]] | None:
        """Maps of vision transformers are between the parts; CNNs and the search, which need float32, come after."""
        taken = self.encoder.from_transformers
        if not any(taken):
            return None
        network = _InParts(self.network(), taken)
        return network, network.between

    def distances(self, patches: Float[Tensor, "b n d"]) -> dict[str, Tensor]:
        """What `measure` gives for patches."""
        if self._approximate is not None:
            squared = self._approximate(patches, self.memory)
        else:
            squared = nearest(patches, self.memory, lowered=self._is_lowered(patches.device))
        distance = squared if self.config.distance == "squared" else squared.sqrt()
        found = {"distance": distance.reshape(-1, *self.grid)}
        if self.config.reweight_neighbours:
            found["score"] = reweighted(patches, distance, self.memory, self.config.reweight_neighbours)
        return found


class _InParts(nn.Module):
    """A network that also gives those of its maps that come from vision transformers.

    Args:
        network: What PatchCore gives for other runtimes.
        taken: Which of its maps these are.
    """

    def __init__(self, network: nn.Module, taken: Sequence[bool]) -> None:
        super().__init__()
        self.network, self._taken = network, tuple(taken)
        self.between = tuple(f"tokens_{place}" for place, is_taken in enumerate(taken) if is_taken)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        detector: Any = self.network.detector
        maps = detector.encode(images)
        chosen = [found for found, is_taken in zip(maps, self._taken, strict=True) if is_taken]
        return {**detector.distances(detector.patches(maps)), **dict(zip(self.between, chosen, strict=True))}


def _with_stages(encoder: EncoderConfig) -> EncoderConfig:
    """The same encoder, of a CNN without stages named those PatchCore reads."""
    family = encoder.family() if encoder.is_pyramid and encoder.tap_layers is None else None
    stages = family.stages_of_strides(_STRIDES) if isinstance(family, PyramidFamily) else ()
    return dataclasses.replace(encoder, tap_layers=stages) if stages else encoder


def _neighbourhood_mean(features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """Mean over 3x3 places; at the rim, over those there are."""
    return F.avg_pool2d(features, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2, count_include_pad=False)
