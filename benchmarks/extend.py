"""Three products, then two more: what an extension does to the old ones, and the new ones beside a training of all.

`python benchmarks/extend.py DATA WORK --json FIGURES` takes good photographs of five products of a data set, trains a
run of the first three, extends it by the other two, and trains another run of all five at once. All three score the
same test photographs. `muad demo-data DATA --image-px 256` draws such a data set.

Processor time is of this process and its threads, side by side in one run; only ratios of it say something elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.datasets.index import open_catalog
from muad.decisions.limits import read_limits
from muad.detectors import PatchCore
from muad.metrics.ranking import rank_metrics
from muad.runs.folder import read_run
from muad.runs.history import read_history
from muad.types import Record


def chosen(records: Sequence[Record], train: int, test: int) -> Iterator[Record]:
    """So many good photographs to train on, so many to test on, and as many bad ones, of each product."""
    for name in sorted({record.category for record in records}):
        own = [record for record in records if record.category == name]
        good = [record for record in own if record.split == "test" and not record.is_anomalous]
        bad = [record for record in own if record.is_anomalous]
        yield from [record for record in own if record.split == "train"][:train]
        yield from good[:test]
        yield from bad[:: max(1, -(-len(bad) // test))][:test]


def manifest(path: Path, records: Sequence[Record]) -> Path:
    """A data set of these photographs."""
    rows = [
        {
            "path": str(record.path.absolute()),
            "category": record.category,
            "label": "bad" if record.is_anomalous else "good",
            "split": record.split,
            "mask": "" if record.mask_path is None else str(record.mask_path.absolute()),
            "defect_type": record.defect_type or "",
        }
        for record in records
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def timed(name: str, work: Path, done: Callable[[], Any]) -> float:
    """Processor seconds of making a run; those written down where it was made before."""
    stored = work / f"{name}.seconds"
    if not stored.is_file():
        begun = time.process_time()
        done()
        stored.write_text(repr(time.process_time() - begun), encoding="utf-8")
    return float(stored.read_text(encoding="utf-8"))


@torch.no_grad()
def scored(runs: Mapping[str, Path], records: Sequence[Record]) -> dict[str, dict[Path, float]]:
    """Scores of photographs by several runs; those that share a frozen encoder encode each photograph once."""
    detectors = {name: load_detector(run).eval() for name, run in runs.items()}
    found: dict[str, dict[Path, float]] = {name: {} for name in runs}
    first = next(iter(detectors.values()))
    for record in records:
        preprocessing = first.preprocessing
        views = preprocessing.views(preprocessing.read(record.path), f"image {record.path}", record.category)
        images = torch.from_numpy(preprocessing.normalise(views))
        patches = first.patches(first.encode(images)) if isinstance(first, PatchCore) else None
        for name, detector in detectors.items():
            if patches is not None and isinstance(detector, PatchCore):
                measured = {key: tensor.numpy() for key, tensor in detector.distances(patches).items()}
                found[name][record.path] = float(detector.map_head(measured)[1][0])
            else:
                found[name][record.path] = float(detector.predict(images).score[0])
    return found


def figures(run: Path, scores: Mapping[Path, float], records: Sequence[Record]) -> dict[str, dict[str, float | None]]:
    """Image AUROC of each product of a run, and the part of good and bad photographs that its limits stop."""
    products = tuple(read_run(run)["categories"])
    limits, found = read_limits(run, products), dict[str, dict[str, float | None]]()
    for name in products:
        own = [record for record in records if record.category == name]
        found[name] = {
            "image_auroc": rank_metrics([one.is_anomalous for one in own], [scores[one.path] for one in own]).auroc
        }
        for kind, wanted in (("good_stopped", False), ("bad_stopped", True)):
            chosen = [one for one in own if one.is_anomalous is wanted]
            verdicts = [None if limits is None else limits.verdict(name, scores[one.path]) for one in chosen]
            found[name][kind] = sum(verdict in ("review", "reject") for verdict in verdicts) / len(chosen)
    return found


def main() -> None:
    """Train, extend, train all, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path, help="folder for the runs; what it holds is gone on with")
    parser.add_argument("--old", type=int, default=3, help="products of the first run; the others are added")
    parser.add_argument("--train", type=int, default=24, help="good photographs of each product to train on")
    parser.add_argument("--test", type=int, default=12, help="good ones, and bad ones, of each to test on")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="as for muad train")
    parser.add_argument("--steps", type=int, default=0, help="of the extension; 0 for its default")
    parser.add_argument("--json", type=Path, help="where the figures go")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    records = list(chosen(open_catalog(asked.data).records, asked.train, asked.test))
    names = sorted({record.category for record in records})
    old = [record for record in records if record.category in names[: asked.old]]
    new = [record for record in records if record.category not in names[: asked.old]]
    sets = {name: manifest(asked.work / f"{name}.jsonl", own)
            for name, own in (("old", old), ("new", new), ("all", records))}  # fmt: skip
    runs = {name: asked.work / name for name in ("three", "extended", "five")}
    settings = muad.ExtensionSettings(steps=asked.steps)
    making: dict[str, Callable[[], Any]] = {
        "three": lambda: muad.train(sets["old"], runs["three"], overrides=asked.settings, device="cpu"),
        "extended": lambda: muad.extend(runs["three"], sets["new"], runs["extended"], settings=settings, device="cpu"),
        "five": lambda: muad.train(sets["all"], runs["five"], overrides=asked.settings, device="cpu"),
    }
    seconds = {name: timed(name, asked.work, done) for name, done in making.items()}
    tested = [record for record in records if record.split == "test"]
    scores = scored(runs, tested)
    found = {name: figures(run, scores[name], tested) for name, run in runs.items()}
    (entry,) = read_history(runs["extended"])
    told = {
        "products": names,
        "photographs": {"train": asked.train, "test_good": asked.test, "test_bad": asked.test},
        "settings": asked.settings,
        "processor_seconds": seconds,
        "ratio": seconds["five"] / seconds["extended"],
        "figures": found,
        "left_out": dict(entry.left_out),
        "memory": {name: list(counts) for name, counts in entry.memory.items()},
        "movements": {name: {"images": one.images, "lower": one.lower, "higher": one.higher, "part": one.part,
                             "changes": len(one.changes), "limits": one.limits}
                      for name, one in entry.products.items()},
    }  # fmt: skip
    if asked.json is not None:
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for line in table(told, names[: asked.old]):
        print(line)


