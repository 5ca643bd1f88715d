"""What DiffusionAD makes of test images, to look at: `python benchmarks/reconstructions.py RUN DATA --out PNG`.

A column per image: the image, what it would be without its anomaly, the anomaly map and the true mask. One normal image
of every category, then images of every kind of defect.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from muad.checkpoints.checkpoint import load_detector
from muad.datasets.index import open_catalog
from muad.detectors import DiffusionAd
from muad.images.reading import read_pair
from muad.types import Record

CELL_PX = 112
COLUMNS = 10


def choose(records: tuple[Record, ...]) -> list[Record]:
    """Images of all kinds in turns, the normal ones first."""
    kinds: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        kinds.setdefault((record.category, record.defect_type or ""), []).append(record)
    lines = [kinds[key] for key in sorted(kinds)]
    turns = [line[turn] for turn in range(max(map(len, lines))) for line in lines if turn < len(line)]
    return turns[:COLUMNS]


def column(detector: DiffusionAd, record: Record) -> np.ndarray:
    """Four pictures below each other."""
    image, mask = read_pair(record)
    view = detector.preprocessing.view(image)
    truth = np.zeros(view.shape[:2], np.uint8) if mask is None else detector.preprocessing.view(mask)
    images = torch.from_numpy(detector.preprocessing.normalise(view[None]))
    restored = (detector.restore(images, [record.category])[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    anomaly = (detector.predict_of(images, [record.category]).anomaly_map[0].numpy() * 255).round().astype(np.uint8)
    cells = [view, restored, np.repeat(anomaly[..., None], 3, 2), np.repeat(truth[..., None], 3, 2)]
    return np.concatenate([np.asarray(Image.fromarray(cell).resize((CELL_PX, CELL_PX))) for cell in cells])


def draw(run: Path, data: Path, out: Path) -> None:
    """The sheet of a run of one category (or of all together)."""
    detector = load_detector(run)
    if not isinstance(detector, DiffusionAd):
        raise SystemExit(f"run must be of DiffusionAD, got {run}")
    records = choose(open_catalog(data, for_training=False).select(split="test"))
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([column(detector, record) for record in records], axis=1)).save(out)


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw(options.run, options.data, options.out)


if __name__ == "__main__":
    main()
