"""Draws anomalies into normal images, a batch at a time, every image from a seed of its own.

    S = (1 - M) N + M ((1 - b) A + b N)

N is the normal image, A the looks of the anomaly, M its mask within the foreground, b how much of N shines through.

References:
    Zhang et al., DiffusionAD, arXiv:2303.08730, "Anomaly synthetic strategy"; Zavrtanik et al., DRAEM, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from muad.errors import ConfigError, require_setting
from muad.synthesis.augment import augment
from muad.synthesis.foreground import Foregrounds
from muad.synthesis.perlin import perlin_masks
from muad.synthesis.sources import ProceduralTextures, TextureFolder
from muad.synthesis.warp import STRIPS, shuffle_patches, shuffle_strips

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Generator, Tensor

_require = partial(require_setting, "detector.synthesis")


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisConfig:
    """How anomalies are made. The defaults are the authors', but for textures and foregrounds, which they supply.

    Attributes:
        probability: Share of training images that get an anomaly.
        texture_dir: Folder of texture photographs (DTD); None for computed textures.
        self_probability: Share of anomalies on objects that are made of the image itself; on textures there are none.
        shuffle: How parts of the image are rearranged for that: the authors' `strips`, or truly all `patches`.
        augmented: Whether colours and shapes of what anomalies are made of are changed at random first, as DRAEM does.
        opacity: Range of 1 - b, drawn uniformly: how much of the anomaly is seen.
        max_cells_exponent: Masks have up to 2 to the power of this many cells of noise down and across.
        threshold: Noise above which there is an anomaly.
        attempts: How often an empty mask is drawn at most; an image whose masks are all empty stays normal.
        texture_categories: Categories that are textures; None to tell from each image whether it has a background.
        foreground: `computed`: anomalies stay on the object, as told from the colours at the image's border;
            `whole_image`: they may be anywhere.
        foreground_dir: Folder of masks written by `muad data foreground`, instead of computing them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    probability: float = 0.5
    texture_dir: Path | None = None
    self_probability: float = 0.5
    shuffle: Literal["strips", "patches"] = "strips"
    augmented: bool = True
    opacity: tuple[float, float] = (0.2, 0.8)
    max_cells_exponent: int = 5
    threshold: float = 0.5
    attempts: int = 50
    texture_categories: tuple[str, ...] | None = None
    foreground: Literal["computed", "whole_image"] = "computed"
    foreground_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("probability", "self_probability"):
            _require(0 <= getattr(self, name) <= 1, name, "from 0 to 1", getattr(self, name))
        low, high = self.opacity
        _require(0 <= low <= high <= 1, "opacity", "a rising pair from 0 to 1", list(self.opacity))
        _require(0 <= self.max_cells_exponent <= 8, "max_cells_exponent", "from 0 to 8", self.max_cells_exponent)
        _require(0 <= self.threshold < 1, "threshold", "from 0 to below 1", self.threshold)
        _require(1 <= self.attempts <= 100_000, "attempts", "from 1 to 100000", self.attempts)
        contradicts = self.foreground_dir is not None and self.foreground == "whole_image"
        _require(not contradicts, "foreground_dir", "left out with foreground = 'whole_image'", self.foreground_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """Normal images, some of which now have an anomaly.

    Attributes:
        images: In [0, 1].
        masks: Where the anomaly is, 0 to 1.
        is_anomalous: Whether there is one.
    """

    images: Float[Tensor, "b 3 H W"]
    masks: Float[Tensor, "b 1 H W"]
    is_anomalous: Bool[Tensor, " b"]


class Synthesis:
    """Makes `Synthetic` images; folders are opened when the first are made.

    Args:
        config: How.
    """

    def __init__(self, config: SynthesisConfig) -> None:
        self.config = config
        self._textures: TextureFolder | ProceduralTextures | None = None
        self._foregrounds: Foregrounds | None = None

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 H W"], seeds: Sequence[int], categories: Sequence[str]) -> Synthetic:
        """Some of the images with an anomaly; each depends on itself, its seed and its category only.

        Args:
            images: Normal images in [0, 1].
            seeds: One per image.
            categories: One per image.

        Raises:
            ConfigError: A folder is not what it should be, or images cannot be cut into parts.
            DataError: A texture or a mask cannot be read.
        """
        if images.shape[2] % STRIPS or images.shape[3] % STRIPS:
            raise ConfigError(f"detector.resize_px must be multiples of {STRIPS}, got {tuple(images.shape[2:])}.")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        lots = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        chosen = (lots < self.config.probability).nonzero()[:, 0].tolist()
        masks = torch.zeros_like(images[:, :1])
        if chosen:
            where = torch.tensor(chosen, device=images.device)
            made, made_masks = self._make(
                images[where], [generators[index] for index in chosen], [categories[index] for index in chosen]
            )
            images = images.index_copy(0, where, made)
            masks.index_copy_(0, where, made_masks)
        return Synthetic(images=images, masks=masks, is_anomalous=masks.flatten(1).amax(dim=1) > 0)

    def _make(
        self, images: Float[Tensor, "b 3 H W"], generators: Sequence[Generator], categories: Sequence[str]
    ) -> tuple[Float[Tensor, "b 3 H W"], Float[Tensor, "b 1 H W"]]:
        """Every image with an anomaly, and its mask."""
        config = self.config
        foregrounds, is_texture = self._foregrounds_of(images, categories)
        masks = perlin_masks(
            generators,
            foregrounds,
            max_exponent=config.max_cells_exponent,
            threshold=config.threshold,
            attempts=config.attempts,
        )
        looks = self._looks(images, generators, is_texture)
        lots = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        low, high = config.opacity
        opacity = (low + (high - low) * lots).to(images)[:, None, None, None]
        blended = opacity * looks + (1 - opacity) * images
        return (1 - masks) * images + masks * blended, masks

    def _looks(
        self, images: Float[Tensor, "b 3 H W"], generators: Sequence[Generator], is_texture: Sequence[bool]
    ) -> Float[Tensor, "b 3 H W"]:
        """What the anomalies look like: augmented textures, or the images themselves, augmented and shuffled."""
        own = [
            float(torch.rand(1, generator=generator)) < self.config.self_probability and not texture
            for generator, texture in zip(generators, is_texture, strict=True)
        ]
        looks = images.clone()
        if not all(own):
            foreign = torch.tensor([index for index, is_own in enumerate(own) if not is_own])
            drawn = [generators[index] for index in foreign.tolist()]
            size = (images.shape[2], images.shape[3])
            looks[foreign.to(images.device)] = self._texture_source().draw(drawn, size, images.device)
        if self.config.augmented:
            looks = augment(looks, generators)
        if any(own):
            where = torch.tensor([index for index, is_own in enumerate(own) if is_own])
            shuffle = shuffle_strips if self.config.shuffle == "strips" else shuffle_patches
            drawn = [generators[index] for index in where.tolist()]
            looks[where.to(images.device)] = shuffle(looks[where.to(images.device)], drawn)
        return looks

    def _texture_source(self) -> TextureFolder | ProceduralTextures:
        if self._textures is None:
            folder = self.config.texture_dir
            self._textures = ProceduralTextures() if folder is None else TextureFolder(folder)
        return self._textures

    def _foregrounds_of(
        self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str]
    ) -> tuple[Float[Tensor, "b 1 H W"], list[bool]]:
        """Where anomalies may be, and whether an image shows a texture, which is all foreground."""
        # DEVIATION: the authors let a texture's anomalies lie in one of 32 masks of theirs, drawn at random.
        known = self.config.texture_categories
        is_texture = [known is not None and category in known for category in categories]
        masks = torch.ones_like(images[:, :1])
        sought = [index for index, texture in enumerate(is_texture) if not texture]
        if self.config.foreground == "whole_image" or not sought:
            return masks, is_texture
        if self._foregrounds is None:
            self._foregrounds = Foregrounds(self.config.foreground_dir)
        # DEVIATION: the authors' masks come from a segmentation network trained on other data (IS-Net), and are soft.
        where = torch.tensor(sought, device=images.device)
        found, has_background = self._foregrounds.of(images[where])
        masks[where] = found
        if known is None:
            for index, apart in zip(sought, has_background, strict=True):
                is_texture[index] = not apart
        return masks, is_texture
