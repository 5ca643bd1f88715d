"""Rows on generated image files: loading them, evaluating and predicting more and more of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import models
import numpy as np
import torch
from measure import peak_mib
from PIL import Image
from torchvision.transforms import v2

import muad
from muad.acceleration import AcceleratedDetector, Acceleration
from muad.datasets.index import open_catalog
from muad.evaluation.figures import evaluate_detector
from muad.images.loading import ViewCache, read_ahead
from muad.outputs import find_images, write_predictions

Figures = dict[str, Any]
LOADERS = ("reference: Pillow and torchvision, one thread", "ours, threads", "ours, kept in memory")
VERBS = ("evaluate", "predict")
_DIFFERENT = 20
_SMALL = (
    "detector.encoder.name=random-custom",
    "detector.encoder.layout={width=32, depth=4, heads=2, registers=1, position_grid=4}",
    "detector.encoder.tap_layers=[0, 1, 2, 3]",
    "detector.resize_px=[112, 112]",
    "detector.crop_px=[112, 112]",
    "schedule.total_steps=2",
    "schedule.warmup_steps=1",
    "training.batch_size=4",
    "training.cache=off",
)


@contextmanager
def generated_data(count: int, side_px: int) -> Iterator[Path]:
    """A data set in MVTec layout: 8 training images and `count` test images, every second with a defect.

    Only 20 of them differ; the others are links to these.
    """
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data" / "part"
        for place in ("train/good", "test/good", "test/spot", "ground_truth/spot"):
            (root / place).mkdir(parents=True)
        base = np.asarray(Image.effect_noise((side_px, side_px), 40).convert("RGB"))
        for index in range(8):
            Image.fromarray(np.roll(base, 7 * index, axis=0)).save(root / f"train/good/{index:05d}.png")
        first: dict[tuple[str, int], Path] = {}
        for index in range(count):
            kind = ("good", "spot")[index % 2]
            for place in ("test", "ground_truth") if kind == "spot" else ("test",):
                file = root / place / kind / f"{index:05d}{'_mask' if place == 'ground_truth' else ''}.png"
                key = (place, index % _DIFFERENT)
                if key in first:
                    os.link(first[key], file)
                    continue
                pixels, mask = np.roll(base, 13 * index, axis=1).copy(), np.zeros((side_px, side_px), np.uint8)
                top, left = generator.integers(0, side_px * 3 // 4, 2)
                mask[top : top + side_px // 6, left : left + side_px // 6] = 255
                pixels[mask > 0] = 255
                Image.fromarray(mask if place == "ground_truth" else pixels if kind == "spot" else base).save(file)
                first[key] = file
        yield root.parent


def verb_row(verb: str, count: int) -> Figures:
    """`muad evaluate` or `muad predict` of that many small images by a very small detector: seconds and memory."""
    with generated_data(count, 112) as data, redirect_stdout(None):
        run = data.parent / "run"
        muad.train(data, run, overrides=_SMALL, device="cpu")
        begun = time.perf_counter()
        if verb == "evaluate":
            muad.evaluate(run, data, device="cpu")
        else:
            predictor = muad.Predictor(run, device="cpu")
            sources = find_images([data / "part" / "test"])
            write_predictions(
                predictor, sources, data.parent / "out", batch_size=16, category=None, progress=lambda *_: None
            )
        return {"s": time.perf_counter() - begun, "peak_mib": peak_mib()}


def share_row(count: int, cache: Path) -> Figures:
    """Evaluation of images of 512 px on S at 392 px: its whole time over that of the forward passes alone."""
    models.fit("S", cache)
    detector = models.build_fitted("S", 392, cache)
    fast = AcceleratedDetector(detector, Acceleration(precision="bf16"), batch_size=8, scales=lambda: models.SCALES)
    with generated_data(count, 512) as data:
        records = open_catalog(data).select(split="test")
        views = [fast.preprocessing.view(np.asarray(Image.open(record.path))) for record in records[:8]]
        images = torch.from_numpy(fast.preprocessing.normalise(np.stack(views)))
        fast.predict(images)
        begun = time.perf_counter()
        for _ in range(count // 8):
            fast.distance_map(images)
        forward = time.perf_counter() - begun
        begun = time.perf_counter()
        evaluate_detector(fast, records, batch_size=8)
        whole = time.perf_counter() - begun
    return {"s": whole, "forward_s": forward, "ratio": whole / forward}


def loader_row(variant: str, count: int = 40) -> Figures:
    """PNG files of 1024 px to normalised images of 392 px, ms per image."""
    preprocessing = models.build_untrained("tiny", 392).preprocessing
    with generated_data(count, 1024) as data:
        paths = sorted((data / "part" / "test").glob("*/*.png"))[:_DIFFERENT]
        steps = [v2.ToImage(), v2.Resize((392, 392)), v2.ToDtype(torch.float32, scale=True)]
        pipeline = v2.Compose([*steps, v2.Normalize(preprocessing.mean, preprocessing.std)])
        cache = ViewCache(preprocessing, 2**30 if variant == LOADERS[2] else 0)
        if variant == LOADERS[2]:
            for path in paths:
                cache.views(path)
        begun = time.perf_counter()
        if variant == LOADERS[0]:
            for path in paths:
                pipeline(Image.open(path).convert("RGB"))
        else:
            preprocessing.normalise(np.concatenate(list(read_ahead(cache.views, paths))))
        return {"ms": 1000 * (time.perf_counter() - begun) / len(paths)}
