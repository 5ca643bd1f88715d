"""What a training would take: time from one measured step, memory from counting what that step keeps."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import torch

from muad.checking.findings import Cost
from muad.checkpoints.checkpoint import build_detector
from muad.detectors.base import FittingDetector
from muad.detectors.types import Batch
from muad.device import describe_device
from muad.training.engine import resolve_precision

if TYPE_CHECKING:
    from torch import Tensor

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import Detector, LearningDetector
    from muad.detectors.types import Features, Losses

_MEASURED_IMAGES = 4  # of a step; time and memory grow in proportion
_OPTIMIZER_COPIES = 4  # gradient, two moments, the largest second moment


def estimate_cost(config: RunConfig, images: int, device: torch.device) -> Cost:
    """Time and memory of a training on this machine, its encoder's features kept or not as the settings say.

    Of a detector that looks at every image once, only encoding them is measured. The encoder is replaced by one of the
    same shape with random weights, so that nothing has to be downloaded.

    Args:
        config: The settings of the training.
        images: Good training images.
        device: Where it would run.
    """
    detector = build_detector(_without_download(config)).to(device)
    images *= detector.preprocessing.count  # each tile is trained on like an image of its own
    batch = min(_MEASURED_IMAGES, config.training.batch_size)
    views = torch.zeros(batch, 3, *detector.preprocessing.crop_px, device=device)
    is_mixed = resolve_precision(config.training.precision, str(device)) == "bf16-mixed"
    with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
        encode_s, features = _measure_encoding(detector, views)
        one_look = isinstance(detector, FittingDetector)
        step_s, step_bytes = _measure_step(detector, views, features)
    steps = 0 if one_look else config.schedule.total_steps
    drawn = images if one_look else steps * config.training.batch_size
    scale, parts = config.training.batch_size / batch, config.training.accumulate
    kept = one_look or (features is not None and config.training.cache != "off" and drawn > images)
    if features is None or kept:
        seconds = images * encode_s / batch + steps * step_s * scale
    else:
        seconds = drawn * encode_s / batch + steps * step_s * scale
    parameters = sum(p.numel() * p.element_size() for p in detector.parameters())
    trained = sum(p.numel() * p.element_size() for p in detector.parameters() if p.requires_grad)
    held = _bytes_of(features) // batch * images if kept and features is not None else 0
    return Cost(
        network=config.encoder_name or config.detector.name,
        image_px=detector.preprocessing.crop_px,
        steps=steps,
        seconds=seconds,
        memory_bytes=int(parameters + trained * _OPTIMIZER_COPIES + step_bytes * scale / parts + held),
        device=describe_device(device),
    )


def _without_download(config: RunConfig) -> RunConfig:
    """The same training with encoders of the same shapes and random weights."""
    settings: Any = config.detector
    shapes = tuple(encoder.with_random_weights() for encoder in config.encoders)
    if not shapes:
        return config
    several = bool(getattr(settings, "encoders", ()))
    replaced = {"encoders": shapes} if several else {"encoder": shapes[0]}
    return dataclasses.replace(config, detector=dataclasses.replace(settings, **replaced))


def _bytes_of(features: Features) -> int:
    parts = features if isinstance(features, tuple) else (features,)
    return sum(part.numel() * part.element_size() for part in parts)


@torch.no_grad()
def _measure_encoding(detector: Detector, views: Tensor) -> tuple[float, Features | None]:
    """Seconds to encode a batch, the second time, and what came out."""
    detector.encode(views[:1])
    begun = time.perf_counter()
    features = detector.encode(views)
    _finish(views)
    return time.perf_counter() - begun, features


def _measure_step(detector: LearningDetector, views: Tensor, features: Features | None) -> tuple[float, int]:
    """Seconds of a step there and back, the second time, and the bytes it keeps between; nothing without steps."""
    if isinstance(detector, FittingDetector):
        return 0.0, 0
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    count = len(views)
    batch = Batch(images=views[:0] if features is not None else views, seeds=tuple(range(count)),
                  categories=("any",) * count, features=features)  # fmt: skip
    seconds = 0.0
    for step in range(2):
        begun = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            losses: Losses = detector(detector.prepare(batch), step)
        torch.autograd.backward(losses.total)
        _finish(views)
        seconds = time.perf_counter() - begun
        kept = kept if step else {}
    detector.zero_grad()
    frozen = {p.untyped_storage().data_ptr() for p in detector.parameters()}
    return seconds, sum(size for place, size in kept.items() if place not in frozen)


def _finish(views: Tensor) -> None:
    if views.device.type == "cuda":
        torch.cuda.synchronize(views.device)
