"""Detectors to time: seeded random encoders of the usual shapes, decoders fitted for a moment to synthetic photographs.

Speed does not depend on weights. How far a backend's map is off does: a decoder that reconstructs nothing gives maps of
about 1 and deviations no trained one has, hence the short fit. Deviations on real data are `accuracy.py`'s business.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from muad.acceleration.deviation import Scale
from muad.checkpoints.checkpoint import copy_tensors
from muad.detectors import Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.device import has_fast_bf16
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout

ENCODERS = {
    "tiny": EncoderConfig(name="random-vit-tiny"),
    "S": EncoderConfig(name="random-custom", layout=VitLayout(width=384, depth=12, heads=6)),
    "B": EncoderConfig(name="random-custom", layout=VitLayout(width=768, depth=12, heads=12)),
}
SCALES = {None: Scale(score=1.0, map=1.0)}
"""What differences are measured by: decoders fitted for a moment give scores that hardly differ from image to image."""
_FIT_PX, _FIT_IMAGES, _FIT_STEPS = 140, 4, 50


def synthetic_images(count: int, side_px: int, seed: int = 0) -> torch.Tensor:
    """Normalised images with structure at several scales."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, 3, side_px, side_px)
    for cells in (4, 16, 64):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        images += F.interpolate(noise, (side_px, side_px), mode="bicubic")
    return images


def build_untrained(encoder: str, side_px: int) -> Dinomaly:
    """A detector for square images of that side, its decoder as initialised."""
    size = (side_px, side_px)
    torch.manual_seed(0)
    return Dinomaly(DinomalyConfig(encoder=ENCODERS[encoder], resize_px=size, crop_px=size))


def build_fitted(encoder: str, side_px: int, cache: Path) -> Dinomaly:
    """The same with its decoder fitted by `fit` before."""
    detector = build_untrained(encoder, side_px)
    with torch.no_grad():
        copy_tensors(load_file(cache / f"decoder-{encoder}.safetensors"), detector.trainable_state())
    return detector.eval()


def fit(encoder: str, cache: Path) -> float:
    """Fit a decoder to a few images and keep its weights; the last loss. Does nothing if they are there."""
    file = cache / f"decoder-{encoder}.safetensors"
    if file.is_file():
        return float("nan")
    detector = build_untrained(encoder, _FIT_PX)
    images = synthetic_images(_FIT_IMAGES, _FIT_PX)
    features = detector.encode(images)
    optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], lr=1e-3)
    loss = torch.zeros(())
    for step in range(_FIT_STEPS):
        batch = Batch(
            images=images[:0],
            seeds=tuple(range(step * _FIT_IMAGES, (step + 1) * _FIT_IMAGES)),
            categories=("synthetic",) * _FIT_IMAGES,
            features=features,
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            loss = detector(batch, 1000).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cache.mkdir(parents=True, exist_ok=True)
    save_file(detector.trainable_state(), file)
    return float(loss)
