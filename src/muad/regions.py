"""Where a map is above its limit: connected regions as polygons, in pixels of the photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_TOLERANCE_PX = 1.0  # a polygon leaves the pixels' outline by no more
_OUTLINE = (0, 220, 255)  # cyan: neither in the colours of the map nor in most products


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A connected part of a map above its limit.

    Attributes:
        polygon: Its outline through the centres of its outermost pixels, as (x, y) from the photograph's top left;
            within a pixel of the exact one. Holes are not told.
        area_px: Number of its pixels, without holes.
        peak: Largest value.
        peak_at: Where that is, as (x, y).
        mean: Mean value.
    """

    polygon: tuple[tuple[int, int], ...]
    area_px: int
    peak: float
    peak_at: tuple[int, int]
    mean: float

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "polygon": [list(point) for point in self.polygon],
            "area_px": self.area_px,
            "peak": self.peak,
            "peak_at": list(self.peak_at),
            "mean": self.mean,
        }


def find_regions(anomaly_map: Float[np.ndarray, "H W"], limit: float) -> tuple[Region, ...]:
    """The 8-connected regions of a map above a limit, the highest peak first.

    Args:
        anomaly_map: Any finite values; NaN where nothing was inspected.
        limit: Values must exceed it.
    """
    above = (anomaly_map > limit).astype(np.uint8)  # NaN exceeds nothing
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in boxes[label])
        part = np.s_[top : top + height, left : left + width]
        inside = labels[part] == label
        values = np.where(inside, anomaly_map[part], -np.inf)
        row, column = divmod(int(values.argmax()), width)
        # Without its holes a connected region has one outline.
        (outline, *_), _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
        )
        polygon = cv2.approxPolyDP(outline, _TOLERANCE_PX, closed=True)[:, 0]
        found.append(
            Region(
                polygon=tuple((int(x), int(y)) for x, y in polygon),
                area_px=area,
                peak=float(values[row, column]),
                peak_at=(left + column, top + row),
                mean=float(values[inside].mean(dtype=np.float64)),
            )
        )
    return tuple(sorted(found, key=lambda region: -region.peak))


def draw_outlines(image: UInt8[np.ndarray, "H W 3"], regions: Sequence[Region]) -> UInt8[np.ndarray, "H W 3"]:
    """The image with the outlines of regions drawn on it."""
    drawn = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / 300))
    polygons = [np.array(region.polygon, np.int32) for region in regions]
    cv2.polylines(drawn, polygons, isClosed=True, color=_OUTLINE, thickness=thickness)
    return drawn
