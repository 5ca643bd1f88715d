"""What judging costs on a line PC: start, memory and time per image, of a run by torch and of its bundle.

    python benchmarks/line.py RUN BUNDLE PHOTOGRAPHS --category screw --repeats 3 --images 30

Every way is measured in processes of its own, by turns, with as many threads as OMP_NUM_THREADS says. `cold start` is
from the start of the process, imports included, to the first verdict; beside it stands the processor time of all
threads, which other work on the machine moves less; `memory` is the resident size after all images. PHOTOGRAPHS is a
folder of images. The model of another package can be held beside it: `--anomalib PYTHON MODEL` runs its OpenVINO
inferencer on the same images, in the environment of that interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS = """
import sys, time, resource
path, backend, category, *files = sys.argv[1:]
import muad
predictor = muad.Predictor(path, device="cpu", **({} if backend == "torch" else {"backend": backend}))
(first,) = predictor.predict(files[0], category=category)
print("first", time.process_time(), flush=True)
begun, busy = time.perf_counter(), time.process_time()
for file in files[1:]:
    predictor.predict(file, category=category)
count = max(1, len(files) - 1)
each, busy = (time.perf_counter() - begun) / count, (time.process_time() - busy) / count
pages = int(open("/proc/self/statm").read().split()[1])
print(each, busy, pages * resource.getpagesize(), flush=True)
"""
ANOMALIB = """
import sys, time, resource
path, backend, category, *files = sys.argv[1:]
from anomalib.deploy import OpenVINOInferencer
inferencer = OpenVINOInferencer(path=path, device="CPU")
inferencer.predict(files[0])
print("first", time.process_time(), flush=True)
begun, busy = time.perf_counter(), time.process_time()
for file in files[1:]:
    inferencer.predict(file)
count = max(1, len(files) - 1)
each, busy = (time.perf_counter() - begun) / count, (time.process_time() - busy) / count
pages = int(open("/proc/self/statm").read().split()[1])
print(each, busy, pages * resource.getpagesize(), flush=True)
"""


def measure(python: str, code: str, path: Path, backend: str, category: str, files: list[Path]) -> dict[str, float]:
    """One process: seconds to the first verdict, milliseconds an image after it, MiB at the end."""
    begun = time.perf_counter()
    with subprocess.Popen(
        [python, "-c", code, str(path), backend, category, *map(str, files)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        words = next((line.split() for line in process.stdout if line.startswith("first")), [])
        cold = time.perf_counter() - begun
        rest = process.stdout.read().split()
    if process.returncode:
        raise SystemExit(f"{backend} failed")
    each, busy, memory = (float(word) for word in rest)
    return {
        "cold_s": cold,
        "cold_cpu_s": float(words[1]),
        "image_ms": 1000 * each,
        "image_cpu_ms": 1000 * busy,
        "memory_mib": memory / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--category", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--anomalib", nargs=2, metavar=("PYTHON", "MODEL"))
    parser.add_argument("--json", type=Path, help="also write all measurements here")
    asked = parser.parse_args()
    files = sorted(asked.photographs.iterdir())[: asked.images]
    ways = {
        "run, torch": (sys.executable, OURS, asked.run, "torch"),
        "bundle, ONNX Runtime": (sys.executable, OURS, asked.bundle, "onnx"),
        "bundle, OpenVINO": (sys.executable, OURS, asked.bundle, "openvino"),
    }
    if asked.anomalib:
        ways["anomalib, OpenVINO"] = (asked.anomalib[0], ANOMALIB, Path(asked.anomalib[1]), "openvino")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(asked.repeats):
        for name, (python, code, path, backend) in ways.items():
            found[name].append(measure(python, code, path, backend, asked.category, files))
    threads = os.environ.get("OMP_NUM_THREADS", "all cores")
    print(f"{len(files)} images, median of {asked.repeats}, threads: {threads}, load {os.getloadavg()[0]:.1f}\n")
    print("| way | cold start, s | of the processor, s | ms per image | of the processor, ms | memory, MiB |")
    print("|---|---|---|---|---|---|")
    for name, each in found.items():
        middle = {key: statistics.median(one[key] for one in each) for key in each[0]}
        print(
            f"| {name} | {middle['cold_s']:.2f} | {middle['cold_cpu_s']:.2f} | {middle['image_ms']:.1f} | "
            f"{middle['image_cpu_ms']:.1f} | {middle['memory_mib']:.0f} |"
        )
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
