"""Whether training by several processes and machines is the training of one, also after one was killed.

    python benchmarks/processes.py DATA

Every row trains the same small Dinomaly (a random transformer of four blocks, 96 steps of eight images) on the good
photographs of DATA on the CPU and holds it against the first: one process, two and four, kept features or none, two
"machines" that meet on loopback addresses, and runs of which a process is killed by SIGKILL after a checkpoint and
that another number of processes goes on with. The table goes to `benchmarks/processes.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

RESULT = Path(__file__).with_name("processes.md")
RECIPE = Path(__file__).with_name("small.toml")
STEPS, SAVED_EVERY = 96, 4
SETTINGS = (
    f"schedule.total_steps={STEPS}",
    "training.batch_size=8",
    "training.log_every_steps=1",
    f"training.save_every_steps={SAVED_EVERY}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every run shares.

    Attributes:
        data: Photographs.
        folder: Where runs lie.
    """

    data: Path
    folder: Path

    def command(self, run: str, cache: str, *, resumed: bool = False) -> list[str]:
        """Of one process of a run, without what starts it."""
        command = ["-m", "muad", "train", str(self.data), "--out", str(self.folder / run), "--device", "cpu"]
        if resumed:
            return [*command, "--resume"]
        settings = [part for one in (*SETTINGS, f"training.cache={cache}") for part in ("--set", one)]
        return [*command, "--recipe", str(RECIPE), *settings]

    def environment(self, run: str) -> dict[str, str]:
        """Kept features are each run's own, so that each makes them."""
        return os.environ | {"OMP_NUM_THREADS": "1", "MUAD_CACHE": str(self.folder / f"{run}-kept")}


def launchers(processes: int, machines: int) -> list[list[str]]:
    """What starts the processes of a run: one launcher a machine."""
    if processes == machines == 1:
        return [[sys.executable]]
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes // machines}"]
    if machines == 1:
        return [[*start, "--standalone"]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = [f"--nnodes={machines}", "--master-addr=127.0.0.1", f"--master-port={port}"]
    return [[*start, *meeting, f"--node-rank={rank}", f"--local-addr=127.0.0.{rank + 1}"] for rank in range(machines)]


def train(
    site: Site, run: str, processes: int, *, machines: int = 1, cache: str = "disk", resumed: bool = False,
    killed_at: int | None = None,
) -> str:  # fmt: skip
    """One run, or the part of it until a process is killed; returns what was said on stderr."""
    started = [
        subprocess.Popen(
            [*launcher, *site.command(run, cache, resumed=resumed)], env=site.environment(run),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for launcher in launchers(processes, machines)
    ]  # fmt: skip
    if killed_at is not None:
        wait_for_checkpoint(site.folder / run, killed_at, started[0])
        workers = children(started[0].pid) or [started[0].pid]
        os.kill(workers[-1], signal.SIGKILL)
        started[0].wait(600)
        if latest(site.folder / run) >= STEPS:
            raise SystemExit(f"{run} was killed too late, after its last step")
    said = "".join(process.communicate(timeout=600)[1] for process in started)
    failed = any(process.returncode for process in started)
    if failed != (killed_at is not None):
        raise SystemExit(f"{run}: unexpected end\n{said[-3000:]}")
    return said


def wait_for_checkpoint(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until a run has saved so many steps."""
    until = time.monotonic() + 300
    while latest(run) < step:
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{run.name} has ended, or taken too long, before step {step} was saved")
        time.sleep(0.01)


def latest(run: Path) -> int:
    """The last step that was saved."""
    return max((int(folder.name) for folder in run.glob("checkpoints/*") if folder.name.isdigit()), default=0)


def children(parent: int) -> list[int]:
    """Processes a launcher has started, in their order."""
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in text.split()]


def apart(one: Path, other: Path) -> float:
    """Of the weights after the last step, relative to their size."""
    (ours,), (expected,) = (list(run.glob(f"checkpoints/*{STEPS}/weights.safetensors")) for run in (one, other))
    found, wanted = load_file(ours), load_file(expected)
    square = sum(float(((found[name] - value) ** 2).sum()) for name, value in wanted.items())
    return float((square / sum(float((value**2).sum()) for value in wanted.values())) ** 0.5)


def steps(run: Path) -> list[int]:
    """As its metrics name them."""
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="photographs, at least eight good ones")
    given = parser.parse_args()
    lines = [
        "| run | went on after step | weights off the first run's | steps on record, once each | said once |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        site = Site(data=given.data.absolute(), folder=Path(name))
        for run, what, parts in (
            ("one", "one process", [(1, {})]),
            ("two", "2 processes", [(2, {})]),
            ("four", "4 processes", [(4, {})]),
            ("four-off", "4 processes, features not kept", [(4, {"cache": "off"})]),
            ("machines", "2 machines of 2 processes", [(4, {"machines": 2})]),
            ("killed-2", "2 processes, one killed, then 2", [(2, {"killed_at": 8}), (2, {"resumed": True})]),
            ("killed-4", "4 processes, one killed, then 1", [(4, {"killed_at": 8}), (1, {"resumed": True})]),
            ("grown", "one process, killed, then 4", [(1, {"killed_at": 8}), (4, {"resumed": True})]),
        ):
            begun = []
            for processes, options in parts:
                begun.append(latest(site.folder / run))
                said = train(site, run, processes, **options)
            done = steps(site.folder / run)
            whole = "yes" if done == list(range(STEPS)) else f"no: {done}"
            once = "yes" if said.count("Recognised") == 1 else f"{said.count('Recognised')} times"
            after = str(begun[-1]) if len(begun) > 1 else ""
            lines.append(
                f"| {what} | {after} | {apart(site.folder / run, site.folder / 'one'):.1e} | {whole} | {once} |"
            )
            print(lines[-1], flush=True)
    text = "\n".join(["`python benchmarks/processes.py DATA`", "", *lines]) + "\n"
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
