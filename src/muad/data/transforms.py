"""From an image file to what the encoder sees, and from an anomaly map back to the pixels of the photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from PIL import Image

from muad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIN_SIDE_PX = 16
"""Images must be at least this high and wide: of a smaller one, a patch of the encoder would see less than a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Resize to a fixed size, cut the centre, normalise. The aspect ratio is not kept, as in the paper.

    Attributes:
        resize_px: Height and width after resizing.
        crop_px: Height and width of the centre that is kept; equal to `resize_px` to keep everything.
        mean: Subtracted per channel, for values in [0, 1].
        std: Divided by per channel.
    """

    resize_px: tuple[int, int]
    crop_px: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if any(crop > size or crop < 1 for crop, size in zip(self.crop_px, self.resize_px, strict=True)):
            raise ConfigError(
                f"detector.crop_px must be from 1 to detector.resize_px {self.resize_px}, got {self.crop_px}. "
                "Make the crop smaller or the size larger."
            )

    @property
    def _offset(self) -> tuple[int, int]:
        """Top and left of the crop; torchvision's rounding."""
        (height, width), (crop_height, crop_width) = self.resize_px, self.crop_px
        return round((height - crop_height) / 2.0), round((width - crop_width) / 2.0)

    def view(self, image: UInt8[np.ndarray, "H0 W0 *c"], name: str = "image") -> UInt8[np.ndarray, "H W *c"]:
        """The resized, cropped part of an image or mask that the detector looks at, still in 0 to 255.

        Bilinear with antialiasing when shrinking, computed by Pillow: the official pipeline, grey level for grey level.

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
        height, width = self.resize_px
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        top, left = self._offset
        view: np.ndarray = resized[top : top + self.crop_px[0], left : left + self.crop_px[1]].copy()
        return view

    def normalise(self, views: UInt8[np.ndarray, "b H W 3"]) -> Float[Tensor, "b 3 H W"]:
        """Views as the encoder wants them."""
        images = torch.from_numpy(views).permute(0, 3, 1, 2).float().div_(255)
        mean, std = torch.tensor(self.mean)[:, None, None], torch.tensor(self.std)[:, None, None]
        return images.sub_(mean).div_(std).contiguous()

    def to_original(self, anomaly_map: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "H0 W0"]:
        """An anomaly map of the view, put back where it belongs in an image of the given height and width.

        Pixels the crop cut off were never looked at: they are NaN. Sampling is bilinear with pixel centres aligned, and
        the outermost values are continued to the rim of the crop.
        """
        (height, width), (top, left) = self.resize_px, self._offset
        map_height, map_width = anomaly_map.shape
        # Pixel centres of the photograph, in resized pixels, then in pixels of the map.
        rows = (np.arange(size[0]) + 0.5) * height / size[0] - top
        columns = (np.arange(size[1]) + 0.5) * width / size[1] - left
        y = (rows * map_height / self.crop_px[0] - 0.5).astype(np.float32)
        x = (columns * map_width / self.crop_px[1] - 0.5).astype(np.float32)
        restored: np.ndarray = cv2.remap(
            anomaly_map.astype(np.float32, copy=False),
            np.broadcast_to(x, size).copy(),
            np.broadcast_to(y[:, None], size).copy(),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        restored[(rows < 0) | (rows > self.crop_px[0])] = np.nan
        restored[:, (columns < 0) | (columns > self.crop_px[1])] = np.nan
        return restored
