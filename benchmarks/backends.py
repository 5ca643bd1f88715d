"""Every backend and precision on a trained run: how fast, how far off by the run's own limits, and whether accepted.

`python benchmarks/backends.py RUN [RUN ...]` copies nothing and keeps its checks under each run's `exports`, as
`muad predict` does. Times are of one image at a time, all variants taking turns in one process; as other programs may
use the machine, they are given as the median ratio to torch in float32 of the same turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from muad.acceleration import Acceleration, DeviationError
from muad.checkpoints.checkpoint import read_config
from muad.checkpoints.scorers import load_scorer
from muad.device import choose_device
from muad.threads import prepare_threads

VARIANTS = ("torch fp32", "torch bf16", "openvino fp32", "openvino bf16", "openvino int8", "onnx fp32", "onnx int8")


def measure(run: Path, variants: list[str], rounds: int) -> list[str]:
    """Rows of the table for one run."""
    cells, ready, image = {}, {}, None
    for variant in variants:
        backend, precision = variant.split()
        scorer = load_scorer(run, choose_device("cpu"), None, Acceleration(backend=backend, precision=precision))
        height, width = scorer.preprocessing.crop_px
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        try:
            scorer.predict(image)
            ready[variant] = scorer
            accepted = "yes"
        except DeviationError as error:
            print(error, flush=True)
            accepted = "no"
        found = scorer.judgement
        cells[variant] = (
            "| | | "
            if found is None
            else f"| {100 * found.score_part:.1f} % | {100 * found.map_part:.1f} % | {found.changed} of {found.count} "
        ) + f"| {accepted} |"
    taken: dict[str, list[float]] = {variant: [] for variant in ready}
    for _ in range(rounds):
        for variant, scorer in ready.items():
            begun = time.perf_counter()
            scorer.predict(image)
            taken[variant].append(time.perf_counter() - begun)
    base = taken.get("torch fp32", [])
    config = read_config(run)
    name = f"{run.parent.name}/{run.name}, {config.schedule.total_steps} steps, {config.detector.crop_px[0]} px"
    rows = []
    for variant in variants:
        ratios = [one / own for one, own in zip(base, taken.get(variant, []), strict=False)]
        rows.append(
            f"| {name} | {variant} | {statistics.median(ratios):.1f} " if ratios else f"| {name} | {variant} | "
        )
        rows[-1] += cells[variant]
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print("| run | variant | times faster | score | map | verdicts changed | accepted |\n|---|---|---|---|---|---|---|")
    for run in options.runs:
        print("\n".join(measure(run, options.variants, options.rounds)), flush=True)


if __name__ == "__main__":
    prepare_threads()
    main()
