"""How well products are recognised, and strangers are not: `python benchmarks/recognition.py DATA...`.

Every category of every data set is remembered from its training images, as `muad train` does. Then every single one,
pair and triple of them is taken as the products of a run, and the test images of all categories are recognised: own
good and bad parts should be named rightly, all others be unknown. Three rules side by side: the one in force, the
nearest by plain distance with the farthest of a category's own as its limit, and the one of the releases before (least
deviation from what is usual in a category, one limit for all). Then all categories as one run: every category, and the
same test images turned and under other light. Prints the tables of docs/recognition-proof.md, and costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
from measure import time_call

from muad.datasets.index import open_catalog
from muad.decisions.conformal import p_values
from muad.encoders.product_encoder import ProductEncoder, product_encoder
from muad.images.reading import read_image
from muad.recognition import COPIES, Appearance, Products, look_at, shrink
from muad.types import Record

VARIANTS = ("as it is", "turned by 90 degrees", "turned by up to 15 degrees", "turned by any angle")
VARIANTS += ("20 % darker", "20 % brighter")


@dataclass(frozen=True, slots=True)
class Category:
    """What is known of one: all copies of the images to remember, and the test images."""

    seen: Appearance
    tests: tuple[Record, ...]
    test_seen: Appearance

    @property
    def is_bad(self) -> np.ndarray:
        """Which test images show bad parts."""
        return np.array([record.is_anomalous for record in self.tests])


class InForce:
    """The package's rule. What a run of other products adds is only which of the columns there are."""

    def __init__(self, known: Mapping[str, Category], tests: Appearance) -> None:
        self.products = Products.learn({name: each.seen for name, each in known.items()}, COPIES)
        self._names = self.products.categories
        self._distances = self.products.distances(tests)

    def names(self, run: Sequence[str]) -> np.ndarray:
        """What each test image is called; empty for unknown."""
        columns = [self._names.index(name) for name in run]
        distances = self._distances[:, columns]
        limits = np.array([self.products.limits[name] for name in run])
        nearest = distances.argmin(axis=1)
        return np.where(distances.min(axis=1) <= limits[nearest], np.array(run)[nearest], "")


class Plain:
    """Nearest as a whole by plain distance; the farthest of a category's own, each to the others, is its limit."""

    def __init__(self, known: Mapping[str, Category], tests: Appearance) -> None:
        self._columns, self._limits = {}, {}
        for name, each in known.items():
            rows = each.seen.whole.reshape(-1, COPIES, each.seen.whole.shape[1])
            self._columns[name] = nearest_three(tests.whole, rows.reshape(-1, rows.shape[2]))
            self._limits[name] = to_others(rows).max()

    def names(self, run: Sequence[str]) -> np.ndarray:
        """What each test image is called; empty for unknown."""
        distances = np.stack([self._columns[name] for name in run], axis=1)
        nearest = distances.argmin(axis=1)
        limits = np.array([self._limits[name] for name in run])
        return np.where(distances.min(axis=1) <= limits[nearest], np.array(run)[nearest], "")


class Before:
    """Least deviation from what is usual in a category, features counted in theirs; one limit for all, at 0.5 %."""

    def __init__(self, known: Mapping[str, Category], tests: Appearance) -> None:
        self._rows = {
            name: each.seen.whole.reshape(-1, COPIES, each.seen.whole.shape[1]) for name, each in known.items()
        }
        self._tests = tests.whole

    def names(self, run: Sequence[str]) -> np.ndarray:
        """What each test image is called; empty for unknown."""
        rows = [self._rows[name] for name in run]
        scale = np.maximum(np.concatenate([each - each.mean(axis=(0, 1)) for each in rows]).std(axis=(0, 1)), 1e-6)
        columns, calibration = [], []
        for each in rows:
            own = to_others(each / scale)
            mean, deviation = usual(own)
            flat = each.reshape(-1, each.shape[2]) / scale
            columns.append((nearest_three(self._tests / scale, flat) - mean) / deviation)
            for place, distance in enumerate(own):
                mean, deviation = usual(np.delete(own, place))
                calibration.append((distance - mean) / deviation)
        deviations = np.stack(columns, axis=1)
        rate = max(0.005, 1 / (len(calibration) + 1))
        is_known = p_values(deviations.min(axis=1), np.array(calibration)) > (rate if rate <= 0.05 else 0)
        return np.where(is_known, np.array(run)[deviations.argmin(axis=1)], "")


