"""What a graphics card does with training and inference of Dinomaly ViT-B, 392 px: `python benchmarks/gpu.py`.

Training steps of 16 images as they are taken (`off`), recorded as one CUDA graph, and compiled besides; then a whole
training by `muad train`'s own code, with the encoding of its generated images; then images per second at inference. All
as a share of the matrix products per second the card was measured to do. `--steps` is the length of the whole training.
`--quick` is the same in miniature, for a test on any machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import models
import numpy as np
import torch
from measure import flops_of_image, flops_of_step, peak_flops, seconds_per_call
from PIL import Image

import muad
from muad.acceleration.backends import TorchBackend
from muad.acceleration.folding import FoldedDinomaly
from muad.device import choose_device, describe_device, has_fast_bf16

_SIZES = {"full": ("B", 392, 3629, (1, 16, 64)), "quick": ("tiny", 28, 16, (2,))}
_LAYOUTS = {"B": "{width=768, depth=12, heads=12}", "tiny": "{width=192, depth=12, heads=3}"}
_BATCH = 16
_FEW = 200  # images and steps that tell how long a step takes


def write_images(root: Path, count: int, side_px: int) -> None:
    """Normal images of one category, as JPEG."""
    folder = root / "part" / "train" / "good"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(40, 220, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((side_px, side_px)).save(folder / f"{index:05d}.jpg", quality=95)


def time_training(
    data: Path, run: Path, encoder: str, side_px: int, steps: int, recording: str, device: str
) -> dict[str, float]:
    """Seconds until each stage of `muad.train` reported its end, and milliseconds of a step once it runs."""
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
        f"training.log_every_steps={max(1, steps // 20)}",
        "training.cache=memory",
        f"training.recording={recording}",
    ]
    muad.train(data, run, overrides=overrides, device=device, progress=progress, note=lambda _: None)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    each = np.median([line["seconds_per_step"] for line in lines[len(lines) // 2 :]])
    return {**seen, "all": time.perf_counter() - begun, "step_ms": 1000 * float(each)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a miniature that any machine does in seconds")
    parser.add_argument("--steps", type=int, default=10_000, help="of the whole training")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    encoder, side_px, count, batches = _SIZES["quick" if options.quick else "full"]
    few, steps = (4, 4) if options.quick else (_FEW, options.steps)
    kind = torch.bfloat16 if has_fast_bf16(device) else torch.float32
    peak = peak_flops(device, kind, 256 if options.quick else 8192)
    print(f"{describe_device(device)}, torch {torch.__version__}: {peak / 1e12:.2f} TFLOP/s, a large matrix product")
    detector = models.build_untrained(encoder, side_px).to(device)
    images = models.synthetic_images(max(batches), side_px).to(device)
    step_flops = flops_of_step(detector, images[: min(_BATCH, len(images))]) * _BATCH / min(_BATCH, len(images))
    print(f"a training step is {step_flops / 1e12:.2f} TFLOP, {1000 * step_flops / peak:.1f} ms at that rate")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "few", few, side_px)
        write_images(root / "data", count, side_px)
        for recording in ("off", "graph", "compiled") if device.type == "cuda" else ("off",):
            taken = time_training(root / "few", root / recording, encoder, side_px, few, recording, options.device)
            share = step_flops / taken["step_ms"] * 1000 / peak
            print(f"recording {recording}: {taken['step_ms']:.2f} ms a step, {share:.1%} of the peak", flush=True)
        taken = time_training(root / "data", root / "run", encoder, side_px, steps, "auto", options.device)
        share = step_flops / taken["step_ms"] * 1000 / peak
        print(
            f"{steps} steps, {count} images: {taken['train']:.1f} s to the last step, of them {taken['encode']:.1f} s "
            f"to encode; {taken['step_ms']:.2f} ms a step, {share:.1%} of the peak",
            flush=True,
        )
    image_flops = flops_of_image(detector, images[:1])
    for compiled in (False, True) if device.type == "cuda" else (False,):
        for batch in batches:
            folded = FoldedDinomaly(detector, dtype=kind)
            backend = TorchBackend(folded, compiled_batch=batch if compiled else None)
            rate = batch / seconds_per_call(lambda backend=backend, some=images[:batch]: backend(some), device)
            share = image_flops * rate / peak
            name = f"torch {str(kind).removeprefix('torch.')}{' compiled' if compiled else ''}, batch {batch}"
            print(f"{name}: {rate:.1f} images/s, {share:.1%} of the peak", flush=True)


if __name__ == "__main__":
    main()
