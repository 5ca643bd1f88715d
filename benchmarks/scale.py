"""Predict by Ray against one process: seconds, processor seconds and whether every cell is the same.

    $ python benchmarks/scale.py BUNDLE IMAGES [--judges 2] [--part-images 256] [--limit 2000] [--threads 1 2]

IMAGES is a folder of photographs, for instance of `muad demo-data`. The rows are printed as Markdown. Each way runs in
processes of its own, whose processor time the system counts; for Ray that is its own processes and the judges.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from muad.outputs import find_images
from muad.outputs.tables import COLUMNS


def _timed(arguments: list[str], threads: int) -> tuple[float, float]:
    """Wall and processor seconds of a call of muad; those of its processes are counted by a reaper above them."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    reaper = (
        "import ctypes, os, resource, subprocess, sys, time\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"  # orphans become children of this process
        "code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        os.waitpid(-1, 0)\n"
        "    except ChildProcessError:\n"
        "        break\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)\n"
        "sys.exit(code)\n"
    )
    begun = time.monotonic()
    command = [sys.executable, "-c", reaper, sys.executable, "-m", "muad", "predict", *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return time.monotonic() - begun, float(done.stdout)


def _rows(out: Path) -> list[tuple[str, ...]]:
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return sorted(tuple(row[name] for name in COLUMNS) for row in csv.DictReader(file))


def _parts(out: Path) -> list[tuple[str, ...]]:
    from pyarrow import parquet

    table = parquet.read_table(out / "parts").to_pylist()
    return sorted(tuple("" if row[name] is None else str(row[name]) for name in COLUMNS) for row in table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("images", type=Path)
    parser.add_argument("--judges", type=int, default=2)
    parser.add_argument("--part-images", type=int, default=256)
    parser.add_argument("--limit", type=int, default=0, help="images at most, through a list; 0 for all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the one process, each measured")
    asked = parser.parse_args()
    found = [image.path.absolute() for image in find_images([asked.images])]
    found = found[: asked.limit or len(found)]
    common = ["--save", "none", "--backend", "onnx", "--precision", "fp32"]
    with tempfile.TemporaryDirectory(prefix="muad-scale-") as scratch:
        folder = Path(scratch) / "images"
        for image in found:
            link = folder / image.relative_to(asked.images.absolute())
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(image)
        print(f"{len(found)} images, {os.cpu_count()} processors, bundle {Path(asked.bundle).name}\n")
        print("| way | seconds | images/s | processor seconds | same cells |")
        print("|---|---|---|---|---|")
        first: list[tuple[str, ...]] | None = None
        ray = ["--engine", "ray", "--judges", str(asked.judges), "--part-images", str(asked.part_images)]
        alone: list[tuple[str, int, list[str]]] = [
            (f"one process, threads: {threads}", threads, []) for threads in asked.threads
        ]
        for name, threads, options in (*alone, (f"Ray, {asked.judges} judges of one thread", 1, ray)):
            out = Path(scratch) / name.replace(" ", "-")
            wall, used = _timed([asked.bundle, str(folder), "--out", str(out), *common, *options], threads)
            cells = _parts(out) if options else _rows(out)
            first = first or cells
            print(
                f"| {name} | {wall:.1f} | {len(found) / wall:.1f} | {used:.1f} | {'yes' if cells == first else 'NO'} |"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
