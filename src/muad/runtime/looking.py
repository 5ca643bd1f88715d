"""What is known of an image before a detector has seen it: read, measured, cut into views, recognised."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from muad.capture import Capture, Reason
from muad.errors import DataError
from muad.images.reading import ImageBytes, image_to_rgb, values_to_rgb
from muad.recognition import UNKNOWN_PRODUCT, Recognition
from muad.runtime.prediction import ImagePrediction
from muad.runtime.views import ImageViews

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.images.reading import ValueRange

Channels = Literal["rgb", "bgr"]
ImageLike = Path | str | ImageBytes | np.ndarray | Image.Image


@dataclass(frozen=True, slots=True)
class Photograph:
    """An image, and what it shows: of a stream, each may show something else.

    Attributes:
        image: A path, an array, a PIL image, or a file in memory.
        category: What it shows; None where that is not known.
        views: How many photographs show the same part, where its score is asked for; 0 for a part by itself.
    """

    image: ImageLike
    category: str | None = None
    views: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An image as `Predictor.look` has seen it, for `Predictor.judge`.

    Attributes:
        prediction: What is known so far; the reason why it cannot be read, where it cannot.
        size: Height and width of the image; None where it cannot be read.
        image: What the run looks at, as long as its views depend on what is yet to be recognised.
        photograph: Its colour, by which it is checked how it was taken; None where it cannot be read.
        views: None where it cannot be read, and as long as they depend on that.
        small: What it is recognised by.
        judged_as: The category by whose detector or region it is judged.
        captured: How it was taken.
        views_of_part: How many photographs show the same part, where its score is asked for.
    """

    prediction: ImagePrediction
    size: tuple[int, int] | None = None
    image: UInt8[np.ndarray, "H W c"] | None = None
    photograph: UInt8[np.ndarray, "H W 3"] | None = None
    views: ImageViews | None = None
    small: UInt8[np.ndarray, "h w 3"] | None = None
    judged_as: str | None = None
    captured: Capture | None = None
    views_of_part: int = 0


def named(look: Look, found: Recognition) -> Look:
    """An image with what it looks like; a given category stays, and is questioned if it looks like something else."""
    given, notice, reasons = look.prediction.category, None, look.prediction.reasons
    if given is not None and given != found.category:
        notice = f"given as {given}, looks like {found.category} (p = {found.p_value:.2g})"
        reasons += (Reason(what=f"looks like {found.category}", quantity="p-value", value=found.p_value),)
    elif found.is_unknown:
        notice = f"{UNKNOWN_PRODUCT}: nearest is {found.nearest} (p = {found.p_value:.2g})"
    category = found.nearest if given is None and not found.is_unknown else given
    told = dataclasses.replace(
        look.prediction,
        category=category,
        recognised_category=found.category,
        recognised_p_value=found.p_value,
        notice=notice,
        reasons=reasons,
    )
    # Of an unknown product there is still a map: by the detector of what it resembles most, or told that it is that.
    judged_as = given or found.nearest
    views = None if look.views is None else dataclasses.replace(look.views, category=judged_as)
    return dataclasses.replace(look, prediction=told, views=views, judged_as=judged_as)


def as_rgb(item: object, value_range: ValueRange | None) -> UInt8[np.ndarray, "H W 3"]:
    """An image already in memory as uint8 RGB; of other types than uint8 where the run has a value range.

    Raises:
        DataError: An array of another type or shape, whose range would have to be guessed, or an image that is damaged.
    """
    if isinstance(item, Image.Image):
        try:
            return image_to_rgb(item, "PIL image")
        except (OSError, SyntaxError, ValueError) as error:  # decoded only now, from a file that may be damaged
            raise DataError(f"PIL image must be a whole image, got a damaged one ({error}). Replace it.") from None
    if isinstance(item, np.ndarray) and item.size and (item.ndim == 2 or (item.ndim == 3 and item.shape[2] == 3)):
        if item.dtype == np.uint8:
            return np.repeat(item[..., None], 3, axis=2) if item.ndim == 2 else item
        if value_range is not None and item.dtype.kind in "uif":
            return values_to_rgb(item, value_range, "image")
    kind = f"{item.dtype} array of shape {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
    raise DataError(f"image must be a path, a PIL image or a uint8 array [H, W, 3] or [H, W], got {kind}.")
