"""One training step, part by part: the authors' order of operations in float32, and ours on kept features."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import models
import torch
import torch.nn.functional as F
from measure import flops_of_step, peak_mib, wait_for_others
from reference_path import ReferencePath
from torch import Tensor

from muad.detectors import Dinomaly
from muad.detectors.types import Batch
from muad.device import has_fast_bf16
from muad.optim import StableAdamW
from muad.training.feature_cache import FeatureCache

Figures = dict[str, Any]
REFERENCE = "reference, float32, encodes every step"
KEPT_FLOAT32 = "ours, float32, kept features"
KEPT = "ours, autocast bf16, kept features"
VARIANTS = (REFERENCE, KEPT_FLOAT32, KEPT)
BATCH = 16
PARTS = ("features", "forward", "backward", "optimiser")
_KEPT_IMAGES = 32


def training_row(encoder: str, side_px: int, variant: str, steps: int = 3) -> Figures:
    """Median milliseconds of every part of a step of 16 images, after one step to warm up."""
    detector = models.build_untrained(encoder, side_px)
    optimizer = StableAdamW(detector.parameter_groups(), lr=2e-3, betas=(0.9, 0.999), eps=1e-10, amsgrad=True)
    images = models.synthetic_images(BATCH, side_px)
    if variant == REFERENCE:
        path = ReferenceStep(detector)
        features, loss = partial(path.encode, images), path.loss
    else:
        features, loss = on_kept_features(detector, images, lowered=variant == KEPT)
    flops = flops_of_step(detector, images[:1]) * BATCH
    timed_step(features, partial(loss, 0), detector, optimizer)
    wait_for_others()
    taken = [timed_step(features, partial(loss, step), detector, optimizer) for step in range(1, steps + 1)]
    parts = {name: 1000 * statistics.median(times[place] for times in taken) for place, name in enumerate(PARTS)}
    best_ms = 1000 * min(sum(times) for times in taken)
    return {"ms": sum(parts.values()), "best_ms": best_ms, **parts, "flops": flops, "peak_mib": peak_mib()}


def timed_step(
    features: Callable[[], Any], loss: Callable[[Any], Tensor], detector: Dinomaly, optimizer: StableAdamW
) -> list[float]:
    """Seconds of each part of a step."""
    clock = [time.perf_counter()]
    given = features()
    clock.append(time.perf_counter())
    total = loss(given)
    clock.append(time.perf_counter())
    total.backward()
    clock.append(time.perf_counter())
    torch.nn.utils.clip_grad_norm_([p for p in detector.parameters() if p.requires_grad], 0.1)
    optimizer.step()
    optimizer.zero_grad()
    clock.append(time.perf_counter())
    return [after - before for before, after in pairwise(clock)]


def on_kept_features(
    detector: Dinomaly, images: Tensor, *, lowered: bool
) -> tuple[Callable[[], Tensor], Callable[[int, Tensor], Tensor]]:
    """Takes features of a batch from those kept; the loss of the detector on them."""
    lowered = lowered and has_fast_bf16(torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
        encoded = detector.encode(images).to(torch.bfloat16 if lowered else torch.float32)
    cache = FeatureCache(features=encoded.repeat(_KEPT_IMAGES // BATCH, 1, 1, 1), place="memory")
    order = torch.randperm(_KEPT_IMAGES, generator=torch.Generator().manual_seed(0))[:BATCH].tolist()

    def loss(step: int, features: Tensor) -> Tensor:
        seeds = tuple(range(step * BATCH, (step + 1) * BATCH))
        batch = Batch(images=images[:0], seeds=seeds, categories=("synthetic",) * BATCH, features=features)
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            return detector(batch, step).total

    return lambda: cache.take(order, torch.device("cpu")), loss


class ReferenceStep:
    """The loss of a step as the authors compute it, with dropout from the global generator.

    Args:
        detector: With linear attention and two groups.
    """

    def __init__(self, detector: Dinomaly) -> None:
        self.detector = detector
        self.path = ReferencePath(detector)

    def encode(self, images: Tensor) -> list[Tensor]:
        """All tapped layers."""
        with torch.no_grad():
            return self.detector.encoder(images)

    def loss(self, step: int, layers: list[Tensor]) -> Tensor:
        """Mean over the groups of the global cosine loss; a hook damps the gradient of easy points in place."""
        config = self.detector.config
        encoded, restored = self.path.features(layers, dropout_rate=config.dropout_rate)
        easy = min(config.easy_fraction * step / config.easy_ramp_steps, config.easy_fraction)
        total = torch.zeros(())
        for target, output in zip(encoded, restored, strict=True):
            with torch.no_grad():
                distance = (1 - F.cosine_similarity(target, output)).unsqueeze(1)
                threshold = torch.topk(distance.reshape(-1), k=int(distance.numel() * (1 - easy)))[0][-1]
            total = total + (1 - F.cosine_similarity(target.flatten(1), output.flatten(1))).mean()
            output.register_hook(partial(_damp, places=distance < threshold, factor=config.easy_weight))
        return total / len(encoded)


def _damp(gradient: Tensor, places: Tensor, factor: float) -> Tensor:
    damped = gradient.clone()
    damped[places.expand_as(gradient)] *= factor
    return damped
