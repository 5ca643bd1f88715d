"""What a second `muad` on the same cores costs: one process alone, then two at once, with threads that sleep or spin.

`python benchmarks/two_at_once.py DATA --steps 20` trains on a data set; with `--run RUN` it predicts that set's test
images instead (`--backend` chooses the runtime). Prints seconds alone and together and their ratio, medians of
`--repeats` interleaved measurements: 2 is what two processes that share the cores fairly must cost. `spin` is GNU
OpenMP's own default, which `muad` replaces.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAITING = {
    "as muad sets it": {},
    "spin": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
}
_UNSET = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def command(options: argparse.Namespace, out: Path) -> list[str]:
    """One process's command line."""
    begin = [sys.executable, "-m", "muad"]
    if options.run is None:
        settings = [f"schedule.total_steps={options.steps}", f"schedule.warmup_steps={max(1, options.steps // 10)}"]
        settings += [f"detector.easy_ramp_steps={max(1, options.steps // 10)}", "training.calibration_share=0"]
        return [*begin, "train", str(options.data), "--out", str(out), *(f"--set={value}" for value in settings)]
    images = [str(path) for path in sorted(options.data.glob("*/test/*")) if path.is_dir()]
    chosen = ["--backend", options.backend, "--precision", options.precision]
    return [*begin, "predict", str(options.run), *images, "--out", str(out), *chosen]


def seconds(options: argparse.Namespace, processes: int, environment: dict[str, str]) -> float:
    """From the start of some processes to the end of the last."""
    surroundings = {name: value for name, value in os.environ.items() if name not in _UNSET} | environment
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        running = [
            subprocess.Popen(
                command(options, Path(folder) / str(number)),
                env=surroundings | {"MUAD_CACHE": f"{folder}/cache{number}"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        said = [process.communicate()[1] for process in running]
        taken = time.perf_counter() - begun
    failed = [text for process, text in zip(running, said, strict=True) if process.returncode]
    if failed:
        sys.exit(failed[0])
    return taken


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--run", type=Path, help="predict with this run instead of training")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--waiting", choices=WAITING, action="append", help="only this; may be repeated")
    options = parser.parse_args()
    names = options.waiting or list(WAITING)
    taken: dict[tuple[str, int], list[float]] = {(name, count): [] for name in names for count in (1, 2)}
    for number in range(options.repeats):
        for (name, count), values in taken.items():
            values.append(seconds(options, count, WAITING[name]))
            print(f"{number + 1}/{options.repeats} {name}, {count}: {values[-1]:.1f} s", file=sys.stderr)
    print("| threads | one alone, s | two at once, s | ratio |\n|---|---|---|---|")
    for name in names:
        alone, together = taken[name, 1], taken[name, 2]
        ratio = statistics.median(two / one for one, two in zip(alone, together, strict=True))
        print(f"| {name} | {statistics.median(alone):.1f} | {statistics.median(together):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
