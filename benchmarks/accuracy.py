"""What reduced precision costs in figures: one run and its data set, evaluated on every backend.

`python benchmarks/accuracy.py RUN DATA [--cached RUN] [--variants "torch fp32" ...]` prints each metric's mean over the
categories in percent, and its change in points against the detector itself in float32. RUN was trained in float32
without kept features, the run of `--cached` from the same seed in bf16 with them. With `--out benchmarks/accuracy.md`
the next `make bench` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from muad.acceleration import AcceleratedDetector, Acceleration, DeviationError
from muad.checkpoints.checkpoint import load_detector, read_config
from muad.datasets.index import open_catalog
from muad.evaluation.figures import evaluate_detector
from muad.images.reading import read_image
from muad.metrics.report import METRIC_NAMES
from muad.types import Catalog

VARIANTS = ("torch fp32", "torch bf16", "openvino fp32", "openvino bf16", "openvino int8", "onnx int8")
_CALIBRATION_IMAGES = 64
_AUROC_POINTS, _AP_POINTS = 0.2, 0.3


def calibration_images(detector: AcceleratedDetector, catalog: Catalog) -> torch.Tensor:
    """Normal training images spread over all categories."""
    records = catalog.select(split="train")
    chosen = records[:: max(1, len(records) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
    views = [detector.preprocessing.view(read_image(record.path)) for record in chosen]
    return torch.from_numpy(detector.preprocessing.normalise(np.stack(views)))


def evaluate_variant(run: Path, catalog: Catalog, variant: str, folder: Path, batch_size: int) -> list[float | None]:
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
    """Evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cached", type=Path, help="run trained in bf16 on kept features")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args()
    catalog, config = open_catalog(options.data), read_config(options.run)
    command = f"python benchmarks/accuracy.py {options.run.name} photos"
    command += f" --cached {options.cached.name}" if options.cached else ""
    beyond = []
    lines = [
        f"`{command}`: {', '.join(catalog.categories)}; encoder {config.detector.encoder.name}, "
        f"{config.detector.crop_px[0]} px, {config.schedule.total_steps} steps, seed {config.training.seed}; means "
        "over the categories in percent, in brackets the change in points against the first row.",
        "",
        f"| trained and computed in | {' | '.join(METRIC_NAMES)} | largest map deviation | s |",
        "|---" * (len(METRIC_NAMES) + 3) + "|",
    ]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as folder:
        base = evaluate_variant(options.run, catalog, "", Path(folder), options.batch_size)
        rows = [("float32 without kept features; detector, float32", options.run, "")]
        rows += [(f"the same; {variant}", options.run, variant) for variant in options.variants]
        if options.cached:
            rows.append(("bf16 on kept features; torch bf16", options.cached, "torch bf16"))
        for name, run, variant in rows:
            try:
                found = evaluate_variant(run, catalog, variant, Path(folder), options.batch_size) if variant else base
                cells = [_percent(now, before) for now, before in zip(found[:-2], base[:-2], strict=True)]
                if not _keeps_aim(found, base):
                    beyond.append(name)
                deviation = f"{found[-2]:.1e}" if found[-2] is not None else ""
                lines.append(f"| {name} | {' | '.join(cells)} | {deviation} | {found[-1]:.0f} |")
            except DeviationError as error:
                lines.append(f"| {name} | refused: {error} |{' |' * (len(METRIC_NAMES) + 1)}")
            print(lines[-1])
    aim = f"Aim: image AUROC within {_AUROC_POINTS} points and pixel AP within {_AP_POINTS} of the first row; "
    lines += ["", aim + (f"missed by: {', '.join(beyond)}." if beyond else "kept by all.")]
    print(lines[-1])
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _keeps_aim(found: list[float | None], base: list[float | None]) -> bool:
    """Whether image AUROC and pixel AP are as near to the first row as they should be."""
    limits = {"image_auroc": _AUROC_POINTS, "pixel_ap": _AP_POINTS}
    pairs = zip(METRIC_NAMES, found, base, strict=False)
    return all(now is None or was is None or 100 * abs(now - was) <= limits.get(name, 100) for name, now, was in pairs)


def _percent(value: float | None, before: float | None) -> str:
    if value is None or before is None:
        return "undefined"
    return f"{100 * value:.2f} ({100 * (value - before):+.2f})"


if __name__ == "__main__":
    main()
