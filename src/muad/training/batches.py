"""What each step is trained on: images decoded ahead, or features that were kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.detectors.types import Batch
from muad.errors import DataError
from muad.images.augmentation import random_look, turned
from muad.images.loading import ViewCache, read_ahead
from muad.training.exposures import exposed, exposures_in_turn
from muad.training.feature_cache import FeatureCache, prepare_features
from muad.training.sampling import batch_indices, image_seed, share_of
from muad.types import Record

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from lightning_fabric import Fabric

    from muad.configuration.run_config import RunConfig, TrainingConfig
    from muad.detectors.base import Detector, FittingDetector

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]


def training_batches(
    config: RunConfig,
    records: Sequence[Record],
    detector: Detector,
    fabric: Fabric,
    *,
    start: int,
    order: Sequence[int] | None = None,
    progress: Progress,
    note: Notice,
) -> Generator[tuple[int, Batch], None, None]:
    """This process's share of every global batch from step `start` on, each with its step.

    Args:
        config: The whole run.
        records: Training images.
        detector: On its device; says how images are prepared, and encodes them if its features are kept.
        fabric: Launched engine.
        start: First step.
        order: Images of an epoch by their place in `records`, some of them more than once; None for each once.
        progress: Called while features are encoded.
        note: Called with sentences the user should see.

    Raises:
        DataError: An image cannot be read, and `training.skip_bad` is off.
        CheckpointError: Features cannot be written.
    """
    training, steps = config.training, range(start, config.schedule.total_steps)
    if not steps:
        return
    augmented = training.augmentation != "none"
    positions = share_of(fabric.global_rank, fabric.world_size, training.batch_size, training.accumulate)
    preprocessing = detector.preprocessing
    views, shown = preprocessing.count, range(len(records)) if order is None else order
    uncached = TrainingReader(records, ViewCache(preprocessing, 0), note, training.skip_bad)
    if augmented and fabric.is_global_zero and detector.encoding:
        note("features are not kept: every step sees its images cropped, turned and mirrored otherwise")
    features = prepare_features(
        detector,
        records,
        lambda index: uncached.read(index)[0],
        fabric,
        mode="off" if augmented else training.cache,
        batch_size=training.batch_size,
        looks=len(steps) * training.batch_size,
        progress=lambda done, total: progress("encode", done, total, None),
        note=note if fabric.is_global_zero else lambda _: None,
    )

    def drawn(step: int) -> list[int]:
        count = len(shown) * views  # a tile is drawn like an image of its own
        indices = batch_indices(step, count=count, batch_size=training.batch_size, seed=training.seed)
        return [shown[index // views] * views + index % views for index in indices[positions.start : positions.stop]]

    def seeds(step: int) -> tuple[int, ...]:
        return tuple(image_seed(training.seed, step, position) for position in positions)

    if features is None:
        taken = preprocessing if not augmented else replace(preprocessing, crop_px=preprocessing.resize_px)
        cache = ViewCache(taken, training.image_cache_mib * 2**20)
        reader = TrainingReader(records, cache, note, training.skip_bad)
        looks = (tuple(zip(drawn(step), seeds(step), strict=True)) for step in steps)
        made = _from_images(reader, detector, fabric, looks, len(positions), augmented=augmented)
    else:
        made = _from_features(features, records, detector, fabric, (drawn(step) for step in steps))
    with closing(made):
        for step, batch in zip(steps, made, strict=True):
            batch.seeds = seeds(step)
            yield step, batch


def look_through(
    records: Sequence[Record], detector: FittingDetector, training: TrainingConfig, *, progress: Progress, note: Notice
) -> Generator[Batch, None, None]:
    """Each image once, and again at every turn and exposure the detector asks for, in order, encoded as it predicts.

    What is unreadable may be left out.

    Args:
        records: Images to look at.
        detector: On its device.
        training: Says how many images are encoded together, whether unreadable ones are left out, and the seed by
            which exposures are drawn.
        progress: Called while images are read.
        note: Called with sentences the user should see.

    Raises:
        DataError: An image cannot be read, and `training.skip_bad` is off; or none can.
    """
    preprocessing, angles = detector.preprocessing, (0.0, *detector.turns)
    at_once, seen = max(1, training.batch_size // preprocessing.count), 0
    planned = exposures_in_turn(records, detector.exposure_gains, detector.exposure_looks, training.seed, len(angles))

    def read(place: int) -> dict[float, np.ndarray] | None:
        record, gains = records[place], sorted({gain for of_a_turn in planned[place] for gain in of_a_turn})
        try:
            image = preprocessing.read(record.path)
            return {
                gain: preprocessing.views(
                    exposed(image, gain, preprocessing.senses.names), f"image {record.path}", record.category
                )
                for gain in gains
            }
        except DataError as error:
            if not training.skip_bad:
                raise DataError(f"{error} Or train with --skip-bad to leave such files out.") from None
            note(f"left out of training: {error}")
            return None

    with closing(read_ahead(read, range(len(records)), ahead=2 * at_once)) as images:
        for begin in range(0, len(records), at_once):
            places = range(begin, min(begin + at_once, len(records)))
            kept = [(place, found) for place in places if (found := next(images)) is not None]
            seen += len(kept)
            if kept:
                categories = tuple(records[place].category for place, _ in kept for _ in range(preprocessing.count))
                for turn, angle in enumerate(angles):
                    of_this_turn = zip(*(planned[place][turn] for place, _ in kept), strict=True)
                    for gains in of_this_turn:
                        lit = [found[gain] for (_, found), gain in zip(kept, gains, strict=True)]
                        shown = torch.from_numpy(preprocessing.normalise(turned(np.concatenate(lit), angle)))
                        shown = shown.to(detector.device)
                        features = detector.encode(shown)
                        none = shown if features is None else shown[:0]
                        yield Batch(images=none, seeds=(), categories=categories, features=features)
            progress("look", places.stop, len(records), None)
    if not seen:
        raise DataError(f"training images must be readable, got {len(records)} that are not. See the notes above.")


class TrainingReader:
    """Reads training images by number; with `skip_bad` an unreadable one is named once and the next one stands in."""

    def __init__(self, records: Sequence[Record], cache: ViewCache, note: Notice, skip_bad: bool) -> None:
        self.records = records
        self.cache = cache
        self.note = note
        self.skip_bad = skip_bad
        self._bad: set[int] = set()
        self._naming = threading.Lock()

    def read(self, index: int) -> tuple[UInt8[np.ndarray, "n H W 3"], Record]:
        """Views and record of one image, or of the next readable one after it."""
        for offset in range(len(self.records)):
            candidate = (index + offset) % len(self.records)
            if candidate in self._bad:
                continue
            try:
                record = self.records[candidate]
                return self.cache.views(record.path, record.category), record
            except DataError as error:
                if not self.skip_bad:
                    raise DataError(f"{error} Or train with --skip-bad to leave such files out.") from None
                with self._naming:  # several threads may have met it at once
                    if candidate not in self._bad:
                        self._bad.add(candidate)
                        self.note(f"left out of training: {error}")
        raise DataError(f"training images must be readable, got {len(self.records)} that are not. See the notes above.")


def _from_images(
    reader: TrainingReader,
    detector: Detector,
    fabric: Fabric,
    looks: Iterator[tuple[tuple[int, int], ...]],
    size: int,
    *,
    augmented: bool,
) -> Generator[Batch, None, None]:
    """Batches without seeds from image files, decoded, and augmented by each look's own seed, ahead by threads."""
    count, crop_px = detector.preprocessing.count, detector.preprocessing.crop_px

    def read(look: tuple[int, int]) -> tuple[np.ndarray, Record]:
        index, seed = look
        views, record = reader.read(index // count)
        view = views[index % count]
        return random_look(view, crop_px, seed) if augmented else view, record

    flat = (look for of_a_step in looks for look in of_a_step)
    with closing(read_ahead(read, flat, ahead=2 * size)) as images:
        for first in images:
            drawn = [first, *(next(images) for _ in range(size - 1))]
            views = torch.from_numpy(detector.preprocessing.normalise(np.stack([view for view, _ in drawn])))
            categories = tuple(record.category for _, record in drawn)
            yield Batch(images=fabric.to_device(views), seeds=(), categories=categories)


def _from_features(
    features: FeatureCache,
    records: Sequence[Record],
    detector: Detector,
    fabric: Fabric,
    plan: Iterator[list[int]],
) -> Generator[Batch, None, None]:
    """Batches without seeds from kept features; the images themselves are not needed."""
    count = detector.preprocessing.count
    no_images = torch.empty(0, 3, *detector.preprocessing.crop_px)
    for indices in plan:
        taken = features.take(indices, fabric.device)
        categories = tuple(records[index // count].category for index in indices)
        yield Batch(images=fabric.to_device(no_images), seeds=(), categories=categories, features=taken)
