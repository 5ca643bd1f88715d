"""How much 1, 2, 4, 8 and 16 good photographs of a product give, by memories of patches and by Dinomaly.

    python benchmarks/few_shot.py toy toy101
    python benchmarks/few_shot.py memory toy101 --out toy-memory.json
    python benchmarks/few_shot.py dinomaly DATA --out toy-dinomaly.json
    python benchmarks/few_shot.py show real-*.json --curve docs/images/few-shot.webp

The photographs are drawn as `muad train --shots` draws them, and judged by the detectors and metrics of the package.
Each file holds one row for each category, way, count and draw; it is written anew after each, and the same command goes
on where it stopped. `show` prints the table of docs/few-shot.md, means over the categories with their standard
deviation over the draws, and draws the curve.

Of a memory an image is encoded once, whatever the number of memories it is held against; there is a memory for each
product, so that a search takes a fifth of the time. Seconds are those of this process's CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import muad
from muad.calibration.shots import draw_shots
from muad.configuration.run_config import TrainingConfig
from muad.datasets.alike import alike_groups
from muad.datasets.index import open_catalog
from muad.detectors import PatchCore, PatchCoreConfig
from muad.detectors.base import evaluating
from muad.evaluation.figures import evaluate_detector
from muad.toy_factory import write_toy_factory
from muad.training.batches import look_through
from muad.types import Catalog, Record

SHOTS = (1, 2, 4, 8, 16)
QUARTERS = (90.0, 180.0, 270.0)
EIGHTHS = (45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)
MEMORIES: dict[str, tuple[float, ...]] = {
    "memory": (),
    "memory, 90 degrees": QUARTERS,
    "memory, 45 degrees": EIGHTHS,
}
MOST_PATCHES, CANDIDATES = 2_000, 16_000  # of a product, as without a recipe for three products
METRICS = ("image_auroc", "pixel_ap", "pixel_aupro")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one detector found on one category.

    Attributes:
        data: Name of the data set.
        category: What was judged.
        way: Which kind of detector.
        shots: Photographs it learned from; 0 for all there are.
        draw: Seed they were drawn by.
        seconds: Of the CPU, for learning and judging; of a memory without encoding.
    """

    data: str
    category: str
    way: str
    shots: int
    draw: int
    image_auroc: float | None
    pixel_ap: float | None
    pixel_aupro: float | None
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What is the same where it is measured again."""
        return self.data, self.category, self.way, self.shots, self.draw


class Rows:
    """Rows in a file.

    Args:
        path: The file; it may hold some.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_rows([path]) if path.is_file() else []

    def holds(self, *key: object) -> bool:
        """Whether that was measured."""
        return key in {row.key for row in self.rows}

    def add(self, row: Row) -> None:
        """Write it down, and say it."""
        self.rows.append(row)
        self.path.write_text(json.dumps([asdict(one) for one in self.rows], indent=1) + "\n", encoding="utf-8")
        print(f"{row.data} {row.category}, {row.way}, {row.shots} shots, draw {row.draw}: {row.image_auroc:.3f}")


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Rows of some files."""
    return [Row(**values) for path in paths for values in json.loads(path.read_text(encoding="utf-8"))]


# -------------------------------------------------------------------------------------------------------- memories


class EncodedOnce(PatchCore):
    """PatchCore that keeps what it encoded: other memories of the same encoder are given it again."""

    known: dict[bytes, tuple[torch.Tensor, ...]]

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps of the layers, from the store where they are there."""
        found = []
        for image in images:
            key = hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()
            if key not in self.known:
                made = super().encode(image[None])
                self.known[key] = made if isinstance(made, tuple) else (made,)
            found.append(self.known[key])
        return tuple(torch.cat(maps) for maps in zip(*found, strict=True))


def memories(
    catalog: Catalog,
    out: Rows,
    draws: Sequence[int],
    ways: Sequence[str],
    with_all: bool,
    categories: Sequence[str],
    every: int,
    shots_of: Sequence[int],
    px: int,
) -> None:
    """Rows of memories of patches of some categories, judged on one test image in so many of each kind."""
    groups = alike_groups([one for one in catalog.select(split="train") if one.category in categories])
    for category in categories:
        known: dict[bytes, tuple[torch.Tensor, ...]] = {}
        good = catalog.select(category=category, split="train")
        tested = thinned(catalog.select(category=category, split="test"), every)
        counts = [(shots, draw) for draw in draws for shots in shots_of] + [(0, 1)] * with_all
        for shots, draw in counts:
            for way in ways:
                if out.holds(catalog.root.name, category, way, shots, draw) or (shots == 0 and way != "memory"):
                    continue
                own = {category: groups[category]}
                drawn = draw_shots(good, own, shots, draw, catalog.root).drawn if shots else good
                row = remember(drawn, tested, MEMORIES[way], known, draw, px)
                out.add(replace(row, data=catalog.root.name, category=category, way=way, shots=shots, draw=draw))


