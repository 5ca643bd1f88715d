"""Photographs in a page: small JPEGs inside it, with outlines of what is true and colours of what was found."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from muad.errors import DataError
from muad.images.reading import read_image
from muad.outputs import draw_overlay

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

SIDE_PX = 240
_QUALITY = 82
_OUTLINE = (255, 255, 255)
_RIM = (0, 0, 0)
_FRAME = (255, 200, 0)


def thumbnail(path: Path, box: tuple[float, float, float, float] | None = None) -> str | None:
    """A photograph as a data URI, with a frame around a place if one is given; None if it cannot be read.

    Args:
        path: The image file.
        box: Top, left, bottom, right as shares of height and width.
    """
    try:
        picture = _shrunk(read_image(path))
    except DataError:
        return None
    if box is not None:
        height, width = picture.shape[:2]
        corners = (
            (round(box[1] * width), round(box[0] * height)),
            (round(box[3] * width) - 1, round(box[2] * height) - 1),
        )
        cv2.rectangle(picture, *corners, _RIM, 3)
        cv2.rectangle(picture, *corners, (255, 200, 0), 1)
    return data_uri(picture)


def finding_pair(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"] | None,
    anomaly_map: Float[np.ndarray, "H W"],
    scale: tuple[float, float] | None,
) -> tuple[str, str]:
    """A photograph with its true defects outlined, and the same under its map, as data URIs.

    Args:
        image: The photograph.
        mask: Its ground truth, if there is one.
        anomaly_map: What the detector found, in the photograph's own pixels.
        scale: Map values drawn as nothing and as fully anomalous.
    """
    drawn = (outlined(image, mask), outlined(draw_overlay(image, anomaly_map, scale), mask))
    return data_uri(drawn[0]), data_uri(drawn[1])


def outlined(image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"] | None) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph, made small, with its true defects outlined.

    Args:
        image: The photograph.
        mask: Its ground truth, if there is one.
    """
    small = _shrunk(image)
    if mask is not None:
        size = (small.shape[1], small.shape[0])
        # Any trace of a defect counts, so that the smallest keeps its outline.
        reduced = cv2.resize((mask >= 128).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        outlines, _ = cv2.findContours(
            cv2.dilate(reduced.astype(np.uint8), np.ones((5, 5), np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(small, outlines, -1, _RIM, 3)
        cv2.drawContours(small, outlines, -1, _OUTLINE, 1)
    return small


def data_uri(picture: UInt8[np.ndarray, "H W 3"]) -> str:
    """A picture as text that a page can hold."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _shrunk(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    scale = min(1.0, SIDE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    return np.ascontiguousarray(resized)
