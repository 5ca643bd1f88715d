"""What a graphics card does with an MVTec-sized training and with inference: `python benchmarks/gpu.py`.

3,629 generated images of 392 px, ViT-B, batch 16, 10,000 steps by `muad train`'s own code, the encoding pass included;
then images per second at inference, and both as a share of the matrix products per second the card was measured to do.
`--quick` is the same in miniature, for a test on any machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import models
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import muad
from muad.acceleration import AcceleratedDetector, Acceleration
from muad.detectors.types import Batch
from muad.device import choose_device, describe_device, has_fast_bf16

_SIZES = {"full": ("B", 392, 3629, 10_000, (1, 16, 64)), "quick": ("tiny", 28, 16, 4, (2,))}
_LAYOUTS = {"B": "{width=768, depth=12, heads=12}", "tiny": "{width=192, depth=12, heads=3}"}
_BATCH = 16


def write_images(root: Path, count: int, side_px: int) -> None:
    """Normal images of one category, as JPEG."""
    folder = root / "part" / "train" / "good"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(40, 220, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((side_px, side_px)).save(folder / f"{index:05d}.jpg", quality=95)


def time_training(data: Path, run: Path, encoder: str, side_px: int, steps: int, device: str) -> dict[str, float]:
    """Seconds until each stage of `muad.train` reported its end."""
    begun, seen = time.perf_counter(), {}

    def progress(what: str, done: int, total: int, loss: float | None) -> None:  # noqa: ARG001
        seen[what] = time.perf_counter() - begun

    overrides = [
        "detector.encoder.name=random-custom",
        f"detector.encoder.layout={_LAYOUTS[encoder]}",
        f"detector.resize_px=[{side_px}, {side_px}]",
        f"detector.crop_px=[{side_px}, {side_px}]",
        f"schedule.total_steps={steps}",
        f"schedule.warmup_steps={min(100, steps - 1)}",
        f"training.batch_size={_BATCH}",
        f"training.save_every_steps={steps}",
    ]
    muad.train(data, run, overrides=overrides, device=device, progress=progress, note=print)
    return {**seen, "all": time.perf_counter() - begun}


def peak_flops(device: torch.device, side: int) -> float:
    """Operations per second of one large matrix product in the precision used."""
    lowered = has_fast_bf16(device)
    left = torch.randn(side, side, device=device, dtype=torch.bfloat16 if lowered else torch.float32)
    return 2 * side**3 / seconds_per_call(lambda: left @ left, device)


def seconds_per_call(call: Callable[[], object], device: torch.device, calls: int = 10) -> float:
    """Mean time of a call, after three to warm up."""
    for _ in range(3):
        call()
    _wait(device)
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return (time.perf_counter() - begun) / calls


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a miniature that any machine does in seconds")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    encoder, side_px, count, steps, batches = _SIZES["quick" if options.quick else "full"]
    peak = peak_flops(device, 256 if options.quick else 8192)
    print(f"{describe_device(device)}: {peak / 1e12:.2f} TFLOP/s measured peak of a matrix product")
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "data", count, side_px)
        taken = time_training(Path(folder) / "data", Path(folder) / "run", encoder, side_px, steps, options.device)
    detector = models.build_untrained(encoder, side_px).to(device)
    images = models.synthetic_images(max(batches), side_px).to(device)
    step_flops = _flops_of_step(detector, images[: min(_BATCH, len(images))]) * _BATCH / min(_BATCH, len(images))
    train_s = taken["train"] - taken.get("encode", 0.0)
    print(
        f"{steps} steps of {_BATCH} images: {taken['all']:.1f} s in all, {taken.get('encode', 0.0):.1f} s to encode, "
    )
    print(f"{1000 * train_s / steps:.2f} ms a step, {step_flops * steps / train_s / peak:.1%} of the peak")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.distance_map(images[:1])
    for compiled in (False, True) if device.type == "cuda" else (False,):
        for batch in batches:
            copy = models.build_untrained(encoder, side_px).to(device)
            precision = "bf16" if has_fast_bf16(device) else "fp32"
            fast = AcceleratedDetector(copy, Acceleration(precision=precision, compile=compiled), batch_size=batch)
            some = images[:batch]
            rate = batch / seconds_per_call(lambda fast=fast, some=some: fast.predict(some), device)
            share = counter.get_total_flops() * rate / peak
            name = f"torch {precision}{' compiled' if compiled else ''}, batch {batch}"
            print(f"{name}: {rate:.1f} images/s, {share:.1%} of the peak")


def _flops_of_step(detector: torch.nn.Module, images: torch.Tensor) -> float:
    """Operations of a training step on kept features, backward pass included."""
    features = detector.encode(images)
    batch = Batch(
        images=images[:0], seeds=tuple(range(len(images))), categories=("part",) * len(images), features=features
    )
    with FlopCounterMode(display=False) as counter:
        detector(batch, 0).total.backward()
    return float(counter.get_total_flops())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
