"""Where the time of a network goes: by kind of layer at inference, by operation in a training step, both on one thread.

    python benchmarks/layers.py [--encoder B] [--side 392] [--training-encoder S]

Inference is OpenVINO in bfloat16, whose own counters are read; training is a step of 16 images on kept features under
autocast, by torch's profiler. The tables go to `benchmarks/layers.md`, which `make bench` takes into its report.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

import models
import numpy as np
import openvino
import torch
import training_rows
from measure import flops_of_image, flops_of_step, peak_flops
from torch.profiler import ProfilerActivity, profile

from muad.acceleration import AcceleratedDetector, Acceleration
from muad.optim import StableAdamW

RESULT = Path(__file__).with_name("layers.md")
_CACHE = Path(__file__).resolve().parents[1] / "build" / "bench"
_LEAST = 0.015  # of the time; what takes less is told together
_ROUNDS = 4


def inference_layers(encoder: str, side_px: int) -> tuple[Counter[str], float]:
    """Milliseconds of an image by kind of layer, and operations of its matrix products."""
    models.fit(encoder, _CACHE)
    detector = models.build_fitted(encoder, side_px, _CACHE)
    images = models.synthetic_images(1, side_px)
    flops = flops_of_image(detector, images)
    folder = _CACHE / f"exports-{encoder}-{side_px}"
    options = Acceleration(backend="openvino", precision="bf16")
    AcceleratedDetector(detector, options, folder=folder, batch_size=1, scales=lambda: models.SCALES).predict(images)
    (exported,) = folder.glob("*/float32")
    spent: Counter[str] = Counter()
    for part, hint in (("stem", "f32"), ("network", "bf16")):
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERF_COUNT": True, "INFERENCE_PRECISION_HINT": hint}
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(exported / f"{part}.onnx"), "CPU", settings)
        shape = [1 if side.is_dynamic else side.get_length() for side in compiled.inputs[0].get_partial_shape()]
        given = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        request = compiled.create_infer_request()
        for round_number in range(1 + _ROUNDS):
            request.infer({0: given})
            for layer in request.profiling_info if round_number else ():
                name = f"{layer.node_type}, {layer.exec_type}" + (" (stem and first block)" if part == "stem" else "")
                spent[name] += layer.real_time.total_seconds() * 1000 / _ROUNDS
    return spent, flops


def training_operations(encoder: str, side_px: int) -> tuple[Counter[str], float]:
    """Milliseconds of a step by operation, and operations of its matrix products."""
    detector = models.build_untrained(encoder, side_px)
    optimizer = StableAdamW(detector.parameter_groups(), lr=2e-3, betas=(0.9, 0.999), eps=1e-10, amsgrad=True)
    images = models.synthetic_images(training_rows.BATCH, side_px)
    flops = flops_of_step(detector, images[:1]) * training_rows.BATCH
    features, loss = training_rows.on_kept_features(detector, images, lowered=True)
    training_rows.timed_step(features, partial(loss, 0), detector, optimizer)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        training_rows.timed_step(features, partial(loss, 1), detector, optimizer)
    return Counter({event.key: event.self_cpu_time_total / 1000 for event in seen.key_averages()}), flops


def table(what: str, spent: Counter[str], flops: float, peak: float) -> list[str]:
    """Markdown: the most expensive first."""
    whole = spent.total()
    shown = [(name, taken) for name, taken in spent.most_common() if taken >= _LEAST * whole]
    rows = [*shown, ("all else", whole - sum(taken for _, taken in shown))]
    return [
        f"**{what}**: {whole:.0f} ms, {1000 * flops / whole / peak:.0%} of {peak / 1e12:.2f} TFLOP/s.",
        "",
        "| | ms | part |",
        "|---|---|---|",
        *(f"| {name} | {taken:.0f} | {taken / whole:.0%} |" for name, taken in rows),
        "",
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="B", choices=models.ENCODERS)
    parser.add_argument("--training-encoder", default="S", choices=models.ENCODERS)
    parser.add_argument("--side", type=int, default=392)
    given = parser.parse_args()
    torch.set_num_threads(1)
    peak = max(peak_flops(torch.device("cpu"), torch.bfloat16, side) for side in (1024, 2048, 4096))
    lines = ["One thread, bfloat16: `python benchmarks/layers.py`.", ""]
    spent, flops = inference_layers(given.encoder, given.side)
    lines += table(f"An image, {given.encoder} at {given.side} px, OpenVINO", spent, flops, peak)
    spent, flops = training_operations(given.training_encoder, given.side)
    lines += table(f"A training step, {given.training_encoder} at {given.side} px, torch", spent, flops, peak)
    RESULT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
