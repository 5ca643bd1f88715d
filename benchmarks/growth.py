"""Time and memory of every step from photographs to figures, at more and more photographs in Real-IAD's layout.

    python benchmarks/growth.py 1500 15000 150000

For each count, photographs of five products in five views are generated (64 x 64 px JPEG, no two alike; of ten parts
six are for training, and of the others every second has a defect in one view), and the commands of the way are run one
after the other, each in a process of its own, by one thread. The network is small (a random transformer of four
blocks), so that what is measured is what grows with the data: lists, hashes, comparisons, kept features, maps and
figures. `--only data,check` leaves steps out; a step that takes more than `--limit` seconds of the clock is ended, and
that is said. The table goes to `benchmarks/growth.md`, which keeps the rows of counts that are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RESULT, RECORD = Path(__file__).with_name("growth.md"), Path(__file__).with_name("growth.json")
RECIPE = Path(__file__).with_name("small.toml")
PRODUCTS, VIEWS, SIDE = 5, 5, 64
STEPS = {
    "data": ("list", ["data", "summary", "DATA", "--json"]),
    "check": ("check-data", ["check-data", "DATA", "--json"]),
    "train": (
        "train: features kept, 100 steps, limits",
        ["train", "DATA", "--out", "RUN", "--recipe", str(RECIPE), "--device", "cpu", "--set", "training.cache=disk"],
    ),
    "evaluate": ("evaluate", ["evaluate", "RUN", "DATA", "--json"]),
    "report": ("report", ["report", "RUN", "--out", "REPORT"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step at one count.

    Attributes:
        count: Photographs in all.
        step: Of `STEPS`.
        cpu_s: Processor seconds.
        peak_mib: The most memory it held.
        ended: Why there are no figures; empty if there are.
    """

    count: int
    step: str
    cpu_s: float
    peak_mib: float
    ended: str = ""


def photographs(generator: np.random.Generator, product: int, count: int) -> Iterator[np.ndarray]:
    """Bolts of a product on a ground: all a little different."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for _ in range(count):
        row, column = generator.normal(SIDE / 2, 1.5, 2)
        away = np.hypot(rows - row, (columns - column) * (1 + 0.2 * product))
        shade = np.where(away < 18, 170 - 15 * product, 60) + generator.normal(0, 4, (SIDE, SIDE))
        yield np.clip(shade[..., None] + [0, 4 * product, 8], 0, 255).astype(np.uint8)


def write_data(root: Path, count: int) -> None:
    """Photographs, masks and split files as Real-IAD has them."""
    generator = np.random.default_rng(count)
    parts = max(1, count // (PRODUCTS * VIEWS))
    for number in range(PRODUCTS):
        name = f"part{number}"
        folder = root / "realiad_256" / name
        splits: dict[str, list[dict[str, str | None]]] = {"train": [], "test": []}
        images = photographs(generator, number, parts * VIEWS)
        for part in range(parts):
            is_bad = part % 10 in (7, 9)
            place = f"{'NG/QS' if is_bad else 'OK'}/S{part:06d}"
            (folder / place).mkdir(parents=True)
            for view in range(1, VIEWS + 1):
                image, stem = next(images), f"{place}/{name}_{part:06d}_{'NG_QS' if is_bad else 'OK'}_C{view}_2023"
                entry: dict[str, str | None] = {
                    "image_path": f"{stem}.jpg", "anomaly_class": "OK", "mask_path": None,
                }  # fmt: skip
                if is_bad and view == 1 + part % VIEWS:
                    top, left = generator.integers(20, 36, 2)
                    mask = np.zeros((SIDE, SIDE), np.uint8)
                    mask[top : top + 7, left : left + 7] = 255
                    image[mask > 0] = (230, 40, 30)
                    Image.fromarray(mask).save(folder / f"{stem}_mask.png")
                    entry |= {"anomaly_class": "QS", "mask_path": f"{stem}_mask.png"}
                Image.fromarray(image).save(folder / f"{stem}.jpg", quality=92)
                splits["train" if part % 10 < 6 else "test"].append(entry)
        lists = root / "realiad_jsons"
        lists.mkdir(exist_ok=True)
        (lists / f"{name}.json").write_text(json.dumps({"meta": {"normal_class": "OK"}, **splits}), encoding="utf-8")


def measure(count: int, step: str, arguments: list[str], folder: Path, limit: float) -> Row:
    """Run a command in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MUAD_CACHE": str(folder / "kept")}
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "muad", *arguments], stdout=subprocess.DEVNULL, stderr=said, env=environment
        )
        until, status = time.monotonic() + limit, 0
        while True:
            number, status, used = os.wait4(process.pid, os.WNOHANG)
            if number:
                break
            if time.monotonic() > until:
                process.send_signal(signal.SIGKILL)
                until = float("inf")
            time.sleep(0.05)
        said.seek(0)
        last = said.read().strip().splitlines()[-1:]
    ended = "" if status == 0 else ("time" if until == float("inf") else "".join(last)[:200] or f"status {status}")
    return Row(count=count, step=step, cpu_s=used.ru_utime + used.ru_stime, peak_mib=used.ru_maxrss / 1024, ended=ended)


def steps_of(count: int, chosen: list[str], limit: float) -> Iterator[Row]:
    """All steps at one count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "data", count)
        places = {"DATA": "data", "RUN": "run", "REPORT": "report.html"}
        for step, (_, arguments) in STEPS.items():
            if step in chosen:
                given = [str(folder / places[one]) if one in places else one for one in arguments]
                yield measure(count, step, given, folder, limit)
        shutil.rmtree(folder / "data")


def table(rows: list[Row]) -> str:
    """A line a step, two columns a count."""
    counts = sorted({row.count for row in rows})
    by_place = {(row.step, row.count): row for row in rows}
    lines = ["| step | " + " | ".join(f"{count:,}: CPU s | MiB" for count in counts) + " |"]
    lines.append("|---" * (1 + 2 * len(counts)) + "|")
    for step, (told, _) in STEPS.items():
        cells = []
        for count in counts:
            row = by_place.get((step, count))
            if row is None:
                cells += ["-", "-"]
            else:
                shown = f"{row.cpu_s:,.0f}" if row.cpu_s >= 10 else f"{row.cpu_s:.1f}"
                cells += [f"over {shown}, ended ({row.ended})" if row.ended else shown, f"{row.peak_mib:,.0f}"]
        lines.append(f"| {told} | " + " | ".join(cells) + " |")
    return "\n".join(["`python benchmarks/growth.py 1500 15000 150000`, one thread:", "", *lines]) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--only", default=",".join(STEPS), help="steps, with commas between them")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds of the clock for each step")
    given = parser.parse_args()
    known = [Row(**row) for row in json.loads(RECORD.read_text())] if RECORD.is_file() else []
    for count in given.counts:
        for row in steps_of(count, given.only.split(","), given.limit):
            known = [*(old for old in known if (old.count, old.step) != (row.count, row.step)), row]
            print(row, flush=True)
            RECORD.write_text(json.dumps([asdict(one) for one in known], indent=1) + "\n", encoding="utf-8")
            RESULT.write_text(table(known), encoding="utf-8")


if __name__ == "__main__":
    main()
