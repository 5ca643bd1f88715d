"""What `muad check-data` finds of faults planted in a copy of real data, and what it finds beside them.

    python benchmarks/check_data.py ../shared/data

Each category is copied by itself; faults are drawn with a fixed seed. A planted fault counts as found if a finding of a
fitting kind names its file. Everything else of those kinds is counted apart: in real data some of it is true.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from muad.checking import DataCheck, check_data
from muad.datasets.index import open_catalog
from muad.images.reading import read_image, read_pair
from muad.types import Record

FITTING = {
    "truncated file": {"unreadable"},
    "duplicate": {"duplicate"},
    "near-duplicate": {"near_duplicate", "leakage"},  # it is both where the picture had a twin in the test set
    "leakage": {"leakage"},
    "bad part, large defect": {"suspicious"},
    "bad part, smaller defect": {"suspicious"},
}
"""Planted faults, and the kinds of finding that name them."""


@dataclass(frozen=True)
class Planted:
    """One fault and the file that has it."""

    fault: str
    path: Path


def plant(source: Path, target: Path, each: int = 5, seed: int = 0) -> list[Planted]:
    """Copy one category in MVTec layout and put faults into the copy.

    Args:
        source: The category's folder.
        target: Where the data set goes; the category keeps its name in it.
        each: Faults of each kind; half as many bad parts of each size, for a few are what happens.
        seed: Of the choice.
    """
    folder = target / source.name
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    random = np.random.default_rng(seed)
    records = open_catalog(target).records
    good = [record.path for record in records if record.split == "train"]
    chosen = [good[index] for index in random.permutation(len(good))[: 4 * each]]
    train, test = folder / "train" / "good", folder / "test" / "good"
    planted = [Planted("truncated file", path) for path in chosen[:each]]
    for path in chosen[:each]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    copies = [shutil.copyfile(path, train / f"copy_{path.name}") for path in chosen[each : 2 * each]]
    planted += [Planted("duplicate", path) for path in copies]
    for number, path in enumerate(chosen[2 * each : 3 * each]):
        planted.append(Planted("near-duplicate", _saved_anew(path, train / f"again_{path.stem}.jpg", number)))
    for number, path in enumerate(chosen[3 * each : 4 * each]):
        if number % 2:
            planted.append(Planted("leakage", _saved_anew(path, test / f"leak_{path.stem}.jpg", number)))
        else:
            planted.append(Planted("leakage", Path(shutil.copyfile(path, test / f"leak_{path.name}"))))
    bad = sorted((record for record in records if record.is_anomalous), key=_defect_area, reverse=True)
    large, rest = bad[: len(bad) // 4], bad[len(bad) // 4 :]
    for fault, choices in (("bad part, large defect", large), ("bad part, smaller defect", rest)):
        for index in random.permutation(len(choices))[: max(1, each // 2)]:
            record = choices[index]
            place = train / f"bad_{record.defect_type}_{record.path.name}"
            planted.append(Planted(fault, record.path.rename(place)))
    return planted


def count(planted: list[Planted], found: DataCheck) -> dict[str, tuple[int, int, int]]:
    """For each fault: how many were planted, how many of them found, and how many findings of that kind name none."""
    table = {}
    files = {fault.path for fault in planted}
    for name, kinds in FITTING.items():
        own = {fault.path for fault in planted if fault.fault == name}
        fitting = [finding for finding in found.findings if finding.kind in kinds]
        named = {path for finding in fitting for path in finding.images}
        others = sum(not files & set(finding.images) for finding in fitting)
        table[name] = (len(own), len(own & named), others)
    return table


def _saved_anew(path: Path, place: Path, number: int) -> Path:
    """The same picture saved at another quality, brighter, or cut by 2 % a side."""
    image = read_image(path)
    if number % 3 == 1:
        image = np.clip(image.astype(int) + 20, 0, 255).astype(np.uint8)
    if number % 3 == 2:
        rows, columns = (max(1, side // 50) for side in image.shape[:2])
        image = image[rows:-rows, columns:-columns]
    Image.fromarray(image).save(place, quality=70)
    return place


def _defect_area(record: Record) -> float:
    _, mask = read_pair(record)
    return 0.0 if mask is None else float((mask >= 128).mean())


def main(root: Path) -> None:
    """Print the table of all categories below a folder."""
    print("| category | fault | planted | found | other findings of the kind | without planting |")
    print("|---|---|---|---|---|---|")
    for source in sorted(folder for folder in root.iterdir() if folder.is_dir()):
        before = check_data(source)
        with tempfile.TemporaryDirectory() as folder:
            planted = plant(source, Path(folder))
            table = count(planted, check_data(folder))
        for name, (made, seen, others) in table.items():
            there = sum(finding.kind in FITTING[name] for finding in before.findings)
            print(f"| {source.name} | {name} | {made} | {seen} | {others} | {there} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
