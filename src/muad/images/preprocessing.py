"""From an image to what the encoder sees, and from anomaly maps back to the pixels of the photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image

from muad.errors import ConfigError, DataError
from muad.images.placement import Placement, blend_weights, tile_axis
from muad.images.senses import Senses

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool, Float, UInt8

    from muad.images.reading import ImageBytes, ValueRange
    from muad.images.roi import InterestMasks

Fit = Literal["stretch", "letterbox"]
_COLOUR = Senses()
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIN_SIDE_PX = 16
"""Images must be at least this high and wide: of a smaller one, a patch of the encoder would see less than a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Cut into tiles, bring each to a fixed size, cut its centre, normalise.

    Attributes:
        resize_px: Height and width after resizing.
        crop_px: Height and width of the centre that is kept; equal to `resize_px` to keep everything.
        mean: Subtracted per channel, for values in [0, 1].
        std: Divided by per channel.
        fit: `stretch`: the aspect ratio is not kept, as in the paper; `letterbox`: it is, and what is missing to
            `resize_px` continues the image's outermost pixels. Padding counts neither in scores nor in maps.
        tiles: Rows and columns of equally large tiles; each is a view of its own.
        tile_overlap: Share of a tile's side that its neighbour has too.
        value_range: Values that become black and white where a channel has more than 8 bits.
        interest: Where each category is inspected; the rest is painted with `mean`, which normalised is zero: the
            input of least content, whatever the network.
        senses: What is read of a part. Two whose features are averaged are channels of one view, three each; two whose
            scores are summed are views of their own, all of the first before those of the second.
    """

    resize_px: tuple[int, int]
    crop_px: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fit: Fit = "stretch"
    tiles: tuple[int, int] = (1, 1)
    tile_overlap: float = 0.0
    value_range: ValueRange | None = None
    interest: InterestMasks | None = None
    senses: Senses = _COLOUR

    def __post_init__(self) -> None:
        if any(crop > size or crop < 1 for crop, size in zip(self.crop_px, self.resize_px, strict=True)):
            raise ConfigError(
                f"detector.crop_px must be from 1 to detector.resize_px {self.resize_px}, got {self.crop_px}. "
                "Make the crop smaller or the size larger."
            )
        hidden = max(1 - crop / size for crop, size in zip(self.crop_px, self.resize_px, strict=True))
        if self.tile_count > 1 and hidden and self.tile_overlap <= hidden:
            raise ConfigError(
                f"images.tile_overlap must be above {hidden:.3g}, the share of each tile that the crop of "
                f"{self.resize_px} to {self.crop_px} hides, got {self.tile_overlap}. Use a larger overlap, or no crop."
            )

    @property
    def tile_count(self) -> int:
        """Tiles per image."""
        return self.tiles[0] * self.tiles[1]

    @property
    def count(self) -> int:
        """Views per image: its tiles, seen by each sense that is a view of its own."""
        return self.tile_count * self.senses.views

    @property
    def is_plain(self) -> bool:
        """Whether an image is one view, all of which counts: the published protocol looks at such views."""
        return self.count == 1 and self.fit == "stretch" and self.interest is None

    def read(self, path: Path | ImageBytes) -> UInt8[np.ndarray, "H0 W0 c"]:
        """An image file in 8-bit RGB, upright, under the run's value range; of two senses, six channels.

        Raises:
            DataError: The file cannot be read as an image, or has not beside it what another sense shows.
        """
        return self.senses.read(path, self.value_range)

    def views(
        self, image: UInt8[np.ndarray, "H0 W0 c"], name: str = "image", category: str | None = None
    ) -> UInt8[np.ndarray, "n H W d"]:
        """All views of an image, still in 0 to 255: one, or one for each tile, row by row.

        Args:
            image: From `read`, or an RGB image.
            name: What to call it in an error.
            category: What it shows; needed where there are regions of interest.

        Raises:
            DataError: It, or a tile of it, is smaller than MIN_SIDE_PX, not of the shape of its region of interest, or
                does not show what the run looks at.
            ConfigError: There are regions of interest, and none for the category.
        """
        senses = len(self.senses.names)
        if senses > 1 and image.shape[2:] != (3 * senses,):
            raise DataError(
                f"{name} must show {' and '.join(self.senses.names)} in {3 * senses} channels, got an array of shape "
                f"{image.shape}. Give the path of a file that has the other beside it."
            )
        parts = np.split(image, senses, axis=2) if senses > 1 else [image]
        if self.interest is not None:
            red, green, blue = (round(255 * mean) for mean in self.mean)
            parts = [self.interest.paint(part, category, (red, green, blue), name) for part in parts]
        if self.senses.views > 1:
            return np.concatenate([self.cut(part, name) for part in parts])
        return self.cut(np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0], name)

    def cut(self, image: UInt8[np.ndarray, "H0 W0 *c"], name: str = "image") -> UInt8[np.ndarray, "n H W *c"]:
        """All views of an image or mask, as it is: nothing is painted over.

        Args:
            image: RGB image or mask.
            name: What to call it in an error.

        Raises:
            DataError: It, or a tile of it, is smaller than MIN_SIDE_PX.
        """
        if self.tile_count == 1:
            return self.view(image, name)[None]
        rows, columns = (
            tile_axis(length, count, self.tile_overlap)
            for length, count in zip(image.shape[:2], self.tiles, strict=True)
        )
        return np.stack(
            [
                self.view(image[top : top + height, left : left + width], f"each tile of {name}")
                for top, height in rows
                for left, width in columns
            ]
        )

    def view(self, image: UInt8[np.ndarray, "H0 W0 *c"], name: str = "image") -> UInt8[np.ndarray, "H W *c"]:
        """The whole of an image or mask as one view, whatever the tiles.

        Bilinear, antialiased when shrinking, computed by Pillow, rows first: the official pipeline, to a grey level.
        Beside a mask nothing is marked.

        Args:
            image: RGB image or mask.
            name: What to call it in an error.

        Raises:
            DataError: It is smaller than MIN_SIDE_PX.
        """
        if min(image.shape[:2]) < MIN_SIDE_PX:
            raise DataError(
                f"{name} must be at least {MIN_SIDE_PX} px high and wide, got {image.shape[0]}x{image.shape[1]} "
                "(height x width). Remove it, or take a larger picture."
            )
        if image.ndim == 3 and image.shape[2] > 3:  # Pillow knows no more channels
            return np.concatenate([self.view(part, name) for part in np.split(image, image.shape[2] // 3, 2)], axis=2)
        (above, height), (left, width) = self._letterbox((image.shape[0], image.shape[1]))
        # Rows first, always: left to itself, Pillow takes one or the other order, and releases differ in which. Rounded
        # in between, that is a grey level, and another PC would see other views than those that were approved.
        rows = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
        resized = np.asarray(rows.resize((width, height), Image.Resampling.BILINEAR))
        if (height, width) != self.resize_px:
            below, right = self.resize_px[0] - above - height, self.resize_px[1] - left - width
            border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
            resized = cv2.copyMakeBorder(resized, above, below, left, right, border, value=0)
        top, start = self._crop_offset
        view: np.ndarray = resized[top : top + self.crop_px[0], start : start + self.crop_px[1]].copy()
        return view

    def normalise(self, views: UInt8[np.ndarray, "b H W c"]) -> Float[np.ndarray, "b c H W"]:
        """Views as the encoder wants them, float32; every three channels alike."""
        senses = views.shape[3] // 3
        images = views.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        images /= np.float32(255)
        images -= np.array(self.mean * senses, np.float32)[:, None, None]
        images /= np.array(self.std * senses, np.float32)[:, None, None]
        return images

    def inspected(
        self, size: tuple[int, int], map_size: tuple[int, int], category: str | None = None
    ) -> Bool[np.ndarray, "n h w"] | None:
        """Which cells of the maps of all views show what is inspected of the image; None if all do.

        Args:
            size: Height and width of the image.
            map_size: Height and width of the maps.
            category: What the image shows.
        """
        rows, columns = self.placements(size)
        filled = rows[0].filled(map_size[0])[:, None] & columns[0].filled(map_size[1])
        if self.interest is None:
            return None if filled.all() else np.broadcast_to(filled, (self.count, *map_size))
        mask = np.where(self.interest.mask(category, size), np.uint8(255), np.uint8(0))
        shown = np.stack([cv2.resize(view, map_size[::-1], interpolation=cv2.INTER_AREA) for view in self.cut(mask)])
        shown = np.concatenate([shown] * self.senses.views)
        # Half of a cell must be inside; of a region smaller than that, what shows most of it.
        inside: np.ndarray = (shown >= min(128, max(1, int(shown.max())))) & filled
        return inside

    def to_original(
        self,
        maps: Float[np.ndarray, "n h w"],
        size: tuple[int, int],
        map_size: tuple[int, int] | None = None,
        category: str | None = None,
    ) -> Float[np.ndarray, "H0 W0"]:
        """The maps of all views of an image as one map of it.

        Pixels that a crop cut off, or outside the region of interest, were never looked at: they are NaN. Sampling is
        bilinear with pixel centres aligned, and the outermost values are continued to the rim. Where tiles overlap,
        maps are blended; those of senses that are views of their own are summed.

        Args:
            maps: One per view.
            size: Height and width of the image.
            map_size: Height and width of the result; None for those of the image.
            category: What the image shows.
        """
        height, width = map_size or size
        y = (np.arange(height) + 0.5) * size[0] / height
        x = (np.arange(width) + 0.5) * size[1] / width
        rows, columns = self.placements(size)
        row_weights, column_weights = blend_weights(rows, y), blend_weights(columns, x)
        merged = np.zeros((height, width), np.float32)
        for index, anomaly_map in enumerate(maps):
            row, column = divmod(index % self.tile_count, self.tiles[1])
            # Only where this view counts.
            here, there = np.flatnonzero(row_weights[row]), np.flatnonzero(column_weights[column])
            restored = _sample(
                anomaly_map,
                rows[row].sample(y[here], anomaly_map.shape[0]),
                columns[column].sample(x[there], anomaly_map.shape[1]),
            )
            if self.tile_count > 1:
                restored *= row_weights[row, here][:, None].astype(np.float32)
                restored *= column_weights[column, there].astype(np.float32)
            merged[here[0] : here[-1] + 1, there[0] : there[-1] + 1] += restored
        merged[row_weights.sum(axis=0) == 0] = np.nan
        merged[:, column_weights.sum(axis=0) == 0] = np.nan
        if self.interest is not None:
            mask = self.interest.mask(category, size).view(np.uint8)
            merged[cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) == 0] = np.nan
        return merged

    def placements(self, size: tuple[int, int]) -> tuple[list[Placement], list[Placement]]:
        """Of the rows and of the columns of views of an image of some height and width."""
        parts = [tile_axis(length, count, self.tile_overlap) for length, count in zip(size, self.tiles, strict=True)]
        boxes = self._letterbox((parts[0][0][1], parts[1][0][1]))
        rows, columns = (
            [
                Placement(start=start, length=length, offset=before - cut, extent=extent, view=view)
                for start, length in axis
            ]
            for axis, (before, extent), cut, view in zip(parts, boxes, self._crop_offset, self.crop_px, strict=True)
        )
        return rows, columns

    @property
    def _crop_offset(self) -> tuple[int, int]:
        """Top and left of the crop; torchvision's rounding."""
        (height, width), (crop_height, crop_width) = self.resize_px, self.crop_px
        return round((height - crop_height) / 2.0), round((width - crop_width) / 2.0)

    def _letterbox(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding before and pixels of the image, vertically and horizontally, in an area of `resize_px`."""
        if self.fit == "stretch":
            return (0, self.resize_px[0]), (0, self.resize_px[1])
        scale = min(whole / length for whole, length in zip(self.resize_px, size, strict=True))
        height, width = (max(1, round(length * scale)) for length in size)
        return ((self.resize_px[0] - height) // 2, height), ((self.resize_px[1] - width) // 2, width)


def _sample(
    anomaly_map: Float[np.ndarray, "h w"], y: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "m n"]:
    """Bilinear values of a map at all pairs of rows and columns, counted from the centre of its first cell."""
    size = (y.size, x.size)
    sampled: np.ndarray = cv2.remap(
        anomaly_map.astype(np.float32, copy=False),
        np.broadcast_to(x.astype(np.float32), size).copy(),
        np.broadcast_to(y.astype(np.float32)[:, None], size).copy(),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return sampled
