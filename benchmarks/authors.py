"""Time of the compared systems beside the authors' own code, on this machine: `python benchmarks/authors.py CODE`.

CODE is a folder with their repositories checked out under these names, at the commits of `authors_imports`: RD4AD,
ReContrast, SimpleNet, ml-destseg, patchcore-inspection, UniAD, ADer, MambaAD, mamba, Dinomaly, DiffusionAD. They need
the packages einops and PyYAML beside this project's. Nothing of theirs is copied; weights are random.

Theirs and ours take turns in one process with as many threads each. Other work on the machine then slows both alike:
it is processor time that is compared, of the middle turn. A system runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from figures import beside_authors

# Recipe, batch and side of a step in pixels, overrides, remark.
PLAN: dict[str, tuple[str, int, int, tuple[str, ...], str]] = {
    "patchcore": (
        "patchcore-mvtec-per-category", 10, 224, ("detector.coreset_fraction=0.1",),
        "10 images, 784 of 7,840 patches remembered",
    ),
    "rd4ad": ("rd4ad-mvtec", 2, 256, (), "batch 2 of the published 16"),
    "recontrast": ("recontrast-mvtec", 2, 256, (), "batch 2 of the published 16"),
    "simplenet": ("simplenet-mvtec-per-category", 2, 288, (), "batch 2 of the published 8"),
    "destseg": ("destseg-mvtec", 4, 256, (), "batch 4 of the published 32, damaged beforehand"),
    "uniad": ("uniad-mvtec", 8, 224, (), "batch 8 as published"),
    "vitad": ("vitad-mvtec", 8, 256, (), "batch 8 as published"),
    "mambaad": ("mambaad-mvtec", 1, 256, (), "one of 6 modules, 8 x 8 places of 512 channels"),
    "dinomaly": ("dinomaly-mvtec", 2, 392, (), "batch 2 of the published 16"),
    "diffusion_ad": (
        "diffusionad-mvtec", 1, 64, ("detector.resize_px=[64,64]",),
        "batch 1 of the published 16 at 64 px of 256, damaged beforehand",
    ),
}  # fmt: skip


def in_turns(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Wall and processor seconds of each call, the middle of several turns after one to warm up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            wall, busy = time.perf_counter(), _processor_s()
            call()
            taken[name].append((time.perf_counter() - wall, _processor_s() - busy))
    found = {}
    for name, turns in taken.items():
        wall, busy = (statistics.median(column) for column in zip(*turns[1:], strict=True))
        found[name] = {"wall_s": wall, "processor_s": busy}
    return found


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(code: Path, system: str, repeats: int) -> list[dict[str, Any]]:
    """The rows of a system, theirs and ours in turns in this process."""
    import authors_code
    import authors_ours
    import torch

    recipe, count, side, overrides, remark = PLAN[system]
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    authors_code.seed_all()
    theirs = authors_code.SYSTEMS[system](code, images)
    config = authors_ours.settled(recipe, overrides)
    rows = []
    detector = None
    for what, call in theirs.items():
        if what == authors_code.IMAGE:
            detector = authors_ours.build_detector(config) if detector is None else detector
            ours = authors_ours.predictions(detector.eval(), images)
        elif what == "fit":
            detector, look = authors_ours.fitted(config, images)
            ours = {authors_ours.FLOAT32: look}
        elif what == authors_code.MODULE:
            ours = authors_ours.module_of_mambaad(config, authors_code.scanned_tokens())
        else:
            ours = authors_ours.steps(config, images, **_of_step(system, what, config, images))
        found = in_turns({"theirs": call, **ours}, repeats)
        of = f"1, {side}" if what == authors_code.IMAGE else f"{remark}, {side}"
        rows.append({"system": system, "what": what, "of": of, **found})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _of_step(system: str, what: str, config: Any, images: Any) -> dict[str, Any]:
    """Where in a run a step is, and of which images."""
    import authors_code

    if system in ("destseg", "diffusion_ad"):
        late = what.endswith("segmenter")
        first = config.schedule.total_steps // 2 if late else 0
        return {"masks": authors_code.half_masks(images), "from_step": first}
    return {"from_step": config.schedule.total_steps // 2}  # beyond the ramps of losses


def main() -> None:
    """Measure every system, or those asked for, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="folder of the authors' repositories")
    parser.add_argument("--only", default="", help=f"some of {','.join(PLAN)}")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each, after one to warm up")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--out", type=Path, help="where rows are kept as JSON, those of earlier calls included")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        import torch

        torch.set_num_threads(asked.threads)
        print(json.dumps(_measured(asked)))
        return
    chosen = asked.only.split(",") if asked.only else list(PLAN)
    unknown = [name for name in chosen if name not in PLAN]
    if unknown:
        parser.error(f"--only must be of {', '.join(PLAN)}, got {', '.join(unknown)}")
    kept = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out and asked.out.is_file() else []
    for system in chosen:
        rows = _in_a_process(asked, system)
        kept = [row for row in kept if row["system"] != system] + rows
        kept.sort(key=lambda row: list(PLAN).index(row["system"]))
        if asked.out:
            asked.out.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    print(beside_authors([row for row in kept if asked.out or row["system"] in chosen]))


def _measured(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a system, or why there are none."""
    from authors_imports import MissingCodeError

    try:
        return measure(asked.code.absolute(), asked.row, asked.repeats)
    except (MissingCodeError, ImportError) as error:
        return [{"system": asked.row, "failed": str(error)}]


def _in_a_process(asked: argparse.Namespace, system: str) -> list[dict[str, Any]]:
    options = ["--row", system, "--repeats", str(asked.repeats), "--threads", str(asked.threads)]
    threads = {"OMP_NUM_THREADS": str(asked.threads), "TQDM_DISABLE": "1"}
    finished = subprocess.run(
        [sys.executable, __file__, str(asked.code), *options],
        stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, **threads},
    )  # fmt: skip
    if finished.returncode:
        return [{"system": system, "failed": "see the message above"}]
    rows: list[dict[str, Any]] = json.loads(finished.stdout.splitlines()[-1])
    return rows


if __name__ == "__main__":
    main()
