"""Scores and maps of photographs: load a run once, then give it paths, arrays or PIL images."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from muad.bundles.editing import faults_of, told_of
from muad.capture import read_capture
from muad.decisions.limits import Limits
from muad.decisions.limits_in_force import LimitsInForce
from muad.decisions.object_scores import Largest, largest_of
from muad.errors import ConfigError
from muad.images.loading import read_ahead
from muad.images.reading import ImageBytes
from muad.recognition import UNKNOWN_PRODUCT
from muad.runs.folder import read_run
from muad.runtime.computing import Acceleration, BackendName
from muad.runtime.looking import Channels, ImageLike, Look, Looker, Photograph, require_order
from muad.runtime.objects import ObjectPrediction, ViewedObject, stream_objects
from muad.runtime.prediction import ImagePrediction
from muad.runtime.source import open_source
from muad.runtime.views import (
    ImageMaps,
    Scorer,
    images_at_once,
    inspected_values,
    original_map,
    predict_images,
)
from muad.types import DeviceName

if TYPE_CHECKING:
    from muad.decisions.object_limits import ObjectLimits
    from muad.images.preprocessing import Preprocessing
    from muad.images.reading import ValueRange

_KEPT_DETECTORS = 4  # of a per_category run; each holds an encoder of its own


class Predictor:
    """A trained run, ready to judge images. One serves any number of threads.

    Args:
        run: Run folder, or the bundle that `muad export` made of one.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …; of a bundle also `tensorrt` and OpenVINO's `gpu`, and `auto` is the
            processor.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; None for torch in the precision of the training, and of a bundle for what
            is fastest here.
        backend: The backend alone, in place of `acceleration`.
        note: Called with sentences the user should see.

    Attributes:
        categories: Categories the run was trained on.
        map_scale: Map values drawn as nothing and as fully anomalous, learned from normal images.

    Raises:
        CheckpointError: No usable run or bundle there.
        ConfigError: No such device, or limits that cannot be used.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        device: DeviceName = "auto",
        encoder_weights: str | Path | None = None,
        acceleration: Acceleration | None = None,
        backend: BackendName | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run = Path(run)
        if backend is not None and acceleration is not None:
            raise ConfigError(f"backend must be left out beside acceleration, which names one, got {backend}.")
        acceleration = acceleration if backend is None else Acceleration(backend=backend)
        weights = Path(encoder_weights) if encoder_weights is not None else None
        self._lock = threading.RLock()
        note = _one_at_a_time(note)
        self._source = open_source(
            self.run, device=device, encoder_weights=weights, acceleration=acceleration, note=note
        )
        self._note = told_of(self.run, self._source.folder, note)
        self._computing = nullcontext() if self._source.many_threads else threading.Lock()
        with faults_of(self.run, self._source.folder):
            self._prepare(read_run(self._source.folder))

    @property
    def folder(self) -> Path:
        """The run's small files as they are now, limits among them; of a bundle a private copy, not to be changed."""
        with self._lock:
            self._source.refresh()
        return self._source.folder

    @property
    def value_range(self) -> ValueRange | None:
        """Values that are black and white to it where a channel has more than 8 bits; None without."""
        return self._looker.preprocessing.value_range

    @property
    def limits(self) -> Limits | None:
        """How images are judged; None without limits. Each group of images is judged by `limits.toml` as it is then."""
        return self._limits.limits

    @property
    def object_limits(self) -> ObjectLimits | None:
        """How parts of several views are judged; None without limits of parts."""
        return self._limits.objects

    def predict(
        self,
        images: ImageLike | Photograph | Iterable[ImageLike | Photograph],
        *,
        batch_size: int = 16,
        category: str | None = None,
        channels: Channels = "rgb",
    ) -> list[ImagePrediction]:
        """Predictions of all images, in order; the list keeps every image and map, so use `stream` for thousands.

        Args:
            images: Paths, files in memory (`ImageBytes`), colour or grey uint8 arrays `[H, W, 3]` or `[H, W]`, PIL
                images, any of these as a `Photograph` with a category of its own, or one of them all.
            batch_size: Images per forward pass.
            category: What they show, if it is known: it goes before what the path says and what is recognised.
            channels: Order of the channels of arrays: `rgb`, or `bgr` as OpenCV has them; predictions hold RGB.

        Raises:
            ConfigError: Unknown or missing category, or another order of channels.
        """
        if isinstance(images, (str, Path, ImageBytes, np.ndarray, Image.Image, Photograph)):
            images = [images]
        return list(self.stream(images, batch_size=batch_size, category=category, channels=channels))

    def stream(
        self,
        images: Iterable[ImageLike | Photograph],
        *,
        batch_size: int = 16,
        category: str | None = None,
        channels: Channels = "rgb",
    ) -> Iterator[ImagePrediction]:
        """Like `predict`, one by one, holding two batches in memory; what is no image comes with `error` set."""
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        self._looker.require_known(category)
        require_order(channels)
        return self._stream(images, batch_size, category, channels)

    def predict_object(
        self,
        views: Mapping[str, ImageLike | Photograph],
        *,
        name: str | None = None,
        category: str | None = None,
        batch_size: int = 16,
        channels: Channels = "rgb",
    ) -> ObjectPrediction:
        """One verdict on a part from photographs of its views, by name of the view; a missing view is said.

        Raises:
            ConfigError: No view, unknown or missing category, or another order of channels.
        """
        one = ViewedObject(name=name, views=tuple(views.items()), category=category)
        (found,) = self.stream_objects([one], batch_size=batch_size, channels=channels)
        return found

    def stream_objects(
        self, objects: Iterable[ViewedObject], *, batch_size: int = 16, channels: Channels = "rgb"
    ) -> Iterator[ObjectPrediction]:
        """Verdicts on parts in order, each as soon as its last view is judged."""
        return stream_objects(self, objects, batch_size, channels)

    def look(
        self,
        image: ImageLike | Photograph,
        *,
        category: str | None = None,
        channels: Channels = "rgb",
        keep_image: bool = True,
    ) -> Look:
        """An image read, measured and cut into views: all of a prediction that needs no detector.

        Threads may look while another judges. `stream` does both, and is enough where images are at hand when they are
        asked for; this is for those that come one by one and are judged in batches.

        Args:
            image: As for `predict`; what is no image gives a prediction with `error` set.
            category: What it shows, where it is no `Photograph` that says so.
            channels: As for `predict`.
            keep_image: Whether the prediction holds the image, which only `overlay` needs.

        Raises:
            ConfigError: Unknown or missing category, or another order of channels.
        """
        return self._looker.look(image, category, channels, keep_image=keep_image)

    def judge(self, looks: Sequence[Look], *, batch_size: int = 16) -> Iterator[ImagePrediction]:
        """Predictions of images that this predictor has looked at, in order, by the limits as they are now.

        Args:
            looks: From `look`, of any categories.
            batch_size: Images per forward pass.
        """
        with self._lock:
            self._source.refresh()
            self._limits.refresh()
            limits = self.limits
        seen = self._looker.recognised(looks)
        yield from map(partial(self._judged, limits), self._predict_group(seen, batch_size))

    def category_of(self, path: Path | None, category: str | None = None) -> str | None:
        """What an image is said to show: the given category, else the innermost folder of its path named like one.

        Raises:
            ConfigError: The run has no such category; or neither says, and the run has a detector for each category but
                has not learned to recognise it.
        """
        return self._looker.category_of(path, category)

    def map_limit(self, category: str | None) -> float | None:
        """The map value above which a place of such an image is anomalous: calibrated, or the end of `map_scale`."""
        return self._map_limit(self.limits, category)

    def _map_limit(self, limits: Limits | None, category: str | None) -> float | None:
        limit = None if limits is None else limits.map_limit(category)
        return limit if limit is not None or self.map_scale is None else self.map_scale[1]

    def _prepare(self, facts: Mapping[str, Any]) -> None:
        """Everything that is read from the run's small files."""
        self.categories: tuple[str, ...] = tuple(facts.get("categories", ()))
        self.map_scale: tuple[float, float] | None = tuple(facts["map_scale"]) if "map_scale" in facts else None
        self._limits = LimitsInForce(self._source.folder, self.categories, self._note)
        self._per_category = facts.get("mode") == "per_category"
        if (early := self._source.early()) is not None:
            self._note(early)
        self._detectors: dict[str | None, Scorer] = {}
        # All detectors of a run see images alike, so the first one tells how.
        first = self._detector(self.categories[0] if self._per_category else None)
        self._looker = Looker(
            self.categories,
            first.preprocessing,
            self._source.recogniser(),
            read_capture(self._source.folder, self.categories),
            per_category=self._per_category,
            computing=self._computing,
            note=self._note,
        )

    def _stream(
        self, images: Iterable[ImageLike | Photograph], batch_size: int, category: str | None, channels: Channels
    ) -> Iterator[ImagePrediction]:
        at_once = images_at_once(self._looker.preprocessing, batch_size)
        look = partial(self.look, category=category, channels=channels)
        read = read_ahead(look, images, ahead=at_once)
        while group := list(islice(read, at_once)):
            yield from self.judge(group, batch_size=batch_size)

    def _predict_group(self, group: Sequence[Look], batch_size: int) -> Iterator[ImagePrediction]:
        """Predict some images, with each detector that is needed; maps are enlarged as they are asked for."""
        results: dict[int, ImageMaps] = {}
        keys = [seen.judged_as if self._per_category else None for seen in group]
        for key in dict.fromkeys(key for key, seen in zip(keys, group, strict=True) if seen.views is not None):
            places = [place for place, seen in enumerate(group) if seen.views is not None and keys[place] == key]
            images = [views for place in places if (views := group[place].views) is not None]
            detector = self._detector(key)
            with self._computing:
                results |= zip(places, predict_images(detector, images, batch_size), strict=True)
        scores = {place: found.score for place, found in results.items()}
        largest = {place: _largest(self._looker.preprocessing, group[place], found) for place, found in results.items()}
        for place, seen in enumerate(group):
            if place not in results or seen.views is None:
                yield seen.prediction
                continue
            restored = original_map(self._looker.preprocessing, seen.views, results.pop(place))
            yield dataclasses.replace(
                seen.prediction, anomaly_map=restored, score=scores[place], largest=largest.get(place)
            )

    def _judged(self, limits: Limits | None, prediction: ImagePrediction) -> ImagePrediction:
        """The same, with verdict and p-value; the score stays what the detector gave."""
        if prediction.score is not None:
            category = prediction.category
            prediction = dataclasses.replace(
                prediction,
                limits=None if limits is None or category is None else limits.categories.get(category),
                map_limit=self._map_limit(limits, category),
                colour_scale=self._colour_scale(limits, category),
            )
        if prediction.category is None and prediction.recognised_category == UNKNOWN_PRODUCT:
            return dataclasses.replace(prediction, verdict=UNKNOWN_PRODUCT)
        if limits is None or prediction.score is None:
            return prediction
        category, score = prediction.category, prediction.score
        verdict = limits.verdict(category, score)
        if verdict == "pass" and prediction.reasons:
            verdict = "review"
        return dataclasses.replace(prediction, verdict=verdict, p_value=limits.p_value(category, score))

    def colour_scale(self, category: str | None) -> tuple[float, float] | None:
        """Map values drawn as nothing and as fully anomalous: around the map limit, else those of the run."""
        return self._colour_scale(self.limits, category)

    def _colour_scale(self, limits: Limits | None, category: str | None) -> tuple[float, float] | None:
        normal = 0.0 if self.map_scale is None else self.map_scale[0]
        scale = None if limits is None else limits.colour_scale(category, normal)
        return scale or self.map_scale

    def _detector(self, category: str | None) -> Scorer:
        """The detector for a category, from memory or from disk; the ones used last stay in memory."""
        with self._lock:
            detector = self._detectors.pop(category, None) or self._source.scorer(category)
            self._detectors[category] = detector
            for oldest in list(self._detectors)[:-_KEPT_DETECTORS]:
                del self._detectors[oldest]
            return detector


def _largest(preprocessing: Preprocessing, seen: Look, found: ImageMaps) -> Largest | None:
    """What of an image's map can count for the part it shows, where that is asked for."""
    if not seen.views_of_part or seen.views is None:
        return None
    return largest_of(inspected_values(preprocessing, seen.views, found), seen.views_of_part, found.maps.size)


def _one_at_a_time(note: Callable[[str], None]) -> Callable[[str], None]:
    """The same for many threads; a sentence may be said while another is, by the same thread."""
    lock = threading.RLock()

    def say(sentence: str) -> None:
        with lock:
            note(sentence)

    return say
