"""One look at each file: everything the checks need to know of an image, so that it is decoded once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.advice.defect_sizes import defect_areas
from muad.errors import DataError
from muad.images.near_duplicates import Appearance, appearance
from muad.images.preprocessing import MIN_SIDE_PX
from muad.images.reading import read_pair

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.images.preprocessing import Preprocessing
    from muad.types import Record

_SHARPNESS_PX = 512  # longer side at which sharpness is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is kept of one image.

    Attributes:
        record: Which one.
        error: Why it cannot be used, or None; everything below is then without meaning.
        size: Height and width.
        digest: Hash of its pixels: equal for equal pictures, whatever the file format.
        brightness: Mean grey value, 0 to 1.
        sharpness: Base-10 logarithm of the variance of the Laplacian.
        appearance: To find near-duplicates by.
        defects_px: Area of each separate defect of its mask.
    """

    record: Record
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    digest: str = ""
    brightness: float = 0.0
    sharpness: float = 0.0
    appearance: Appearance | None = None
    defects_px: tuple[int, ...] = ()


def look_at(record: Record, preprocessing: Preprocessing | None) -> tuple[Seen, UInt8[np.ndarray, "H W 3"] | None]:
    """What there is to know of an image, and its view for the encoder if that is asked for."""
    try:
        image, mask = read_pair(record)
    except DataError as error:
        return Seen(record=record, error=str(error)), None
    if min(image.shape[:2]) < MIN_SIDE_PX:
        size = f"{image.shape[0]}x{image.shape[1]}"
        text = f"image {record.path} must be at least {MIN_SIDE_PX} px high and wide, got {size} (height x width)."
        return Seen(record=record, error=text), None
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    seen = Seen(
        record=record,
        size=(image.shape[0], image.shape[1]),
        digest=hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest(),
        brightness=float(grey.mean()) / 255,
        sharpness=_sharpness(grey),
        appearance=appearance(image),
        defects_px=() if mask is None else defect_areas(mask),
    )
    return seen, None if preprocessing is None else preprocessing.view(image)


def _sharpness(grey: UInt8[np.ndarray, "H W"]) -> float:
    scale = _SHARPNESS_PX / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(np.log10(cv2.Laplacian(grey, cv2.CV_32F).var() + 1e-3))
