"""Pictures for the pages: photographs as small as they are shown, and heat as a layer over them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import DataError
from muad.images.reading import ImageBytes, ValueRange, read_image
from muad.service.history import Inspection, NotRecordedError, Pictures

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

WIDTHS = (160, 480, 1400, 2400)
"""Widths a photograph is shown in; no other is computed, so that nobody can ask for a thousand."""
_QUALITY = 82
_WEAK, _STRONG = np.array((255, 225, 0), np.float32), np.array((255, 0, 70), np.float32)
_HIDDEN = (0, 0, 0, 140)  # what the detector never looked at is darkened


class Shown:
    """Pictures as they were last shown, up to some memory; drawn when they are asked for.

    Args:
        pictures: Of the station.
        value_range: The values that become black and white in photographs of more than 8 bits, by the model.
        most_bytes: Memory for small pictures.
    """

    def __init__(
        self,
        pictures: Pictures,
        value_range: Callable[[str | None], ValueRange | None],
        most_bytes: int = 64_000_000,
    ) -> None:
        self._pictures, self._value_range, self._most = pictures, value_range, most_bytes
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def photo(self, part: Inspection, width: int) -> bytes:
        """A photograph as JPEG, no wider than this.

        Raises:
            NotRecordedError: It was not kept, or was removed, or shows no picture, or nobody shows that width.
        """
        if width not in WIDTHS:
            raise NotRecordedError(f"width must be one of {', '.join(map(str, WIDTHS))}, got {width}.")
        return self._made((part.id, width), lambda: self._photo(part, width))

    def heat(self, part: Inspection) -> bytes:
        """The anomaly map as a layer of colour, PNG: clear where nothing is anomalous.

        Raises:
            NotRecordedError: It was not kept, or was removed.
        """
        return self._made((part.id, 0), lambda: self._heat(part))

    def _made(self, key: tuple[str, int], make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self._size += len(content)
            while self._size > self._most and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return content

    def _photo(self, part: Inspection, width: int) -> bytes:
        content = ImageBytes(self._pictures.photo(part.kept), "of the history")
        try:
            pixels = read_image(content, self._value_range(part.model_id))
        except DataError as error:
            raise NotRecordedError(str(error)) from error
        if pixels.shape[1] > width:
            height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        return encoded(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])

    def _heat(self, part: Inspection) -> bytes:
        layer = heat_layer(self._pictures.map(part.kept), part.colour_scale)
        return encoded(".png", cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 6])


def heat_layer(anomaly_map: Float[np.ndarray, "h w"], scale: tuple[float, float] | None) -> UInt8[np.ndarray, "h w 4"]:
    """Colours of a map with their cover, the same as in overlays but for the cover where it is full.

    Args:
        anomaly_map: NaN where nothing was inspected.
        scale: Values drawn as nothing and as fully anomalous; None takes the range of this map.
    """
    hidden = np.isnan(anomaly_map)
    inside = anomaly_map[~hidden]
    low, high = scale or ((float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0))
    strength = np.clip((np.nan_to_num(anomaly_map, nan=low) - low) / max(high - low, 1e-12), 0, 1)[..., None]
    layer = np.empty((*anomaly_map.shape, 4), np.float32)
    layer[..., :3] = _WEAK + (_STRONG - _WEAK) * strength
    layer[..., 3:] = 255 * strength * strength * (3 - 2 * strength)
    layer[hidden] = _HIDDEN
    return np.rint(layer).astype(np.uint8)


def encoded(suffix: str, pixels: np.ndarray, options: list[int]) -> bytes:
    """A picture as a file.

    Raises:
        DataError: It has no pixels.
    """
    made, content = cv2.imencode(suffix, pixels, options)
    if not made:
        raise DataError(f"picture must have height and width, got {pixels.shape[0]} by {pixels.shape[1]}.")
    return content.tobytes()
