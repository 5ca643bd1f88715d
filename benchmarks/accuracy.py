"""What reduced precision costs in figures: one run and its data set, evaluated on every backend.

`python benchmarks/accuracy.py RUN DATA [--precisions "torch fp32" ...]` prints the table of docs/performance.md: each
metric's mean over the categories in percent, and its change in points against the detector itself in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from muad.acceleration import AcceleratedDetector, Acceleration, DeviationError
from muad.checkpoint import load_detector
from muad.data.images import read_image
from muad.data.index import open_catalog
from muad.evaluation import evaluate_detector
from muad.metrics.report import METRIC_NAMES
from muad.types import Catalog

VARIANTS = ("torch fp32", "torch bf16", "openvino fp32", "openvino bf16", "openvino int8", "onnx int8")
_CALIBRATION_IMAGES = 64


def calibration_images(detector: AcceleratedDetector, catalog: Catalog) -> torch.Tensor:
    """Normal training images spread over all categories."""
    records = catalog.select(split="train")
    chosen = records[:: max(1, len(records) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
    views = [detector.preprocessing.view(read_image(record.path)) for record in chosen]
    return detector.preprocessing.normalise(np.stack(views))


def evaluate_variant(run: Path, catalog: Catalog, variant: str, folder: Path, batch_size: int) -> list[str]:
    """Metrics, deviation and seconds of one backend; of the plain detector for an empty name."""
    detector = load_detector(run)
    if variant:
        backend, precision = variant.split()
        plain = detector
        detector = AcceleratedDetector(
            plain,
            Acceleration(backend=backend, precision=precision),
            folder=folder,
            batch_size=batch_size,
            calibration=lambda: calibration_images(plain, catalog),
        )
    begun = time.perf_counter()
    report = evaluate_detector(detector, catalog.select(split="test"), batch_size=batch_size)
    seconds = time.perf_counter() - begun
    deviation = getattr(detector, "deviation", None)
    values = [report.mean[name] for name in METRIC_NAMES]
    return [*values, deviation, seconds]


def main() -> None:
    """Evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--precisions", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    catalog = open_catalog(options.data)
    print(f"| variant | {' | '.join(METRIC_NAMES)} | largest map deviation | s |")
    print("|---" * (len(METRIC_NAMES) + 3) + "|")
    with tempfile.TemporaryDirectory() as folder:
        base = evaluate_variant(options.run, catalog, "", Path(folder), options.batch_size)
        print(f"| detector, float32 | {' | '.join(_percent(value) for value in base[:-2])} | | {base[-1]:.0f} |")
        for variant in options.precisions:
            try:
                found = evaluate_variant(options.run, catalog, variant, Path(folder), options.batch_size)
            except DeviationError as error:
                print(f"| {variant} | refused: {error} |")
                continue
            cells = [_percent(value, before) for value, before in zip(found[:-2], base[:-2], strict=True)]
            print(f"| {variant} | {' | '.join(cells)} | {found[-2]:.1e} | {found[-1]:.0f} |")


def _percent(value: float | None, before: float | None = None) -> str:
    if value is None:
        return "undefined"
    change = "" if before is None else f" ({100 * (value - before):+.2f})"
    return f"{100 * value:.2f}{change}"


if __name__ == "__main__":
    main()
