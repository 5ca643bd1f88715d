"""Maps and scores of whole images from those of their views: padding left out, tiles put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.detectors.base import Conditioned
from muad.types import Prediction

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.data.transforms import Preprocessing
    from muad.detectors.base import Scorer


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
        score: The largest of the views' scores, so that a defect in one tile is not averaged away by the others.
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


def predict_views(
    detector: Scorer, views: UInt8[np.ndarray, "b H W 3"], categories: Sequence[str | None]
) -> Prediction:
    """What a detector says of preprocessed images of these categories, brought back as float32 on the CPU."""
    images = torch.from_numpy(detector.preprocessing.normalise(views)).to(detector.device)
    if isinstance(detector, Conditioned):
        prediction = detector.predict_of(images, categories)
    else:
        prediction = detector.predict(images)
    return Prediction(
        anomaly_map=prediction.anomaly_map.float().cpu(),
        score=prediction.score.float().cpu(),
        grid=None if prediction.grid is None else prediction.grid.float().cpu(),
    )


def predict_images(detector: Scorer, images: Sequence[ImageViews], batch_size: int) -> list[ImageMaps]:
    """Maps and scores of images, in order, with at most `batch_size` views in a forward pass."""
    views = np.concatenate([image.views for image in images])
    categories = [image.category for image in images for _ in image.views]
    predictions = [
        predict_views(detector, views[start : start + batch_size], categories[start : start + batch_size])
        for start in range(0, len(views), batch_size)
    ]
    maps = torch.cat([prediction.anomaly_map for prediction in predictions])
    scores = torch.cat([prediction.score for prediction in predictions])
    size = (maps.shape[1], maps.shape[2])
    results, begin = [], 0
    for image in images:
        own = slice(begin, begin + len(image.views))
        begin = own.stop
        shown = detector.preprocessing.inspected(image.size, size, image.category)
        own_scores = scores[own] if shown is None else detector.score(maps[own], torch.from_numpy(shown.copy()))
        results.append(ImageMaps(maps=maps[own].numpy(), score=float(own_scores.max())))
    return results


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
