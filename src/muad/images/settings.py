"""The recipe's table `[images]`: how photographs are prepared, whatever the detector."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from muad.errors import ConfigError
from muad.images.preprocessing import Fit, Preprocessing
from muad.images.roi import InterestMasks
from muad.images.senses import Fusion, Sense, Senses

_LARGEST_VALUE = 1e30  # float32, in which values are scaled, ends not far above
_MOST_GAP_ROUNDS = 64
_MOST_TILES = 64  # per image; each is trained on and predicted like an image of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesConfig:
    """How photographs are prepared. The defaults are the authors': the whole photograph, stretched to a square.

    Attributes:
        fit: `stretch`: to the detector's size, whatever the aspect ratio; `letterbox`: the ratio is kept and the rest
            padded; padding counts neither in scores nor in maps.
        tiles: Rows and columns each photograph is cut into; each tile is prepared like a photograph of its own, in
            training and prediction alike.
        tile_overlap: Share of a tile's height and width that its neighbour has too.
        value_range: Values that become black and white where a channel has more than 8 bits; None to have them found
            from the training images, if any is such a one, and kept with the run.
        roi_dir: Folder of a mask `<category>.png` for each category, white where to inspect; the run keeps a copy.
        senses: What is looked at: one or two of `colour`, `depth` and `infrared`, whose files lie beside each other.
        fusion: Of two senses: `features` of both averaged, or their `scores` and maps summed.
        depth_range: Nearest and farthest distance, in the unit of the depth files; None for those of each file, as
            published.
        depth_gap_rounds: Pixels by which gaps of the depth are closed from their rims.
        blank_background: Make the other sense black where no depth was measured.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    fit: Fit = "stretch"
    tiles: tuple[int, int] = (1, 1)
    tile_overlap: float = 0.2
    value_range: tuple[float, float] | None = None
    roi_dir: Path | None = None
    senses: tuple[Sense, ...] = ("colour",)
    fusion: Fusion = "features"
    depth_range: tuple[float, float] | None = None
    depth_gap_rounds: int = 3
    blank_background: bool = True

    def __post_init__(self) -> None:
        if min(self.tiles) < 1 or self.tiles[0] * self.tiles[1] > _MOST_TILES:
            raise ConfigError(
                f"images.tiles must be rows and columns of at least 1 and at most {_MOST_TILES} tiles, "
                f"got {list(self.tiles)}."
            )
        if not 0 <= self.tile_overlap <= 0.5:
            raise ConfigError(f"images.tile_overlap must be from 0 to 0.5, got {self.tile_overlap}.")
        if self.value_range is not None and not -_LARGEST_VALUE <= self.value_range[0] < self.value_range[1]:
            raise ConfigError(f"images.value_range must be a rising pair, got {list(self.value_range)}.")
        if self.value_range is not None and self.value_range[1] > _LARGEST_VALUE:
            raise ConfigError(
                f"images.value_range must be of numbers up to {_LARGEST_VALUE:g}, got {list(self.value_range)}."
            )

        if not 1 <= len(self.senses) <= 2 or len(set(self.senses)) != len(self.senses):
            raise ConfigError(f"images.senses must be one or two different senses, got {list(self.senses)}.")
        if self.depth_range is not None and not 0 <= self.depth_range[0] < self.depth_range[1] <= _LARGEST_VALUE:
            raise ConfigError(
                f"images.depth_range must be a rising pair from 0 to {_LARGEST_VALUE:g}, got {list(self.depth_range)}."
            )
        if not 0 <= self.depth_gap_rounds <= _MOST_GAP_ROUNDS:
            raise ConfigError(
                f"images.depth_gap_rounds must be from 0 to {_MOST_GAP_ROUNDS}, got {self.depth_gap_rounds}."
            )

    def applied_to(self, preprocessing: Preprocessing) -> Preprocessing:
        """The preprocessing a detector asks for, with these settings.

        Raises:
            ConfigError: They do not go together, or there are no masks.
            DataError: A mask cannot be read.
        """
        return dataclasses.replace(
            preprocessing,
            fit=self.fit,
            tiles=self.tiles,
            tile_overlap=self.tile_overlap if max(self.tiles) > 1 else 0.0,
            value_range=self.value_range,
            interest=None if self.roi_dir is None else InterestMasks(self.roi_dir),
            senses=Senses(
                names=self.senses,
                fusion=self.fusion,
                depth_range=self.depth_range,
                depth_gap_rounds=self.depth_gap_rounds,
                blank_background=self.blank_background,
            ),
        )