def remember(
    drawn: Sequence[Record],
    tested: Sequence[Record],
    turns: tuple[float, ...],
    known: dict[bytes, tuple[torch.Tensor, ...]],
    seed: int,
    px: int,
) -> Row:
    """The figures of a memory of a few photographs."""
    patches = len(drawn) * (1 + len(turns)) * (px // 14) ** 2
    share = min(1.0, CANDIDATES / patches)
    detector = EncodedOnce(
        PatchCoreConfig(
            resize_px=(px, px),
            crop_px=(px, px),
            turns=turns,
            coreset_fraction=share,
            candidate_fraction=share,
            most_patches=MOST_PATCHES,
        )
    )
    detector.known = known
    for record in () if known else tested:  # what is encoded for all memories counts for none
        detector.encode(torch.from_numpy(detector.preprocessing.normalise(views_of(detector, record))))
    begun = time.process_time()
    with evaluating(detector), torch.no_grad():
        batches = look_through(drawn, detector, TrainingConfig(), progress=silent, note=silent)
        detector.fit(batches, seed, silent)
    report = evaluate_detector(detector, tested, protocol="exact")
    seconds = time.process_time() - begun
    (found,) = report.categories.values()
    values = {name: found.values()[name] for name in METRICS}
    return Row(data="", category="", way="", shots=0, draw=0, seconds=round(seconds, 1), **values)


def thinned(records: Sequence[Record], every: int) -> list[Record]:
    """One in so many of the good images and of each kind of defect, the first of each among them."""
    kinds = {kind: [one for one in records if one.defect_type == kind] for kind in {one.defect_type for one in records}}
    kept = {one.path for own in kinds.values() for one in own[::every]}
    return [one for one in records if one.path in kept]


def views_of(detector: PatchCore, record: Record) -> Any:
    """The views of an image."""
    return detector.preprocessing.views(detector.preprocessing.read(record.path))


def silent(*_: object) -> None:
    """For what tells its progress."""


# -------------------------------------------------------------------------------------------------------- dinomaly

DINOMALY = {"Dinomaly": "none", "Dinomaly, augmented": "few_shot"}


def dinomaly(
    catalog: Catalog,
    out: Rows,
    draws: Sequence[int],
    ways: Sequence[str],
    shots_of: Sequence[int],
    settings: Sequence[str],
    px: int,
) -> None:
    """Rows of Dinomaly, one detector for all categories, trained by `muad train` and judged by `muad evaluate`."""
    for shots in shots_of:
        for draw in draws:
            for way in ways:
                if out.holds(catalog.root.name, catalog.categories[0], way, shots, draw):
                    continue
                asked = [
                    "detector.name=dinomaly",
                    f"detector.resize_px=[{px}, {px}]",
                    f"detector.crop_px=[{px}, {px}]",
                    *settings,
                    f"training.shots={shots}",
                    f"training.shots_seed={draw}",
                    f"training.seed={draw}",
                    "training.calibration_share=0",
                    f"training.augmentation={DINOMALY[way]}",
                ]
                begun = time.process_time()
                with tempfile.TemporaryDirectory() as folder:
                    run = Path(folder) / "run"
                    muad.train(catalog.root, run, overrides=asked, layout=catalog.layout, device="cpu")
                    report = muad.evaluate(run, catalog.root, layout=catalog.layout, protocol="exact", device="cpu")
                seconds = time.process_time() - begun
                for category, found in report.categories.items():
                    values = {name: found.values()[name] for name in METRICS}
                    out.add(
                        Row(data=catalog.root.name, category=category, way=way, shots=shots, draw=draw,
                            seconds=round(seconds / len(report.categories), 1), **values)
                    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- table and curve


def means(rows: Sequence[Row], way: str, shots: int, metric: str) -> list[float]:
    """Of every draw that was measured on all of them, the mean over the categories."""
    categories = len({row.category for row in rows})
    by_draw: dict[int, list[float]] = {}
    for row in rows:
        value = getattr(row, metric)
        if (row.way, row.shots) == (way, shots) and value is not None:
            by_draw.setdefault(row.draw, []).append(value)
    whole = [values for _, values in sorted(by_draw.items()) if len(values) == categories]
    return [math.fsum(values) / len(values) for values in whole]


def cell(values: Sequence[float]) -> str:
    """Mean, and standard deviation over draws where there are several, in percent."""
    if not values:
        return "\N{EN DASH}"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of markdown."""
    yield "| way | photographs | image AUROC | pixel AP | AUPRO | draws |"
    yield "|---|---|---|---|---|---|"
    for way in dict.fromkeys(row.way for row in rows):
        counts = sorted({row.shots for row in rows if row.way == way}, key=lambda count: count or math.inf)
        for shots in counts:
            found = [means(rows, way, shots, metric) for metric in METRICS]
            yield f"| {way} | {shots or 'all'} | {' | '.join(map(cell, found))} | {len(found[0])} |"


def by_category(rows: Sequence[Row]) -> Iterator[str]:
    """Image AUROC of every category, lines of markdown."""
    names = sorted({row.category for row in rows})
    yield f"| way | photographs | {' | '.join(names)} |"
    yield "|---|---|" + "---|" * len(names)
    for way in dict.fromkeys(row.way for row in rows):
        counts = sorted({row.shots for row in rows if row.way == way}, key=lambda count: count or math.inf)
        for shots in counts:
            own = [[row for row in rows if (row.way, row.shots, row.category) == (way, shots, name)] for name in names]
            cells = [cell([row.image_auroc for row in each if row.image_auroc is not None]) for each in own]
            yield f"| {way} | {shots or 'all'} | {' | '.join(cells)} |"


def draw_curve(rows: Sequence[Row], path: Path) -> None:
    """Image AUROC over the number of photographs, a line for each way."""
    import io

    import matplotlib as mpl
    from PIL import Image

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=110)
    for way in dict.fromkeys(row.way for row in rows):
        every = {shots: means(rows, way, shots, "image_auroc") for shots in SHOTS}
        counts = [shots for shots, values in every.items() if values]
        found = [every[shots] for shots in counts]
        middle = [100 * statistics.mean(values) for values in found]
        spread = [100 * statistics.stdev(values) if len(values) > 1 else 0.0 for values in found]
        axes.errorbar(counts, middle, yerr=spread, marker="o", markersize=4, capsize=3, linewidth=1.4, label=way)
    axes.set_xscale("log", base=2)
    axes.set_xticks(SHOTS, [str(shots) for shots in SHOTS])
    axes.set_xlabel("good photographs of each product")
    axes.set_ylabel("image AUROC, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    held = io.BytesIO()
    figure.savefig(held, format="png")
    plt.close(figure)
    Image.open(held).convert("RGB").save(path, quality=80, method=6)


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, ways in (("memory", MEMORIES), ("dinomaly", DINOMALY)):
        own = verbs.add_parser(verb)
        own.add_argument("data", type=Path)
        own.add_argument("--out", type=Path, required=True)
        own.add_argument("--draws", nargs="+", type=int, default=(1, 2, 3) if verb == "memory" else (1,))
        own.add_argument("--shots", nargs="+", type=int, default=SHOTS)
        own.add_argument("--px", type=int, default=168, help="Side of the images.")
        own.add_argument("--ways", nargs="+", choices=tuple(ways), default=tuple(ways))
        if verb == "memory":
            own.add_argument("--categories", nargs="+", help="Some of them; else all.")
            own.add_argument("--every", type=int, default=1, help="Judge one test image in so many of each kind.")
            own.add_argument("--all", action="store_true", help="Also a memory of all training photographs.")
        else:
            own.add_argument("--set", dest="settings", action="append", default=[], help="section.key=value")
    verbs.add_parser("toy").add_argument("out", type=Path)
    show = verbs.add_parser("show")
    show.add_argument("files", type=Path, nargs="+")
    show.add_argument("--curve", type=Path)
    asked = parser.parse_args()
    if asked.verb == "toy":  # another seed than the demo's, and more photographs
        write_toy_factory(asked.out, seed=101, train_per_category=64, test_normal=24, test_per_defect=4)
        return
    if asked.verb == "show":
        rows = read_rows(asked.files)
        print("\n".join((*table(rows), "", *by_category(rows))))
        if asked.curve is not None:
            draw_curve(rows, asked.curve)
        return
    torch.set_num_threads(1)
    catalog, out = open_catalog(asked.data), Rows(asked.out)
    common: dict[str, Any] = {"draws": asked.draws, "ways": asked.ways, "shots_of": asked.shots, "px": asked.px}
    if asked.verb == "memory":
        categories = asked.categories or catalog.categories
        memories(catalog, out, with_all=asked.all, categories=categories, every=asked.every, **common)
    else:
        dinomaly(catalog, out, settings=asked.settings, **common)


if __name__ == "__main__":
    main()
