"""Depth files as pictures an encoder understands, as Dinomaly2 shows them to it.

A file holds one number a pixel (16 or 32 bits, whole or floating point, PNG or TIFF) or the points of an organised
cloud (three floats a pixel, TIFF), of which the last coordinate counts. Zero, negative, NaN and infinite values are no
measurement. Near is bright, far is dark, and where nothing was measured it is black.

References:
    Guo et al., Dinomaly2, arXiv:2510.17611; its preview code.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import DataError

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped, UInt8

DepthRange = tuple[float, float]
_FAR = 0.2  # brightness of the farthest point, so that it differs from where nothing was measured
_PLANAR, _SAMPLES = 284, 277  # TIFF tags
_SHORT, _MOST_TAGS = 3, 1000


def read_depth(path: Path) -> Float[np.ndarray, "H W"]:
    """Distance of every pixel in the unit of the file, float32; NaN where nothing was measured.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"depth {path} must be a readable file, got: {error.strerror}. Check the path.") from None
    values = _decoded(content, path)
    if values.ndim == 3 and values.shape[2] != 3:
        raise DataError(
            f"depth {path} must have one number a pixel, or three for points, got {values.shape[2]}. Convert it."
        )
    if values.dtype == np.uint8:
        raise DataError(f"depth {path} must have 16 or 32 bits, got 8. Save what the sensor measured, not its picture.")
    # OpenCV has the last of three channels first.
    distance = (values[..., 0] if values.ndim == 3 else values).astype(np.float32)
    distance[~(np.isfinite(distance) & (distance > 0))] = np.nan
    return distance


def fill_gaps(distance: Float[np.ndarray, "H W"], rounds: int) -> Float[np.ndarray, "H W"]:
    """Depth whose gaps are closed from their rims: a pixel without measurement becomes the mean of its neighbours'.

    Args:
        distance: NaN where nothing was measured.
        rounds: How often; each closes a pixel all around.
    """
    filled: np.ndarray = distance.copy()
    for _ in range(rounds):
        measured = np.isfinite(filled)
        if measured.all() or not measured.any():
            break
        known = np.where(measured, filled, np.float32(0))
        total, count = (
            cv2.boxFilter(each, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
            for each in (known, measured.astype(np.float32))
        )
        gaps = ~measured & (count > 0.5)
        filled[gaps] = total[gaps] / count[gaps]
    return filled


def depth_to_rgb(
    distance: Float[np.ndarray, "H W"], depth_range: DepthRange | None, name: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Depth as a picture: from white, near, over yellow to dark red, far; black where nothing was measured.

    Args:
        distance: NaN where nothing was measured.
        depth_range: Nearest and farthest distance; what lies beyond is shown like them. None for those of this file, as
            published: then a part that stands closer as a whole looks the same.
        name: What to call it in an error.

    Raises:
        DataError: Nothing was measured.
    """
    measured = np.isfinite(distance)
    if not measured.any():
        raise DataError(f"{name} must have a measured pixel, got none: all are zero, negative or not finite.")
    near, far = depth_range or (float(distance[measured].min()), float(distance[measured].max()))
    share = np.clip((distance - np.float32(near)) / np.float32((far - near) or 1), 0, 1)
    brightness = np.where(measured, 1 - (1 - _FAR) * share, 0)
    # Cut, not rounded, as published.
    coloured = cv2.applyColorMap((brightness * 255).astype(np.uint8), cv2.COLORMAP_HOT)
    return np.ascontiguousarray(coloured[..., ::-1])


def _decoded(content: bytes, path: Path) -> Shaped[np.ndarray, "H W *c"]:
    if not content:
        raise DataError(f"depth {path} must not be empty, got 0 bytes. Replace or remove it.")
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _require_interleaved(content, path)
    try:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None:
        raise DataError(
            f"depth {path} must be a whole PNG or TIFF of 16 or 32 bits, got a file that cannot be decoded. Convert it."
        )
    found: np.ndarray = values
    return found


def _require_interleaved(content: bytes, path: Path) -> None:
    """Refuse a TIFF that holds its channels one after the other, which the decoder would mix up without a word."""
    try:
        tags = _short_tags(content)
    except struct.error:
        return  # the decoder says what is wrong
    if tags.get(_PLANAR, 1) != 1 and tags.get(_SAMPLES, 1) != 1:
        raise DataError(
            f"depth {path} must hold the three numbers of a pixel together (planar configuration 1), got one plane "
            "after the other. Save it anew."
        )


def _short_tags(content: bytes) -> dict[int, int]:
    """Numbers of 16 bits in the first directory of a TIFF, or of a BigTIFF."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, start)
    first, size, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    tags = {}
    for entry in range(first, first + size * min(count, _MOST_TAGS), size):
        tag, kind = struct.unpack_from(f"{order}HH", content, entry)
        if kind == _SHORT:
            (tags[tag],) = struct.unpack_from(f"{order}H", content, entry + value)
    return tags
