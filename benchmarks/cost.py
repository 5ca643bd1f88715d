"""What an image costs with each detector, in training and in prediction: `python benchmarks/cost.py`.

Operations are counted, so they hold for every machine; seconds are processor time of one thread on this one, in
float32, of the detectors' plain paths. Nothing is trained: cost does not depend on weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from muad.detectors import Detector, DiffusionAd, DiffusionAdConfig, Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.nn.denoiser import DenoiserConfig

_SMALL = EncoderConfig(name="random-custom", layout=VitLayout(width=384, depth=12, heads=6))
_BASE = EncoderConfig(name="random-custom", layout=VitLayout(width=768, depth=12, heads=12))
_CPU_SIZE = DenoiserConfig(width=16, blocks_per_level=1, attention_levels=1)
TRAINED_IMAGES = 1
_LONG_S = 10.0

ROWS: dict[str, Callable[[], Detector]] = {
    "Dinomaly, muad-tiny, 224 px": lambda: _dinomaly(EncoderConfig(), 224),
    "Dinomaly, ViT-S, 392 px": lambda: _dinomaly(_SMALL, 392),
    "Dinomaly, ViT-B, 392 px": lambda: _dinomaly(_BASE, 392),
    "DiffusionAD, width 16 as chosen on a CPU, 128 px": lambda: _diffusion(128, _CPU_SIZE, 16),
    "DiffusionAD, width 64, 256 px": lambda: _diffusion(256, DenoiserConfig(width=64), 64),
    "DiffusionAD, width 128 as published, 256 px": lambda: _diffusion(256, DenoiserConfig(), 64),
}


def measure_cost(detector: Detector) -> dict[str, float]:
    """Operations and seconds of one image, predicted and trained on; a multiply-add is two operations.

    Training is a step of `TRAINED_IMAGES` images without the optimizer, divided by their number; of Dinomaly also
    with its features kept, as they are by default.
    """
    side = detector.preprocessing.crop_px
    images = torch.rand(TRAINED_IMAGES, 3, *side, generator=torch.Generator().manual_seed(0))
    batch = Batch(images=images, seeds=tuple(range(TRAINED_IMAGES)), categories=("part",) * TRAINED_IMAGES)
    predicted, predict_s = _count(lambda: detector.predict(images[:1]))
    trained, train_s = _count(lambda: _step(detector, batch))
    kept, kept_s = trained, train_s
    with torch.no_grad():
        features = detector.encode(images)
    if features is not None:
        batch.features = features
        kept, kept_s = _count(lambda: _step(detector, batch))
    return {
        "parameters": sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad),
        "predict_gflop": predicted / 1e9,
        "predict_s": predict_s,
        "train_gflop": trained / TRAINED_IMAGES / 1e9,
        "train_s": train_s / TRAINED_IMAGES,
        "kept_gflop": kept / TRAINED_IMAGES / 1e9,
        "kept_s": kept_s / TRAINED_IMAGES,
    }


def _dinomaly(encoder: EncoderConfig, side_px: int) -> Detector:
    size = (side_px, side_px)
    return Dinomaly(DinomalyConfig(encoder=encoder, resize_px=size, crop_px=size))


def _diffusion(side_px: int, denoiser: DenoiserConfig, segmenter_width: int) -> Detector:
    size = (side_px, side_px)
    return DiffusionAd(DiffusionAdConfig(resize_px=size, denoiser=denoiser, segmenter_width=segmenter_width))


def _step(detector: Detector, batch: Batch) -> None:
    detector(detector.prepare(batch), 0).total.backward()
    detector.zero_grad()


def _count(call: Callable[[], object]) -> tuple[int, float]:
    """Operations of one call, and processor seconds of the next; of the same one if it takes long."""
    begun = time.process_time()
    with FlopCounterMode(display=False) as counter:
        call()
    seconds = time.process_time() - begun
    if seconds < _LONG_S:
        begun = time.process_time()
        call()
        seconds = time.process_time() - begun
    return int(counter.get_total_flops()), seconds


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| detector | trainable parameters | predict: GFLOP, s | train: GFLOP, s | train, features kept: GFLOP, s |",
        "|---|---|---|---|---|",
    ]
    for name, row in results.items():
        pairs = [f"{row[f'{kind}_gflop']:.1f}, {row[f'{kind}_s']:.2f}" for kind in ("predict", "train", "kept")]
        kept = pairs[2] if row["kept_gflop"] < row["train_gflop"] else "none to keep"
        lines.append(f"| {name} | {row['parameters'] / 1e6:.1f} M | {pairs[0]} | {pairs[1]} | {kept} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every row, or those asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row alone; may be repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in options.only or ROWS:
        torch.manual_seed(0)
        results[name] = measure_cost(ROWS[name]())
        print(name, results[name], file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
