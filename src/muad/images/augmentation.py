"""Other looks at a photograph: turned, or cropped, turned and mirrored at random, which depends on a seed alone.

Few photographs show few of the positions a part may lie in. A memory of patches remembers turned copies of them; a
detector that takes steps sees another crop, turn and reflection at every step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from jaxtyping import UInt8

_RATIOS = (0.95, 1.05)  # of width to height, as published
_TRIES = 10  # for a crop that lies within the view
_SALT = 0x6675  # so that what is drawn here is not what a detector draws from the same seed


def turned(views: UInt8[np.ndarray, "b H W c"], degrees: float) -> UInt8[np.ndarray, "b H W c"]:
    """Views turned counter-clockwise about their centre; the corners that come free mirror what lies inside.

    By a quarter of a turn square views are turned without any rounding; else values are bilinear. The rim is mirrored
    as AnomalyDINO does it (arXiv:2405.14529, official code dammsi/AnomalyDINO, `rotate_image`).

    Args:
        views: Any number of them; of two senses, six channels.
        degrees: Angle.
    """
    quarters, rest = divmod(degrees, 90)
    if not rest and (views.shape[1] == views.shape[2] or not quarters % 2):
        return np.ascontiguousarray(np.rot90(views, int(quarters) % 4, axes=(1, 2)))
    height, width = views.shape[1:3]
    around = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(around, degrees, 1.0)
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101
    return np.stack(
        [
            np.concatenate(
                [
                    cv2.warpAffine(sense, matrix, (width, height), flags=flags, borderMode=border)
                    for sense in _senses(view)
                ],
                axis=2,
            )
            for view in views
        ]
    )


def random_look(view: UInt8[np.ndarray, "H W c"], crop_px: tuple[int, int], seed: int) -> UInt8[np.ndarray, "h w c"]:
    """A random part of a view, brought to a size, turned by 0, 90, 180 or 270 degrees, and mirrored either way or not.

    The part has the area that `crop_px` has of the view, and a ratio of width to height that is up to a twentieth
    another. Where `crop_px` is the whole view no such part lies within it, and all of it is taken.

    Args:
        view: Resized, not cropped yet.
        crop_px: Height and width of the result, which must be alike.
        seed: Of the draw.

    References:
        Guo et al., Dinomaly2, arXiv:2510.17611; the few-shot augmentation of its preview code.
    """
    random = np.random.default_rng((seed, _SALT))
    top, left, height, width = _part(view.shape[:2], crop_px, random)
    parts = _senses(view[top : top + height, left : left + width])
    # Rows first, as in `Preprocessing.view`: Pillow's releases differ in the order they choose.
    rows = [Image.fromarray(part).resize((crop_px[1], height), Image.Resampling.BILINEAR) for part in parts]
    looks = [np.asarray(row.resize((crop_px[1], crop_px[0]), Image.Resampling.BILINEAR)) for row in rows]
    look = np.concatenate(looks, axis=2)
    look = np.rot90(look, int(random.integers(4)))
    across, upright = random.random(2) < 0.5
    look = look[:, ::-1] if across else look
    return np.ascontiguousarray(look[::-1] if upright else look)


def _senses(view: UInt8[np.ndarray, "H W c"]) -> list[UInt8[np.ndarray, "H W 3"]]:
    """What each sense shows in a view: libraries know no more than three or four channels."""
    return np.split(view, view.shape[2] // 3, axis=2)


def _part(size: tuple[int, ...], crop_px: tuple[int, int], random: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part; as many numbers are drawn whatever fits."""
    low, high = (math.log(ratio) for ratio in _RATIOS)
    area = crop_px[0] * crop_px[1]
    shape = crop_px[0] / crop_px[1]
    for ratio, down, right in zip(np.exp(random.uniform(low, high, _TRIES)), *random.random((2, _TRIES)), strict=True):
        height, width = round(math.sqrt(area * shape / ratio)), round(math.sqrt(area / shape * ratio))
        if height <= size[0] and width <= size[1]:
            return int(down * (size[0] - height + 1)), int(right * (size[1] - width + 1)), height, width
    return (size[0] - crop_px[0]) // 2, (size[1] - crop_px[1]) // 2, *crop_px
