"""Strangers are called unknown, own parts by their name: over all pairs and triples of products, whatever they are."""

from itertools import combinations

import numpy as np
import pytest

from muad.recognition import COPIES, Appearance, Products

Known = dict[str, tuple[Appearance, Appearance, np.ndarray]]


@pytest.fixture(scope="module")
def learned(known: Known) -> tuple[Products, dict[str, np.ndarray]]:
    """All products, and the distances of every product's other photographs to them."""
    products = Products.learn({name: remembered for name, (remembered, _, _) in known.items()}, COPIES)
    return products, {name: products.distances(shown) for name, (_, shown, _) in known.items()}


class _Counts:
    """Photographs recognised by runs of some of the products, and how many of them wrongly."""

    def __init__(self) -> None:
        self.strangers = self.good = self.bad = 0
        self.named = self.good_unknown = self.bad_unknown = self.misnamed = 0

    def add(self, known: Known, learned: tuple[Products, dict[str, np.ndarray]], run: tuple[str, ...]) -> None:
        everything, distances = learned
        products = Products(
            {name: everything.memories[name] for name in run}, {name: everything.own[name] for name in run}
        )
        columns = [everything.categories.index(name) for name in products.categories]
        for name, (_, _, bad) in known.items():
            for found, is_bad in zip(products.named(distances[name][:, columns]), bad, strict=True):
                if name not in run:
                    self.strangers, self.named = self.strangers + 1, self.named + (not found.is_unknown)
                    continue
                self.misnamed += found.category not in (name, "unknown product")
                if is_bad:
                    self.bad, self.bad_unknown = self.bad + 1, self.bad_unknown + found.is_unknown
                else:
                    self.good, self.good_unknown = self.good + 1, self.good_unknown + found.is_unknown


@pytest.mark.parametrize("size", [1, 2, 3])
def test_strangers_are_unknown_and_own_parts_are_named(
    known: Known, learned: tuple[Products, dict[str, np.ndarray]], size: int
) -> None:
    counts = _Counts()
    for run in combinations([name for name in known if name != "varied"], size):
        counts.add(known, learned, run)
    assert counts.named <= 0.01 * counts.strangers
    assert counts.misnamed == 0
    assert counts.good_unknown <= 0.01 * counts.good
    assert counts.bad_unknown <= 0.05 * counts.bad


def test_a_varied_product_attracts_no_strangers_and_is_told_of(
    known: Known, learned: tuple[Products, dict[str, np.ndarray]]
) -> None:
    counts = _Counts()
    for pair in combinations([name for name in known if name != "varied"], 2):
        counts.add(known, learned, (*pair, "varied"))
    assert counts.named <= 0.03 * counts.strangers
    products, _ = learned
    assert "varied varies too much to be recognised safely" in products.describe()
    assert set(products.doubts) == {"varied"}
