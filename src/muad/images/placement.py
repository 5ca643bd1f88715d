"""Where the parts of an image lie in the views made of it, axis by axis, and how their maps are put together.

Height and width never mix: tiling, resizing, padding and cropping are one affine map per axis, so that everything here
is one-dimensional, and a map comes back exactly to where its view was taken from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_LEAST_WEIGHT = 1e-3  # at the rim of a tile, so that weights can be divided by their sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One axis of a part of an image, and of the view it became.

    Attributes:
        start: First pixel of the part, in the image.
        length: Pixels of the part, in the image.
        offset: Where the part begins in the view, in pixels of the view; negative where a crop cut it off.
        extent: Pixels the part has in the view, before the crop.
        view: Pixels of the view.
    """

    start: int
    length: int
    offset: int
    extent: int
    view: int

    def to_view(self, places: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Places of the image in the view; both count pixels from the outer edge of the first one."""
        return (places - self.start) * self.extent / self.length + self.offset

    def seen(self, places: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which places of the image are in the part and in the view."""
        inside = (places >= self.start) & (places <= self.start + self.length)
        in_view = self.to_view(places)
        return np.asarray(inside & (in_view >= 0) & (in_view <= self.view))

    def filled(self, cells: int) -> Bool[np.ndarray, " cells"]:
        """Which cells of a map of the view show the image and not the padding beside it; at least one."""
        centres = (np.arange(cells) + 0.5) * self.view / cells
        filled = np.asarray((centres >= self.offset) & (centres <= self.offset + self.extent))
        if not filled.any():  # the image is thinner than a cell
            filled[np.abs(centres - self.offset - self.extent / 2).argmin()] = True
        return filled

    def sample(self, places: Float[np.ndarray, " n"], cells: int) -> Float[np.ndarray, " n"]:
        """Places of the image in a map of the view, counted from the centre of its first cell; never in the padding."""
        shown = np.flatnonzero(self.filled(cells))
        at: np.ndarray = np.clip(self.to_view(places) * cells / self.view - 0.5, shown[0], shown[-1])
        return at


def tile_axis(length: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Start and length of equally long parts that cover an axis.

    Args:
        length: Pixels to cover.
        count: Number of parts.
        overlap: Share of a part that its neighbour has too, 0 to below 1; rounding may add a pixel.
    """
    part = min(length, -int(-length // (count - (count - 1) * overlap)))
    if count == 1:
        return [(0, length)]
    starts = np.rint(np.linspace(0, length - part, count)).astype(int)
    return [(int(start), part) for start in starts]


def blend_weights(placements: list[Placement], places: Float[np.ndarray, " n"]) -> Float[np.ndarray, "parts n"]:
    """How much each part counts at each place of the image: sums to 1, or is 0 where no part sees the place.

    A part counts the less the nearer its edge is, over as much as it has in common with its neighbour; so a merged map
    has no seams.
    """
    weights = np.zeros((len(placements), places.size))
    for row, part in zip(weights, placements, strict=True):
        common = max(
            (part.length - abs(other.start - part.start) for other in placements if other is not part), default=0
        )
        inwards = np.minimum(places - part.start, part.start + part.length - places)
        row[:] = np.clip(inwards / max(common, 1), _LEAST_WEIGHT, 1) * part.seen(places)
    total = weights.sum(axis=0)
    blended: np.ndarray = np.divide(weights, total, out=weights, where=total > 0)
    return blended
