"""Products: the nearest one is named, none where none fits, and the promised rate is kept."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from muad.errors import CheckpointError
from muad.recognition import UNKNOWN_PRODUCT, Products

Cloud = Callable[..., np.ndarray]


@pytest.fixture
def products(cloud: Cloud) -> Products:
    return Products({"nut": cloud(40.0, 120, 1), "bolt": cloud(0.0, 120, 2)})


def test_images_are_named_by_the_nearest_product(products: Products, cloud: Cloud) -> None:
    found = products.recognise(np.concatenate([cloud(0.0, 20, 3), cloud(40.0, 20, 4)])[:, 0])
    assert [each.category for each in found] == ["bolt"] * 20 + ["nut"] * 20
    assert products.categories == ("bolt", "nut")


def test_what_is_far_from_all_is_unknown_and_its_nearest_is_still_named(products: Products, cloud: Cloud) -> None:
    for found in products.recognise(cloud(60.0, 10, 5)[:, 0]):
        assert found.category == UNKNOWN_PRODUCT
        assert (found.nearest, found.is_unknown, found.p_value) == ("nut", True, 1 / 241)


def test_good_images_are_called_unknown_no_more_often_than_promised(cloud: Cloud) -> None:
    shares = []
    for seed in range(20):
        # Two products of different spread: they set one limit together.
        spread = {"fine": cloud(0.0, 60, seed), "coarse": 40 + 3 * cloud(0.0, 60, 100 + seed)}
        products = Products(spread, unknown_rate=0.05)
        new = np.concatenate([cloud(0.0, 500, 200 + seed), 40 + 3 * cloud(0.0, 500, 300 + seed)])[:, 0]
        shares.append(np.mean([found.is_unknown for found in products.recognise(new)]))
    assert np.mean(shares) < 0.05
    assert np.mean(shares) > 0.01  # and the limit is not so loose that it says nothing


def test_p_values_of_good_images_are_spread_over_zero_to_one(products: Products, cloud: Cloud) -> None:
    p_values = [found.p_value for found in products.recognise(cloud(0.0, 2000, 6)[:, 0])]
    for level in (0.1, 0.5, 0.9):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.12)


def test_copies_make_changed_images_known(cloud: Cloud) -> None:
    images, shift = cloud(0.0, 100, 7), np.full((1, 1, 8), 15.0, np.float32)
    other = cloud(60.0, 100, 8)
    changed = (cloud(0.0, 50, 9) + shift)[:, 0]
    plain = Products({"bolt": images, "nut": other})
    copied = Products({name: np.concatenate([rows, rows + shift], 1) for name, rows in plain.features.items()})
    assert all(found.is_unknown for found in plain.recognise(changed))
    assert sum(found.is_unknown for found in copied.recognise(changed)) <= 2


@pytest.mark.parametrize(("count", "rate"), [(5, 0.0), (9, 0.0), (10, 1 / 21), (50, 1 / 101), (100, 0.005)])
def test_few_images_support_a_coarser_rate_or_none(cloud: Cloud, count: int, rate: float) -> None:
    products = Products({"bolt": cloud(0.0, count, 1), "nut": cloud(40.0, count, 2)})
    assert products.rate == pytest.approx(rate)
    assert products.recognise(np.full((1, 8), 900.0, np.float32))[0].is_unknown == (rate > 0)


def test_what_is_missing_for_the_rate_is_said(cloud: Cloud) -> None:
    def said(count: int, rate: float = 0.005) -> str:
        return Products({"bolt": cloud(0.0, count, 1), "nut": cloud(40.0, count, 2)}, rate).describe()

    assert said(5).endswith("none is called unknown: that needs 19 images")
    assert said(50).endswith("at most 0.99 % of images like them are called unknown (0.5 % needs 99 images more)")
    assert said(100).endswith("at most 0.5 % of images like them are called unknown")
    assert said(100, 0.0).endswith("2 categories are recognised from 200 good images, none is called unknown")


def test_equal_images_are_known_and_others_are_not(cloud: Cloud) -> None:
    same = np.repeat(cloud(0.0, 1, 1), 30, axis=0)
    products = Products({"bolt": same, "nut": cloud(40.0, 30, 2)})
    assert products.recognise(same[0])[0].category == "bolt"
    assert products.recognise(same[0] + 200)[0].is_unknown


def test_saved_products_say_the_same(products: Products, cloud: Cloud, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    loaded = Products.load(tmp_path, "fingerprint")
    given = cloud(1.0, 50, 3)[:, 0]
    for one, other in zip(products.recognise(given), loaded.recognise(given), strict=True):
        assert one.category == other.category
        assert one.p_value == pytest.approx(other.p_value, abs=0.02)  # features are kept in half precision
    facts = tomllib.loads((tmp_path / "products.toml").read_text())
    assert facts["images"] == {"bolt": 120, "nut": 120}


def test_an_edited_rate_is_in_force_and_a_wrong_one_is_named(products: Products, cloud: Cloud, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    file = tmp_path / "products.toml"
    text = file.read_text()
    far = cloud(60.0, 1, 5)[:, 0]
    assert products.recognise(far)[0].is_unknown
    file.write_text(text.replace("unknown_rate = 0.005", "unknown_rate = 0"))
    assert not Products.load(tmp_path, "fingerprint").recognise(far)[0].is_unknown
    for wrong in ("0.5", "-1", '"much"', "true", "nan"):
        file.write_text(text.replace("unknown_rate = 0.005", f"unknown_rate = {wrong}"))
        with pytest.raises(
            CheckpointError, match=r"unknown_rate .*must be (a number|a finite number|from 0 to 0.05), got"
        ):
            Products.load(tmp_path, "fingerprint")


def test_files_that_cannot_be_used_are_named_with_the_remedy(products: Products, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    with pytest.raises(CheckpointError, match=r"this release's muad-tiny \(other\).*learn_products"):
        Products.load(tmp_path, "other")
    (tmp_path / "products.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"products\.safetensors must be as it was written.*learn_products"):
        Products.load(tmp_path, "fingerprint")
    (tmp_path / "products.safetensors").unlink()
    with pytest.raises(CheckpointError, match="must be a readable safetensors file"):
        Products.load(tmp_path, "fingerprint")


def test_a_product_needs_two_images(cloud: Cloud) -> None:
    with pytest.raises(CheckpointError, match="at least 2 images each, got fewer of nut"):
        Products({"bolt": cloud(0.0, 5, 1), "nut": cloud(40.0, 1, 2)})
