"""Scores and maps of photographs: load a run once, then give it paths, arrays or PIL images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from muad.checkpoint import category_folder, load_detector, read_run
from muad.data.images import image_to_rgb, read_image
from muad.data.loading import read_ahead
from muad.device import choose_device
from muad.errors import ConfigError, DataError
from muad.evaluation import predict_views

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.detectors import Detector

ImageLike = Path | str | np.ndarray | Image.Image


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """What a run says of one image.

    Attributes:
        path: The file, if it came from one.
        category: The category it was judged as, where that is known.
        score: Anomaly score, unbounded; None if the image could not be read.
        anomaly_map: Anomaly per pixel of the original image, `[H0, W0]` float32; NaN where a crop hid it from the
            detector; None if the image could not be read.
        image: The original image as RGB, or None.
        error: Why there is no score, or None.
    """

    path: Path | None
    category: str | None
    score: float | None = None
    anomaly_map: Float[np.ndarray, "H0 W0"] | None = None
    image: UInt8[np.ndarray, "H0 W0 3"] | None = None
    error: str | None = None


class Predictor:
    """A trained run, ready to judge images.

    Args:
        run: Run folder.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …
        encoder_weights: Where the encoder's file lies now, if not where it was at training.

    Attributes:
        categories: Categories the run was trained on.
        map_scale: Map values drawn as nothing and as fully anomalous, learned from normal images.

    Raises:
        CheckpointError: No usable run there.
    """

    def __init__(self, run: str | Path, *, device: str = "auto", encoder_weights: str | Path | None = None) -> None:
        self.run = Path(run)
        facts = read_run(self.run)
        self.categories: tuple[str, ...] = tuple(facts.get("categories", ()))
        self.map_scale: tuple[float, float] | None = tuple(facts["map_scale"]) if "map_scale" in facts else None
        self._per_category = facts.get("mode") == "per_category"
        self._device = choose_device(device)
        self._weights = Path(encoder_weights) if encoder_weights is not None else None
        self._detectors: dict[str | None, Detector] = {}
        if not self._per_category:
            self._detector(None)

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, batch_size: int = 16, category: str | None = None
    ) -> list[ImagePrediction]:
        """Predictions of all images, in order.

        Args:
            images: Paths, RGB or grey uint8 arrays `[H, W, 3]` or `[H, W]`, PIL images, or one of them.
            batch_size: Images per forward pass.
            category: What they show; needed where each category has a detector of its own and the path does not say.
        """
        if isinstance(images, (str, Path, np.ndarray, Image.Image)):
            images = [images]
        return list(self.stream(images, batch_size=batch_size, category=category))

    def stream(
        self, images: Iterable[ImageLike], *, batch_size: int = 16, category: str | None = None
    ) -> Iterator[ImagePrediction]:
        """Like `predict`, one by one, holding only a few batches in memory; unreadable images come with `error` set.

        Raises:
            ConfigError: Unknown category, or an array of another kind than stated above.
        """
        if category is not None and self.categories and category not in self.categories:
            raise ConfigError(f"category must be one of {', '.join(self.categories)}, got {category!r}.")
        read = read_ahead(lambda item: self._read(item, category), images, ahead=2 * batch_size)
        while group := list(islice(read, batch_size)):
            yield from self._predict_group(group)

    def _read(self, item: ImageLike, category: str | None) -> ImagePrediction:
        path = Path(item) if isinstance(item, (str, Path)) else None
        category = category or (self._category_of(path) if path is not None else None)
        try:
            image = read_image(path) if path is not None else _as_rgb(item)
        except DataError as error:
            return ImagePrediction(path=path, category=category, error=str(error))
        return ImagePrediction(path=path, category=category, image=image)

    def _category_of(self, path: Path) -> str | None:
        """The trained category whose name is a folder of the path, the innermost first."""
        folders = path.absolute().parent.parts
        found = next((name for name in reversed(folders) if name in self.categories), None)
        return self.categories[0] if found is None and len(self.categories) == 1 else found

    def _predict_group(self, group: Sequence[ImagePrediction]) -> Iterator[ImagePrediction]:
        """Predict a batch, one forward pass per detector that is needed."""
        done: dict[int, ImagePrediction] = {}
        for key in {self._key(item) for item in group if item.error is None}:
            places = [place for place, item in enumerate(group) if item.error is None and self._key(item) == key]
            detector = self._detector(key)
            images = [image for place in places if (image := group[place].image) is not None]
            views = np.stack([detector.preprocessing.view(image) for image in images])
            maps, scores = predict_views(detector, views)
            for place, image, anomaly_map, score in zip(places, images, maps, scores, strict=True):
                done[place] = ImagePrediction(
                    path=group[place].path,
                    category=group[place].category,
                    score=float(score),
                    anomaly_map=detector.preprocessing.to_original(anomaly_map, image.shape[:2]),
                    image=image,
                )
        for place, item in enumerate(group):
            yield done.get(place, item)

    def _key(self, item: ImagePrediction) -> str | None:
        if not self._per_category:
            return None
        if item.category is None:
            raise ConfigError(
                f"category must be given for {item.path or 'an array'}, got none: this run has one detector per "
                f"category. Name one of {', '.join(self.categories)}, or put the image in a folder of that name."
            )
        return item.category

    def _detector(self, category: str | None) -> Detector:
        if category not in self._detectors:
            folder = self.run if category is None else category_folder(self.run, category)
            self._detectors[category] = load_detector(folder, self._weights).to(self._device)
        return self._detectors[category]


def _as_rgb(item: np.ndarray | Image.Image | str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image already in memory as uint8 RGB.

    Raises:
        ConfigError: An array of another type or shape; guessing its range would change its scores.
    """
    if isinstance(item, Image.Image):
        return image_to_rgb(item, "PIL image")
    if isinstance(item, np.ndarray) and item.dtype == np.uint8:
        if item.ndim == 2:
            return np.repeat(item[..., None], 3, axis=2)
        if item.ndim == 3 and item.shape[2] == 3:
            return item
    kind = f"{item.dtype} array of shape {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
    raise ConfigError(f"image must be a path, a PIL image or a uint8 array [H, W, 3] or [H, W], got {kind}.")
