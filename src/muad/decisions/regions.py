"""Where a map is above its limit, or highest: connected regions as polygons, in pixels of the photograph."""

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
_DASHES = ((255, 255, 255), (0, 0, 0))
_LEVELS = (0.5, 0.7, 0.85, 0.95)  # between the usual value and the largest
_LARGEST_PLACE = 0.05  # of the photograph


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
    found = [_region(anomaly_map, labels, label, boxes[label]) for label in range(1, count)]
    return tuple(sorted(found, key=lambda region: -region.peak))


def _region(anomaly_map: np.ndarray, labels: np.ndarray, label: int, box: np.ndarray) -> Region:
    """One of the connected parts."""
    left, top, width, height, area = (int(value) for value in box)
    part = np.s_[top : top + height, left : left + width]
    inside = labels[part] == label
    values = np.where(inside, anomaly_map[part], -np.inf)
    row, column = divmod(int(values.argmax()), width)
    # Without its holes a connected region has one outline.
    (outline, *_), _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
    )
    polygon = cv2.approxPolyDP(outline, _TOLERANCE_PX, closed=True)[:, 0]
    return Region(
        polygon=tuple((int(x), int(y)) for x, y in polygon),
        area_px=area,
        peak=float(values[row, column]),
        peak_at=(left + column, top + row),
        mean=float(values[inside].mean(dtype=np.float64)),
    )


def highest_place(anomaly_map: Float[np.ndarray, "H W"]) -> Region | None:
    """The place round the largest value of a map: what lies nearer to it than to the usual value, in one piece.

    Where that is much of the photograph, less is taken, so that it shows where to look. None for a flat map.
    """
    values = np.nan_to_num(anomaly_map, nan=-np.inf)
    row, column = divmod(int(values.argmax()), anomaly_map.shape[1])
    peak = float(values[row, column])
    coarse = anomaly_map[:: _stride(anomaly_map.shape[0]), :: _stride(anomaly_map.shape[1])]
    coarse = coarse[~np.isnan(coarse)]
    usual = float(np.median(coarse)) if coarse.size else peak
    if not peak > usual:
        return None
    place = None
    for level in _LEVELS:
        limit = min(usual + level * (peak - usual), float(np.nextafter(np.float32(peak), np.float32(-np.inf))))
        above = (anomaly_map > limit).astype(np.uint8)
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
        label = int(labels[row, column])
        place = _region(anomaly_map, labels, label, boxes[label])
        if place.area_px <= _LARGEST_PLACE * anomaly_map.size:
            break
    return place


def draw_outlines(image: UInt8[np.ndarray, "H W 3"], regions: Sequence[Region]) -> UInt8[np.ndarray, "H W 3"]:
    """The image with the outlines of regions drawn on it."""
    drawn = image.copy()
    outline(drawn, [np.array(region.polygon, np.int32) for region in regions], _thickness(image), closed=True)
    return drawn


def draw_place(image: UInt8[np.ndarray, "H W 3"], place: Region) -> UInt8[np.ndarray, "H W 3"]:
    """The image with a dashed line round a place, black and white, which shows on any product and any colour."""
    drawn, polygon = image.copy(), np.array(place.polygon, np.int32)
    thickness = _thickness(image)
    room = 2 * thickness + 1  # what is drawn leaves the place itself to be seen
    corner = polygon.min(axis=0) - room - 1
    width, height = (int(side) for side in polygon.max(axis=0) + room + 2 - corner)
    grown = np.zeros((height, width), np.uint8)
    cv2.fillPoly(grown, [polygon - corner], 1)
    grown = cv2.dilate(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * room + 1, 2 * room + 1)))
    offset = (int(corner[0]), int(corner[1]))
    outlines, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=offset)
    dash(drawn, [np.concatenate((points, points[:1]))[:, 0] for points in outlines], thickness)
    return drawn


def outline(picture: np.ndarray, lines: Sequence[np.ndarray], thickness: int, *, closed: bool = False) -> None:
    """Draw lines in the colour of regions above their limit, in place."""
    cv2.polylines(picture, list(lines), isClosed=closed, color=_OUTLINE, thickness=thickness)


def dash(picture: np.ndarray, lines: Sequence[np.ndarray], thickness: int) -> None:
    """Draw dense lines of points as dashes, black and white in turn, in place."""
    length = 4 * thickness
    for points in lines:
        for number, start in enumerate(range(0, len(points), length)):
            part = points[start : start + length + 1]
            cv2.polylines(picture, [part], isClosed=False, color=_DASHES[number % 2], thickness=thickness)


def _thickness(image: UInt8[np.ndarray, "H W 3"]) -> int:
    height, width = (int(side) for side in image.shape[:2])
    return max(1, round(min(height, width) / 300))


def _stride(length: int) -> int:
    return max(1, length // 512)
