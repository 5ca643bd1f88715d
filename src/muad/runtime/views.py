"""What scores views of images, and maps and scores of whole images from those of their views.

Plain arrays go in and come out, whatever computes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

    from muad.images.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewScores:
    """What a scorer says of some views, in float32.

    Attributes:
        maps: Anomaly per pixel of each view; higher is more anomalous, unbounded.
        scores: Anomaly of each view; higher is more anomalous, unbounded.
        grids: What the maps were enlarged from, where the scorer makes the same maps of them again; else None.
    """

    maps: Float[np.ndarray, "b h w"]
    scores: Float[np.ndarray, " b"]
    grids: Float[np.ndarray, "b m n"] | None = None


class Scorer(Protocol):
    """A trained detector, in whatever runtime, as prediction and evaluation see it."""

    preprocessing: Preprocessing

    def score_views(self, views: UInt8[np.ndarray, "b H W c"], categories: Sequence[str | None]) -> ViewScores:
        """Maps and scores of views, normalised here; None for a category: it is not known what the view shows."""

    def score_maps(self, maps: Float[np.ndarray, "b h w"], inspected: Bool[np.ndarray, "b h w"]) -> np.ndarray:
        """Scores from the part of maps that counts; asked for only where padding or a region leaves some out."""

    def expand_grids(self, grids: Float[np.ndarray, "b m n"]) -> Float[np.ndarray, "b h w"]:
        """The maps of grids; asked for only where views were scored with grids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageViews:
    """An image as the detector looks at it.

    Attributes:
        views: One, or one for each tile.
        size: Height and width of the image.
        category: What it shows, where that is known.
    """

    views: UInt8[np.ndarray, "n H W 3"]
    size: tuple[int, int]
    category: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMaps:
    """What the detector says of an image.

    Attributes:
        maps: One for each view.
        score: The largest of the views' scores, so that a defect in one tile is not averaged away by the others; of
            senses that are views of their own, the sum of the largest of each.
    """

    maps: Float[np.ndarray, "n h w"]
    score: float


def view_image(
    preprocessing: Preprocessing, image: UInt8[np.ndarray, "H W 3"], name: str, category: str | None
) -> ImageViews:
    """An image as a detector with that preprocessing looks at it.

    Args:
        preprocessing: The detector's.
        image: RGB image.
        name: What to call it in an error.
        category: What it shows, where that is known.

    Raises:
        DataError: It is too small, or not of the shape of its region of interest.
        ConfigError: There are regions of interest, and none for the category.
    """
    views = preprocessing.views(image, name, category)
    return ImageViews(views=views, size=(image.shape[0], image.shape[1]), category=category)


def predict_images(scorer: Scorer, images: Sequence[ImageViews], batch_size: int) -> list[ImageMaps]:
    """Maps and scores of images, in order, with at most `batch_size` views in a forward pass."""
    views = np.concatenate([image.views for image in images])
    categories = [image.category for image in images for _ in image.views]
    found = [
        predict_views(scorer, views[start : start + batch_size], categories[start : start + batch_size])
        for start in range(0, len(views), batch_size)
    ]
    maps, scores = np.concatenate([part.maps for part in found]), np.concatenate([part.scores for part in found])
    size = (maps.shape[1], maps.shape[2])
    results, begin = [], 0
    for image in images:
        own = slice(begin, begin + len(image.views))
        begin = own.stop
        shown = scorer.preprocessing.inspected(image.size, size, image.category)
        own_scores = scores[own] if shown is None else scorer.score_maps(maps[own], shown)
        by_sense = own_scores.reshape(scorer.preprocessing.senses.views, -1).max(axis=1)
        results.append(ImageMaps(maps=maps[own], score=float(by_sense.sum())))
    return results


def predict_views(scorer: Scorer, views: UInt8[np.ndarray, "b H W 3"], categories: Sequence[str | None]) -> ViewScores:
    """What a scorer says of views that are not yet normalised."""
    return scorer.score_views(views, categories)


def original_map(
    preprocessing: Preprocessing, image: ImageViews, found: ImageMaps, map_size: tuple[int, int] | None = None
) -> Float[np.ndarray, "H W"]:
    """The maps of an image's views as one map of it, of its own size or another; NaN where nothing was inspected."""
    return preprocessing.to_original(found.maps, image.size, map_size, image.category)


def inspected_values(preprocessing: Preprocessing, image: ImageViews, found: ImageMaps) -> Float[np.ndarray, " m"]:
    """All map values that count, of all views."""
    size = (found.maps.shape[1], found.maps.shape[2])
    shown = preprocessing.inspected(image.size, size, image.category)
    values: np.ndarray = found.maps.ravel() if shown is None else found.maps[shown]
    return values


def images_at_once(preprocessing: Preprocessing, batch_size: int) -> int:
    """How many images have about a batch of views, so that memory does not grow with the number of tiles."""
    return max(1, batch_size // preprocessing.count)
