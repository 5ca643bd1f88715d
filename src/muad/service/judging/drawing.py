"""Pictures of an inspection, drawn when somebody looks at it: from photograph, small map and what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.decisions.regions import draw_outlines, draw_place
from muad.images.reading import ImageBytes, read_image
from muad.overlays import draw_overlay
from muad.runtime.prediction import STOPPED
from muad.service.history import HistoryError, Inspection, Pictures

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.images.reading import ValueRange

_QUALITY = 90


def overlay(
    inspection: Inspection, pictures: Pictures, longest_px: int | None = None, value_range: ValueRange | None = None
) -> bytes:
    """The photograph with anomalous places coloured and outlined, as JPEG.

    Args:
        inspection: As it is on record.
        pictures: Where its photograph and map lie.
        longest_px: The longer side of what is wanted; None for the photograph's own size.
        value_range: Values shown as black and white where a channel has more than 8 bits.

    Raises:
        NotRecordedError: The photograph or the map is not there, or not any more.
        DataError: The photograph cannot be read.
    """
    image = _photograph(inspection, pictures, value_range)
    height, width = image.shape[:2]
    found = pictures.map(inspection.kept, (width, height))
    scale = inspection.colour_scale or (float(np.nanmin(found)), float(np.nanmax(found)))
    picture = draw_outlines(draw_overlay(image, found, scale), inspection.regions)
    if inspection.verdict in STOPPED and not inspection.regions and inspection.highest is not None:
        picture = draw_place(picture, inspection.highest)
    return _jpeg(picture, longest_px)


def smaller_photograph(
    inspection: Inspection, pictures: Pictures, longest_px: int, value_range: ValueRange | None = None
) -> bytes:
    """The photograph, upright and no larger than is wanted, as JPEG; arguments as for `overlay`.

    Raises:
        NotRecordedError: It is not there, or not any more.
        DataError: It cannot be read.
    """
    return _jpeg(_photograph(inspection, pictures, value_range), longest_px)


def _photograph(
    inspection: Inspection, pictures: Pictures, value_range: ValueRange | None
) -> UInt8[np.ndarray, "H W 3"]:
    return read_image(ImageBytes(pictures.photo(inspection.kept), f"of inspection {inspection.id}"), value_range)


def _jpeg(picture: UInt8[np.ndarray, "H W 3"], longest_px: int | None) -> bytes:
    height, width = picture.shape[:2]
    factor = 1.0 if longest_px is None else longest_px / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    turned = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    made, content = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not made:
        raise HistoryError(f"picture must have at most 65,535 pixels a side to be shown, got {width} by {height}.")
    return content.tobytes()
