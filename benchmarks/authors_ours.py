"""The compared systems by this project, as its users run them: the recipe, the step of the loop, the prediction.

Encoders have random weights of the same architecture, since only time is measured.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from muad.acceleration import AcceleratedDetector, Acceleration
from muad.bundling.forms import Form, Lower, form_scorers, write_forms
from muad.bundling.networks import export_network
from muad.checkpoints.checkpoint import build_detector
from muad.configuration.run_config import RunConfig, load_config
from muad.detectors import Dinomaly, MambaAd, PatchCore
from muad.detectors.base import Detector, FittingDetector, SteppingDetector
from muad.detectors.types import Batch
from muad.device import has_fast_bf16
from muad.training.engine import launch
from muad.training.feature_cache import FeatureCache, prepare_features
from muad.training.loop import compute_gradients
from muad.training.optimizer import build_optimizer, resting, set_learning_rates
from muad.types import Record

FLOAT32, ANEW, LOWER = "float32", "float32, encoding at every step", "bf16"
RUN, BUNDLE, LOWER_BUNDLE = "the run, float32", "its bundle, float32", "its bundle, bf16"


def settled(recipe: str, overrides: tuple[str, ...]) -> RunConfig:
    """A recipe of the package with its encoder's weights drawn at random."""
    config = load_config(recipe, overrides)
    detector: Any = config.detector
    if getattr(detector, "encoder", None) is not None:
        detector = dataclasses.replace(detector, encoder=detector.encoder.with_random_weights())
    return dataclasses.replace(config, detector=detector)


class Training:
    """Steps of a run as `training/loop.py` takes them, one after the other on the same images.

    Args:
        config: Of the run.
        images: Normalised.
        precision: `32-true` or `bf16-mixed`.
        keeps: Whether features of the frozen part are kept, as they are by default where there is one.
        masks: Where images are damaged, for a detector that is trained on damage; its own is not drawn here.
        from_step: The first step.
    """

    def __init__(
        self,
        config: RunConfig,
        images: Tensor,
        *,
        precision: Any = "32-true",
        keeps: bool = True,
        masks: Tensor | None = None,
        from_step: int = 0,
    ) -> None:
        self.config, self.images, self.masks, self.at = config, images, masks, from_step
        threads = torch.get_num_threads()
        self.fabric = launch(precision, device="cpu")
        torch.set_num_threads(threads)
        detector = build_detector(config)
        if not isinstance(detector, SteppingDetector):
            raise TypeError(f"{config.detector.name} takes no steps")
        detector.total_steps = config.schedule.total_steps
        self.optimizer = build_optimizer(config.optim, detector)
        self.model, self.engine_optimizer = self.fabric.setup(detector, self.optimizer)
        self.detector = detector
        self.cache = self._kept() if keeps else None

    def _kept(self) -> FeatureCache | None:
        self.kept = 2 * len(self.images)
        height, width = self.config.detector.crop_px
        grey = np.full((1, height, width, 3), 128, np.uint8)
        record = Record(path=Path("none"), category="part", split="train", is_anomalous=False)
        return prepare_features(
            self.detector, [record] * self.kept, lambda _: grey, self.fabric, mode="memory", batch_size=2,
            looks=2 * self.kept, progress=lambda *_: None, note=lambda _: None,
        )  # fmt: skip

    def step(self) -> float:
        """The next step."""
        count, step = len(self.images), self.at
        self.at += 1
        features, images = None, self.images
        if self.cache is not None:
            order = torch.randperm(self.kept, generator=torch.Generator().manual_seed(step))[:count].tolist()
            features, images = self.cache.take(order, self.fabric.device), self.images[:0]
        batch = Batch(
            images=images, seeds=tuple(range(step * count, (step + 1) * count)), categories=("part",) * count,
            features=features, masks=self.masks, clean=None if self.masks is None else self.images.flip(0),
            normal_fraction=torch.tensor(1.0),
        )  # fmt: skip
        set_learning_rates(self.config, self.optimizer, step)
        losses = compute_gradients(self.model, batch, step, 1, self.fabric, resting(self.optimizer, step))
        most = self.config.optim.clip_norm or math.inf
        self.fabric.clip_gradients(self.model, self.engine_optimizer, max_norm=most, error_if_nonfinite=False)
        self.engine_optimizer.step()
        self.engine_optimizer.zero_grad()
        return float(losses.total)


def steps(config: RunConfig, images: Tensor, **settings: Any) -> dict[str, Callable[[], object]]:
    """What a step can be timed as: by default, without kept features where some are kept, and in bfloat16."""
    first = Training(config, images, **settings)
    found: dict[str, Callable[[], object]] = {FLOAT32: first.step}
    if first.cache is not None:
        found = {f"{FLOAT32}, features kept": first.step}
        found[ANEW] = Training(config, images, keeps=False, **settings).step
    if has_fast_bf16(torch.device("cpu")):
        kept = ", features kept" if first.cache is not None else ""
        found[LOWER + kept] = Training(config, images, precision="bf16-mixed", **settings).step
    return found


def predictions(detector: Detector, images: Tensor) -> dict[str, Callable[[], object]]:
    """What an image can be timed as: by the run, and by its bundle as the line computes it."""
    image = images[:1]
    scorer = (
        AcceleratedDetector(detector, Acceleration(precision="fp32")) if isinstance(detector, Dinomaly) else detector
    )
    found: dict[str, Callable[[], object]] = {RUN: partial(scorer.predict, image)}
    lower: list[Lower] = ["bf16"] if has_fast_bf16(torch.device("cpu")) and not isinstance(detector, PatchCore) else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "part"
        folder.mkdir()
        facts, paths = write_forms(export_network(detector), detector, folder, lower, lambda: images, openvino=True)
        forms = form_scorers(facts, paths, detector.preprocessing)
    for precision, label in (("fp32", BUNDLE), ("bf16", LOWER_BUNDLE)):
        if (form := Form(precision, openvino=True)) in forms:
            found[label] = partial(forms[form].score_images, image.numpy())
    return found


def fitted(config: RunConfig, images: Tensor) -> tuple[FittingDetector, Callable[[], object]]:
    """A detector that looks once, and the look at all these images."""
    detector = build_detector(config)
    if not isinstance(detector, FittingDetector):
        raise TypeError(f"{config.detector.name} takes steps")

    def look() -> None:
        detector.memory = detector.memory[:0]
        detector.shares = type(detector.shares)()
        batches = [
            Batch(images=part, seeds=(0,) * len(part), categories=("part",) * len(part)) for part in images.split(2)
        ]
        detector.eval()
        detector.fit(batches, 0, lambda *_: None)

    return detector, look


def module_of_mambaad(config: RunConfig, tokens: Tensor) -> dict[str, Callable[[], object]]:
    """A module of the first stage of the decoder, forward and backward."""
    detector = build_detector(config)
    if not isinstance(detector, MambaAd):
        raise TypeError(f"{config.detector.name} has no scans")
    module: Any = detector.decoder.stages[0][0]  # type: ignore[index]
    return {FLOAT32: lambda: module(tokens, None).square().mean().backward()}
