"""Three products, then two more: what an extension does to the old ones, and the new ones beside a training of all.

`python benchmarks/extend.py DATA WORK --json FIGURES` takes good photographs of five products of a data set, trains a
run of the first three, extends it by the other two, and trains another run of all five at once. All three are evaluated
on the same test photographs. `muad demo-data DATA --image-px 256` draws such a data set.

Processor time is of this process and its threads, side by side in one run; only ratios of it say something elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import muad
from muad.datasets.index import open_catalog
from muad.runs.history import read_history
from muad.runs.scores import read_scores
from muad.types import Record

METRICS = ("image_auroc", "pixel_auroc", "pixel_aupro")


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


def figures(run: Path, data: Path) -> dict[str, dict[str, float | None]]:
    """Metrics of each product, and the part of good and bad photographs that does not pass at the run's limits."""
    report = muad.evaluate(run, data, device="cpu")
    limits = muad.Predictor(run, device="cpu").limits
    found: dict[str, dict[str, float | None]] = {}
    for name, own in report.categories.items():
        found[name] = {metric: own.values()[metric] for metric in METRICS}
        for kind, wanted in (("good_stopped", False), ("bad_stopped", True)):
            rows = [row for row in read_scores(run / "evaluation.csv")
                    if row.category == name and row.is_anomalous is wanted]  # fmt: skip
            verdicts = [None if limits is None else limits.verdict(name, row.score) for row in rows]
            found[name][kind] = sum(verdict in ("review", "reject") for verdict in verdicts) / len(rows)
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
    found = {name: figures(run, sets["old" if name == "three" else "all"]) for name, run in runs.items()}
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
    yield "| product | run | image AUROC | pixel AUROC | AUPRO | good stopped | bad stopped |"
    yield "|---|---|---|---|---|---|---|"
    for name in told["products"]:
        ways = ("three", "extended", "five") if name in old else ("extended", "five")
        words = {"three": "before", "extended": "extended", "five": "all five at once"}
        for way in ways:
            own = told["figures"][way][name]
            shown = ["-" if own[metric] is None else f"{own[metric]:.4f}" for metric in METRICS]
            stopped = [f"{100 * own[kind]:.0f} %" for kind in ("good_stopped", "bad_stopped")]
            yield f"| {name} | {words[way]} | {' | '.join([*shown, *stopped])} |"
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
