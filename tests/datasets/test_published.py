"""The published numbers agree with themselves, and a catalog is compared with the right ones."""

from pathlib import Path

import pytest

from muad.datasets.published import EXPECTED_COUNTS, compare_with_published
from muad.types import Catalog, Record


def catalog_of(counts: dict[str, tuple[int, int, int]], layout: str = "mvtec") -> Catalog:
    """A catalog with so many training, test normal and test anomalous images a category."""
    records = [
        Record(path=Path(f"{category}/{kind}/{i}.png"), category=category, split=split, is_anomalous=kind == 2)
        for category, numbers in counts.items()
        for kind, (split, number) in enumerate(zip(("train", "test", "test"), numbers, strict=True))
        for i in range(number)
    ]
    return Catalog(root=Path("data"), layout=layout, records=tuple(records))


def published(name: str) -> dict[str, tuple[int, int, int]]:
    per_category = EXPECTED_COUNTS[name].per_category
    return {
        category: (counts.train, counts.test_normal or 0, counts.test - (counts.test_normal or 0))
        for category, counts in per_category.items()
    }


@pytest.mark.parametrize("name", ["MVTec AD", "VisA"])
def test_categories_add_up_to_the_total(name: str) -> None:
    table, total = EXPECTED_COUNTS[name].per_category.values(), EXPECTED_COUNTS[name].total
    assert sum(counts.train for counts in table) == total.train
    assert sum(counts.test for counts in table) == total.test
    assert sum(counts.test_normal or 0 for counts in table) == total.test_normal


@pytest.mark.parametrize(("name", "number"), [("MVTec AD", 15), ("VisA", 12), ("Real-IAD", 30), ("MPDD", 6)])
def test_number_of_categories(name: str, number: int) -> None:
    assert len(EXPECTED_COUNTS[name].categories) == number


@pytest.mark.parametrize(("name", "layout"), [("MVTec AD", "mvtec"), ("VisA", "visa"), ("VisA", "mvtec")])
def test_a_complete_copy_matches(name: str, layout: str) -> None:
    assert compare_with_published(catalog_of(published(name), layout)) == (f"Matches the published {name}.",)


def test_a_category_that_differs_is_named_with_both_numbers() -> None:
    counts = published("MVTec AD")
    counts["screw"] = (319, 41, 119)
    sentences = compare_with_published(catalog_of(counts))
    assert "screw: 319 training images instead of 320, unlike the published MVTec AD." in sentences
    assert not any("carpet: " in sentence for sentence in sentences)


def test_a_part_of_a_data_set_says_what_is_absent() -> None:
    sentences = compare_with_published(catalog_of({"screw": (320, 41, 119)}))
    assert sentences[0] == "Matches the published MVTec AD in: screw."
    assert sentences[1].startswith("Not here of the 15 categories of MVTec AD: bottle,")


def test_totals_are_compared_where_categories_are_not_known() -> None:
    counts = dict.fromkeys(EXPECTED_COUNTS["MPDD"].categories, (148, 10, 60))
    assert compare_with_published(catalog_of(counts)) == (
        "All categories together: 420 test images instead of 458, unlike the published MPDD.",
    )


def test_a_data_set_of_ones_own_is_compared_with_none() -> None:
    assert compare_with_published(catalog_of({"screw": (320, 41, 119), "my_part": (1, 1, 1)})) == ()
    assert compare_with_published(catalog_of({"screw": (320, 41, 119)}, "folder")) == ()