def table(told: dict[str, Any], old: Sequence[str]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "| product | run | image AUROC | good stopped | bad stopped |"
    yield "|---|---|---|---|---|"
    for name in told["products"]:
        ways = ("three", "extended", "five") if name in old else ("extended", "five")
        words = {"three": "before", "extended": "extended", "five": "all five at once"}
        for way in ways:
            own = told["figures"][way][name]
            stopped = " | ".join(f"{100 * own[kind]:.0f} %" for kind in ("good_stopped", "bad_stopped"))
            yield f"| {name} | {words[way]} | {own['image_auroc']:.4f} | {stopped} |"
    yield ""
    yield "| old product | compared | lower | higher | moved, part of the way | verdicts changed | limits |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in told["movements"].items():
        part = "-" if one["part"] is None else f"{100 * one['part']:.2g} %"
        yield (
            f"| {name} | {one['images']} | {one['lower']} | {one['higher']} | {part} | {one['changes']} "
            f"| {one['limits']} |"
        )
    yield ""
    spent = told["processor_seconds"]
    yield (
        f"processor seconds: three {spent['three']:.0f}, extension {spent['extended']:.0f}, five {spent['five']:.0f}; "
        f"training all five takes {told['ratio']:.2f} times as long as the extension"
    )


if __name__ == "__main__":
    main()
