"""How fast a detector is on this machine, measured in a few steps on the real images, before its length is decided."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.comparison.entries import configured
from muad.detectors.base import SteppingDetector, evaluating
from muad.detectors.types import Batch
from muad.training.engine import resolve_precision
from muad.training.images import settle_categories, settle_images
from muad.training.optimizer import build_optimizer

if TYPE_CHECKING:
    from torch import Tensor

    from muad.comparison.entries import Entry, Protocol
    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import LearningDetector
    from muad.detectors.types import Features
    from muad.types import Record

_ENOUGH_S, _MOST_STEPS = 2.0, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of a detector on a machine, in seconds.

    Attributes:
        read_s: Reading and preparing an image.
        encode_s: What its frozen part takes for an image, where that is kept; else 0.
        step_s: A training step; 0 of one that takes none.
        predict_s: Map and score of an image, in a batch.
        frozen_bytes: What of it is not learned and so in no checkpoint.
        keeps_features: Whether its frozen part's output is kept, so that each image is encoded once.
    """

    read_s: float
    encode_s: float
    step_s: float
    predict_s: float
    frozen_bytes: int
    keeps_features: bool

    def training_s(self, images: int, batch_size: int, steps: int | None) -> float:
        """About how long a training takes; of one without steps, what reading and encoding take, twice.

        Args:
            images: Views to train on.
            batch_size: Of them in a step.
            steps: How many, or None.
        """
        if steps is None:
            return 2 * images * (self.read_s + self.encode_s + self.predict_s)
        seen = min(images, steps * batch_size)
        encoded = seen if self.keeps_features else steps * batch_size
        return seen * self.read_s + encoded * self.encode_s + steps * self.step_s

    def steps_in(self, seconds: float, images: int, batch_size: int, most: int) -> int:
        """The largest number of steps, from 0 to `most`, that takes at most that long."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.training_s(images, batch_size, middle) <= seconds:
                low = middle
            else:
                high = middle - 1
        return low


def measure_pace(entry: Entry, protocol: Protocol) -> Pace:
    """Times of an entry's detector: a step or a few of it, on images of the data set, thrown away again.

    Raises:
        MuadError: It cannot be built, or an image cannot be read.
    """
    torch.manual_seed(0)
    config, detector = configured(entry, protocol)
    records = _one_of_each(protocol.catalog.select(split="train"), config.training.batch_size)
    config = settle_categories(settle_images(config, records, lambda _: None), protocol.catalog.select(split="train"))
    if config.detector != detector.config:
        detector = type(detector)(config.detector)  # told of the categories
    detector.preprocessing = config.images.applied_to(detector.preprocessing)
    detector.to(protocol.device)
    images, categories, read_s = _read(detector, records, config.training.batch_size)
    mixed = resolve_precision(config.training.precision, str(protocol.device)) == "bf16-mixed"
    encode_s, features = _encoding(detector, images)
    kept = features is not None and config.training.cache != "off" and config.training.augmentation == "none"
    with torch.autocast(protocol.device.type, torch.bfloat16, enabled=mixed):
        step_s = _step(detector, config, images, categories, features) if isinstance(detector, SteppingDetector) else 0
    trained = set(detector.trainable_state())
    return Pace(
        read_s=read_s,
        encode_s=encode_s,
        step_s=step_s,
        predict_s=_prediction(detector, images, categories),
        frozen_bytes=sum(one.nbytes for name, one in detector.state_dict().items() if name not in trained),
        keeps_features=kept,
    )


def _one_of_each(records: Sequence[Record], count: int) -> list[Record]:
    """So many images, spread over all, fewer where there are fewer."""
    count = min(count, len(records))
    return [records[place * len(records) // count] for place in range(count)]


def _read(
    detector: LearningDetector, records: Sequence[Record], batch_size: int
) -> tuple[Tensor, tuple[str, ...], float]:
    """A batch of normalised views, what each shows, and the seconds an image took."""
    preprocessing = detector.preprocessing
    begun = time.perf_counter()
    read = [
        preprocessing.views(preprocessing.read(record.path), f"image {record.path}", record.category)
        for record in records
    ]
    views = preprocessing.normalise(np.concatenate(read))
    seconds = (time.perf_counter() - begun) / len(records)
    categories = [record.category for record, own in zip(records, read, strict=True) for _ in own]
    places = [place % len(views) for place in range(batch_size)]
    shown = torch.from_numpy(views[places]).to(detector.device)
    return shown, tuple(categories[place] for place in places), seconds


@torch.no_grad()
def _encoding(detector: LearningDetector, images: Tensor) -> tuple[float, Features | None]:
    """Seconds an image takes, and what comes out; nothing of a detector that keeps nothing."""
    with evaluating(detector):
        if detector.encode(images[:1]) is None:
            return 0.0, None
        begun = time.perf_counter()
        features = detector.encode(images)
        _finish(images)
    return (time.perf_counter() - begun) / len(images), features


def _step(
    detector: SteppingDetector,
    config: RunConfig,
    images: Tensor,
    categories: tuple[str, ...],
    features: Features | None,
) -> float:
    """Seconds of a whole step, the first left out."""
    optimizer = build_optimizer(config.optim, detector, images.device.type)
    for group in optimizer.param_groups:
        group["lr"] = 1e-8
    detector.total_steps = config.schedule.total_steps
    detector.train()
    taken: list[float] = []
    while len(taken) <= _MOST_STEPS and (len(taken) < 2 or sum(taken) < _ENOUGH_S):
        begun = time.perf_counter()
        batch = Batch(
            images=images if features is None else images[:0],
            seeds=tuple(range(len(images))),
            categories=categories,
            features=features,
        )
        losses = detector(detector.prepare(batch), config.schedule.total_steps - 1)  # of phases, the last is longest
        losses.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        _finish(images)
        taken.append(time.perf_counter() - begun)
    return median(taken[1:])


@torch.no_grad()
def _prediction(detector: LearningDetector, images: Tensor, categories: tuple[str, ...]) -> float:
    """Seconds of an image in a batch; of a detector that must have learned first, those of encoding."""
    if not isinstance(detector, SteppingDetector):
        return _encoding(detector, images)[0]
    few = images[:4]
    detector.predict_of(few[:1], categories[:1])
    begun = time.perf_counter()
    detector.predict_of(few, categories[: len(few)])
    _finish(few)
    return (time.perf_counter() - begun) / len(few)


def _finish(images: Tensor) -> None:
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