def nearest_three(given: np.ndarray, remembered: np.ndarray) -> np.ndarray:
    """Mean Euclidean distance to the nearest three."""
    squared = (given**2).sum(1)[:, None] + (remembered**2).sum(1) - 2 * given @ remembered.T
    return np.sqrt(np.maximum(np.partition(squared, 2, axis=1)[:, :3], 0)).mean(axis=1)


def to_others(rows: np.ndarray) -> np.ndarray:
    """Of every image as it is to all copies of the others."""
    return np.concatenate(
        [nearest_three(own[:1], np.delete(rows, place, 0).reshape(-1, rows.shape[2])) for place, own in enumerate(rows)]
    )


def usual(distances: np.ndarray) -> tuple[float, float]:
    """Mean and deviation, the latter at least a tenth of the mean."""
    return distances.mean(), max(distances.std(), 0.1 * distances.mean())


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


def look(data: Sequence[Path], encoder: ProductEncoder) -> dict[str, Category]:
    """Every category of the data sets."""
    known = {}
    for folder in data:
        records = open_catalog(folder).records
        seen = look_at([record for record in records if record.split == "train"], encoder)
        for name, copies in seen.items():
            tests = tuple(record for record in records if record.category == name and record.split == "test")
            test_seen = encoder.encode([shrink(read_image(record.path)) for record in tests])
            known[name] = Category(copies, tests, test_seen)
    return dict(sorted(known.items()))


def print_sets(title: str, known: Mapping[str, Category], strangers: Sequence[str], left_out: Sequence[str]) -> None:
    """Every single category, pair and triple as a run, by all three rules; one row each.

    Args:
        title: Of the table.
        known: All categories.
        strangers: Those that no run is of.
        left_out: Those that take no part, neither as products nor as strangers.
    """
    known = {name: each for name, each in known.items() if name not in left_out}
    tests = Appearance.joined([each.test_seen for each in known.values()])
    shown = np.concatenate([[name] * len(each.tests) for name, each in known.items()])
    bad = np.concatenate([each.is_bad for each in known.values()])
    products = {name: each for name, each in known.items() if name not in strangers}
    print(f"\n{title}: {', '.join(products)}; only as strangers: {', '.join(sorted({*known} - {*products})) or 'none'}")
    print("\n| products of a run | runs | rule | strangers named | good unknown | misnamed | bad unknown | misnamed |")
    print("|---|---|---|---|---|---|---|---|")
    taken: dict[tuple[str, str], int] = {}
    for size in (1, 2, 3):
        runs = list(combinations(products, size))
        for rule in (Before(products, tests), Plain(products, tests), InForce(products, tests)):
            counts = np.zeros((5, 2))
            for run in runs:
                names = rule.names(run)
                own = np.isin(shown, run)
                for row, (chosen, hit) in enumerate(
                    (
                        (~own, names != ""),
                        (own & ~bad, names == ""),
                        (own & ~bad, (names != shown) & (names != "")),
                        (own & bad, names == ""),
                        (own & bad, (names != shown) & (names != "")),
                    )
                ):
                    counts[row] += (chosen & hit).sum(), chosen.sum()
                if isinstance(rule, InForce) and size == 3:
                    for pair in zip(shown[~own & (names != "")], names[~own & (names != "")], strict=True):
                        taken[pair] = taken.get(pair, 0) + 1
            cells = [f"{100 * hits / max(total, 1):.1f}" for hits, total in counts]
            print(f"| {size} | {len(runs)} | {type(rule).__name__} | {' | '.join(cells)} |", flush=True)
    most = sorted(taken.items(), key=lambda item: -item[1])[:4]
    print(
        "\nmost often, in triples:", "; ".join(f"{one} called {other} {count}" for (one, other), count in most) or "-"
    )


