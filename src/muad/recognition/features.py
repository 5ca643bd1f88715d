"""What photographs are compared by: features of the encoder in the package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from muad.nn.encoder import EncoderConfig, build_encoder

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

ENCODER = "muad-tiny"
_LAST_BLOCK, _SIDE_PX, _BATCH = 11, 112, 16


@lru_cache(maxsize=2)
def product_encoder(device: torch.device) -> ProductEncoder:
    """The one of a device, shared by all who need it: it is frozen."""
    return ProductEncoder(device)


class ProductEncoder:
    """The encoder in the package, for photographs in the recogniser's size. Get it from `product_encoder`.

    Args:
        device: Where to compute.
    """

    def __init__(self, device: torch.device) -> None:
        config = EncoderConfig(name=ENCODER, tap_layers=(_LAST_BLOCK,))
        self._encoder = build_encoder(config, (_SIDE_PX, _SIDE_PX)).to(device)
        self._device = device
        self.fingerprint = self._encoder.fingerprint

    def encode(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Float[np.ndarray, "b d"]:
        """Class token and mean patch token, each of unit length, of images that `shrink` made."""
        mean, std = (torch.tensor(value)[:, None, None] for value in (self._encoder.mean, self._encoder.std))
        rows = []
        for start in range(0, len(images), _BATCH):
            pixels = torch.from_numpy(np.stack(images[start : start + _BATCH])).permute(0, 3, 1, 2) / 255
            (tokens,) = self._encoder(((pixels - mean) / std).to(self._device))
            parts = (tokens[:, 0], tokens[:, self._encoder.prefix_tokens :].mean(dim=1))
            rows.append(torch.cat([F.normalize(part.float(), dim=-1) for part in parts], dim=1).cpu().numpy())
        return np.concatenate(rows)


def shrink(image: UInt8[np.ndarray, "H W 3"], side_px: int = _SIDE_PX) -> UInt8[np.ndarray, "h w 3"]:
    """The whole photograph in the recogniser's size; the aspect ratio is not kept, crop and tiles play no part."""
    return np.asarray(Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=3.0))


def copies_of(image: UInt8[np.ndarray, "H W 3"], seed: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    """A photograph as it is, turned by two angles, darker and brighter, each in the recogniser's size.

    Parts lie at other angles and lamps age: with copies, such photographs stay near without a looser limit.

    Args:
        image: The photograph.
        seed: Of the angles.
    """
    large = shrink(image, 2 * _SIDE_PX)  # turned there, so that turning does not blur
    middle = (_SIDE_PX - 0.5, _SIDE_PX - 0.5)
    changed = [
        cv2.warpAffine(
            large, cv2.getRotationMatrix2D(middle, angle, 1), large.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101
        )
        for angle in np.random.default_rng(seed).uniform(0, 360, 2)
    ]
    changed += [np.clip(large * gain, 0, 255).astype(np.uint8) for gain in (0.8, 1.2)]
    return [shrink(image), *(shrink(copy) for copy in changed)]
