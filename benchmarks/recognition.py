"""How well products are recognised, and others are not: `python benchmarks/recognition.py DATA...`.

Every category of every data set is learned from its training images, as `muad train` does, and looked for among the
test images of all: as they are, turned, and under other light. Then each category in turn is left out of what is
learned; its test images are unknown products. Prints the tables of docs/recognition.md and what one photograph costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from measure import time_call

from muad.data.images import read_image
from muad.data.index import open_catalog
from muad.recognition import ProductEncoder, Products, Recognition, learn_features, product_encoder, shrink
from muad.types import Record

AS_IT_IS = "as it is"
VARIANTS = (AS_IT_IS, "turned by 90 degrees", "turned by up to 15 degrees", "turned by any angle")
VARIANTS += ("20 % darker", "20 % brighter")


def vary(image: np.ndarray, variant: str, random: np.random.Generator) -> np.ndarray:
    """The photograph as another hand, lamp or camera might have given it."""
    most = {"turned by up to 15 degrees": 15, "turned by any angle": 180}.get(variant)
    if most is not None:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-most, most), 1)
        return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
    if variant == "turned by 90 degrees":
        return np.ascontiguousarray(np.rot90(image))
    gain = {"20 % darker": 0.8, "20 % brighter": 1.2}.get(variant, 1.0)
    return np.clip(image * gain, 0, 255).astype(np.uint8)


def encode_tests(records: list[Record], encoder: ProductEncoder) -> dict[str, np.ndarray]:
    """Features of all test images, by variant."""
    random, rows = np.random.default_rng(0), {variant: [] for variant in VARIANTS}
    for record in records:
        image = read_image(record.path)
        found = encoder.encode([shrink(vary(image, variant, random)) for variant in VARIANTS])
        for variant, row in zip(VARIANTS, found, strict=True):
            rows[variant].append(row)
    return {variant: np.stack(found) for variant, found in rows.items()}


def share(found: list[Recognition], records: list[Record], counts: Callable[[Recognition, Record], bool]) -> str:
    """Good and bad parts apart: in how many percent `counts` holds."""
    cells = []
    for anomalous in (False, True):
        chosen = [pair for pair in zip(found, records, strict=True) if pair[1].is_anomalous == anomalous]
        cells.append(f"{100 * np.mean([counts(*pair) for pair in chosen]):.1f}" if chosen else "-")
    return " | ".join(cells)


def is_right(found: Recognition, record: Record) -> bool:
    """Whether the category is named, rather than another one or none."""
    return found.category == record.category


def is_nearest(found: Recognition, record: Record) -> bool:
    """Whether the category is the nearest, be it called unknown or not."""
    return found.nearest == record.category


def is_unknown(found: Recognition, _: Record) -> bool:
    """Whether it was called an unknown product."""
    return found.is_unknown


def print_recognition(products: Products, tests: list[Record], features: dict[str, np.ndarray]) -> None:
    """One row per category, then one per variant over all."""
    print(products.describe())
    heads = [
        f"{head}, {kind} %" for head in ("nearest is right", "named rightly", "unknown") for kind in ("good", "bad")
    ]
    print(f"\n| | good, bad | {' | '.join(heads)} |\n|---" + "|---" * 7 + "|")

    def row(title: str, chosen: list[int], variant: str) -> None:
        records, found = [tests[place] for place in chosen], products.recognise(features[variant][chosen])
        bad = sum(record.is_anomalous for record in records)
        cells = [share(found, records, counts) for counts in (is_nearest, is_right, is_unknown)]
        print(f"| {title} | {len(records) - bad}, {bad} | {' | '.join(cells)} |")

    for name in products.categories:
        row(name, [place for place, record in enumerate(tests) if record.category == name], AS_IT_IS)
    for variant in VARIANTS:
        row(f"all, {variant}", list(range(len(tests))), variant)


def print_left_out(products: Products, tests: list[Record], features: dict[str, np.ndarray]) -> None:
    """Each category in turn as the unknown product."""
    heads = "unknown of the left out, good % | bad % | unknown of the others, good % | bad % | taken for"
    print(f"\n| left out | {heads} |\n|---|---|---|---|---|---|")
    names = np.array([record.category for record in tests])
    for name in products.categories:
        rest = Products({other: rows for other, rows in products.features.items() if other != name})
        found = rest.recognise(features[AS_IT_IS])
        places = (np.flatnonzero(names == name), np.flatnonzero(names != name))
        cells = [
            share([found[place] for place in part], [tests[place] for place in part], is_unknown) for part in places
        ]
        taken = sorted({found[place].category for place in places[0] if not found[place].is_unknown})
        print(f"| {name} | {' | '.join(cells)} | {', '.join(taken) or '-'} |")


def main() -> None:
    """Learn, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = [record for data in options.data for record in open_catalog(data).records]
    tests = [record for record in records if record.split == "test"]
    encoder = product_encoder(torch.device("cpu"))
    products = Products(learn_features([record for record in records if record.split == "train"], encoder))
    features = encode_tests(tests, encoder)
    print_recognition(products, tests, features)
    print_left_out(products, tests, features)
    image = read_image(tests[0].path)
    for count in (1, 16):
        taken = time_call(lambda: products.recognise(encoder.encode([shrink(image)] * count)), warmups=3, budget_s=10)  # noqa: B023
        print(f"\none thread, {count} at once: {1e3 * taken['best_s'] / count:.1f} ms per photograph at best")


if __name__ == "__main__":
    main()
