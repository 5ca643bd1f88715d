"""Behind the lens: noise of the sensor, loss by compression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.conditions.light import is_grey

if TYPE_CHECKING:
    from jaxtyping import UInt8


def noisy(
    image: UInt8[np.ndarray, "H W 3"], deviation: float, random: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph with Gaussian noise, independent in every pixel and channel; in grey ones all channels alike.

    Args:
        image: The photograph.
        deviation: Standard deviation of the noise, in levels of 255.
        random: Draws it.
    """
    channels = 1 if is_grey(image) else 3
    noise = random.standard_normal((*image.shape[:2], channels), np.float32)
    grainy: np.ndarray = np.clip(np.rint(image + np.float32(deviation) * noise), 0, 255).astype(np.uint8)
    return grainy


def compressed(image: UInt8[np.ndarray, "H W 3"], quality: int) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph after JPEG of that quality (1 to 100, as libjpeg counts it), colour at half the resolution."""
    _, file = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: np.ndarray = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])
