"""The rows of the benchmark: each is measured in a process of its own and gives a flat mapping of figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import torch
from measure import flops_of_image, peak_flops, peak_mib, time_call
from plain_metrics import plain_aupro, sklearn_metrics
from reference_path import ReferencePath

from muad.acceleration import AcceleratedDetector, Acceleration
from muad.acceleration.postprocess import MapMaker
from muad.metrics.region import AuproDefinition, pixel_metrics

Figures = dict[str, Any]

BATCHES = (1, 8)
REFERENCE = "reference, float32 eager"
VARIANTS: dict[str, Acceleration] = {
    "torch fp32": Acceleration(precision="fp32"),
    "torch bf16": Acceleration(precision="bf16"),
    "torch bf16 compiled": Acceleration(precision="bf16", compile=True),
    "openvino fp32": Acceleration(backend="openvino", precision="fp32"),
    "openvino bf16": Acceleration(backend="openvino", precision="bf16"),
    "openvino int8": Acceleration(backend="openvino", precision="int8"),
    "onnx fp32": Acceleration(backend="onnx", precision="fp32"),
    "onnx int8": Acceleration(backend="onnx", precision="int8"),
}
OURS: dict[str, AuproDefinition] = {"ours, all exact": "exact", "ours, AUPRO by 200 thresholds": "thresholds_200"}


def peak_row(precision: str) -> Figures:
    """Operations a second of a matrix product of the best size: the peak that networks are held against."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    return {"flops": max(peak_flops(torch.device("cpu"), kind, side) for side in (1024, 2048, 4096))}


def fit_row(encoder: str, *, cache: Path) -> Figures:
    """Prepare the decoder the inference rows use."""
    return {"loss": models.fit(encoder, cache)}


def inference_row(encoder: str, side_px: int, variant: str, batch: int, *, cache: Path, budget_s: float) -> Figures:
    """Normalised images in memory to maps and scores; seconds per image, deviation from the plain path, memory."""
    detector = models.build_fitted(encoder, side_px, cache)
    images = models.synthetic_images(max(BATCHES), side_px)
    expected = detector.predict(images[:2]).anomaly_map
    flops = flops_of_image(detector, images[:1])
    begun = time.perf_counter()
    call: Callable[[torch.Tensor], Any]
    if variant == REFERENCE:
        call = ReferencePath(detector)
    else:
        fast = AcceleratedDetector(
            detector,
            VARIANTS[variant],
            folder=cache / f"exports-{encoder}-{side_px}",
            batch_size=batch,
            scales=lambda: models.SCALES,
        )
        call = fast.predict
        del detector
    first = call(images)  # int8 learns its ranges from these
    setup_s = time.perf_counter() - begun
    maps = first[0] if isinstance(first, tuple) else first.anomaly_map
    few = images[:batch]
    figures = time_call(lambda: call(few), warmups=1, budget_s=budget_s)
    return {
        "ms": 1000 * figures["s"] / batch,
        "best_ms": 1000 * figures["best_s"] / batch,
        "noisy": figures["noisy"],
        "flops": flops,
        "deviation": float((maps[:2] - expected).abs().max()),
        "setup_s": setup_s,
        "peak_mib": peak_mib(),
    }


def postprocess_row(variant: str, batch: int, *, budget_s: float) -> Figures:
    """28 x 28 distances to blurred maps of 256 x 256 and scores: stage by stage, or one matrix per axis."""
    detector = models.build_untrained("S", 392)
    distances = torch.rand(batch, 28, 28, generator=torch.Generator().manual_seed(0))
    maker = MapMaker(detector)

    def in_stages() -> torch.Tensor:
        maps = detector.blur(detector.resize_map(distances))
        values = torch.sort(maps.flatten(1), dim=1, descending=True)[0]
        return values[:, :655].mean(dim=1)

    def by_matrices() -> torch.Tensor:
        return maker.scores(maker.maps(distances))

    call = in_stages if variant == "in stages, sorted" else by_matrices
    figures = time_call(call, warmups=3, budget_s=budget_s / 2)
    deviation = float((in_stages() - by_matrices()).abs().max())
    return {"ms": 1000 * figures["s"] / batch, "noisy": figures["noisy"], "deviation": deviation}


def metric_row(variant: str, count: int) -> Figures:
    """Pixel metrics of maps of 256 x 256; seconds, values, memory beyond the arrays."""
    maps, masks = synthetic_maps(count)
    before = peak_mib()
    if variant in OURS:
        figures = time_call(lambda: pixel_metrics(maps, masks, aupro=OURS[variant]), warmups=0, budget_s=0)
        extra_mib = peak_mib() - before
        found = pixel_metrics(maps, masks, aupro=OURS[variant])
        values = {"auroc": found.auroc, "ap": found.average_precision, "f1": found.f1_max, "aupro": found.aupro}
        return {"s": figures["s"], "noisy": figures["noisy"], "extra_mib": extra_mib, **values}
    begun = time.perf_counter()
    if variant == "scikit-learn, 3 metrics":
        values = sklearn_metrics(maps, masks)
    else:
        few = 200 if count <= 100 else 8
        values = plain_aupro(maps, masks, few)
        seconds = (time.perf_counter() - begun) * 200 / few
        note = "" if few == 200 else f"{few} thresholds measured, times {200 // few}"
        return {"s": seconds, "extra_mib": peak_mib() - before, "note": note, **values}
    return {"s": time.perf_counter() - begun, "extra_mib": peak_mib() - before, **values}


def synthetic_maps(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps made from 28 x 28 distances as the detector makes them, every second with one to three defects."""
    maker = MapMaker(models.build_untrained("tiny", 392))
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256, :1][:2].astype(np.float32)
    maps = np.empty((count, 256, 256), np.float32)
    masks = np.zeros((count, 256, 256), bool)
    for begin in range(0, count, 64):
        part = slice(begin, min(begin + 64, count))
        noise = torch.from_numpy(generator.gamma(4, 0.03, (part.stop - begin, 28, 28)).astype(np.float32))
        maps[part] = maker.maps(noise).numpy()
    for index in range(0, count, 2):
        blobs = generator.integers(1, 4)
        centre = generator.uniform(30, 226, (2, blobs)).astype(np.float32)
        radius = generator.uniform(6, 26, blobs).astype(np.float32)
        distance = np.hypot(rows - centre[0], columns - centre[1]) / radius
        masks[index] = (distance < 1).any(-1)
        maps[index] += (0.15 * np.exp(-(distance**2))).max(-1)
    return maps, masks