def print_foreign(known: Mapping[str, Category], strangers: Sequence[str], left_out: Sequence[str]) -> None:
    """Where other things begin: what the limits are taken towards."""
    kept = {name: each for name, each in known.items() if name not in left_out}
    products = Products.learn({name: each.seen for name, each in kept.items() if name not in strangers}, COPIES)
    near = [
        products.distances(each.test_seen)[:, [other != name for other in products.categories]].ravel()
        for name, each in kept.items()
    ]
    points = np.quantile(np.concatenate(near), (0.002, 0.005, 0.01, 0.02))
    print("\ndistances of other things, 0.2, 0.5, 1, 2 % lie below:", ", ".join(f"{point:.3f}" for point in points))


def print_whole(known: Mapping[str, Category], encoder: ProductEncoder) -> None:
    """All categories as one run: a row each, then one per variant over all test images."""
    products = Products.learn({name: each.seen for name, each in known.items()}, COPIES)
    print(f"\n{products.describe()}\n")
    print("| | good, bad | right, good % | bad % | unknown, good % | bad % | misnamed, good % | bad % |")
    print("|---" * 8 + "|")
    tests = [(record, name) for name, each in known.items() for record in each.tests]
    bad = np.array([record.is_anomalous for record, _ in tests])
    shown = np.array([name for _, name in tests])

    def row(title: str, names: np.ndarray, chosen: np.ndarray) -> None:
        cells = []
        for hit in (names == shown, names == "", (names != shown) & (names != "")):
            for kind in (~bad, bad):
                here = chosen & kind
                cells.append(f"{100 * hit[here].mean():.1f}" if here.any() else "-")
        print(f"| {title} | {(chosen & ~bad).sum()}, {(chosen & bad).sum()} | {' | '.join(cells)} |", flush=True)

    def named(seen: Appearance) -> np.ndarray:
        return np.array(["" if found.is_unknown else found.nearest for found in products.recognise(seen)])

    plain = named(Appearance.joined([each.test_seen for each in known.values()]))
    for name in known:
        row(name, plain, shown == name)
    everything = np.ones(len(tests), dtype=bool)
    row("all, as it is", plain, everything)
    for variant in VARIANTS[1:]:
        random = np.random.default_rng(0)
        images = [shrink(vary(read_image(record.path), variant, random)) for record, _ in tests]
        row(f"all, {variant}", named(encoder.encode(images)), everything)
    image = shrink(read_image(tests[0][0].path))
    for count in (1, 16):
        for what, call in (
            ("encoder", lambda: encoder.encode([image] * count)),  # noqa: B023
            ("with distances", lambda: products.recognise(encoder.encode([image] * count))),  # noqa: B023
        ):
            taken = time_call(call, warmups=3, budget_s=10)
            print(f"one thread, {count} at once, {what}: {1e3 * taken['best_s'] / count:.1f} ms a photograph at best")


def main() -> None:
    """Learn, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--strangers", nargs="*", default=[], help="categories that are never products")
    parser.add_argument("--kept-apart", nargs="*", default=[], help="categories of a second table alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = product_encoder(torch.device("cpu"))
    known = look(options.data, encoder)
    print_foreign(known, options.strangers, options.kept_apart)
    print_sets("chosen on", known, options.strangers, options.kept_apart)
    if options.kept_apart:
        print_sets("with those kept apart", known, options.strangers, [])
    print_whole({name: each for name, each in known.items() if name not in options.strangers}, encoder)


if __name__ == "__main__":
    main()
