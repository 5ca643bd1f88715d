"""Products: the nearest one is named, none where none fits, the promised rate is kept, and doubts are told."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from muad.errors import CheckpointError
from muad.recognition import UNKNOWN_PRODUCT, Appearance, Products
from muad.recognition.learning import Recogniser, has_products

Cloud = Callable[..., Appearance]


@pytest.fixture
def products(cloud: Cloud) -> Products:
    return Products.learn({"nut": cloud(1, 60, 1), "bolt": cloud(0, 60, 2)}, 1)


def test_images_are_named_by_the_nearest_product(products: Products, cloud: Cloud) -> None:
    found = products.recognise(Appearance.joined([cloud(0, 20, 3), cloud(1, 20, 4)]))
    assert [each.category for each in found] == ["bolt"] * 20 + ["nut"] * 20
    assert products.categories == ("bolt", "nut")
    assert all(each.distance < each.limit == products.limits[each.nearest] for each in found)


def test_what_is_far_from_all_is_unknown_and_its_nearest_is_still_named(products: Products, cloud: Cloud) -> None:
    for found in products.recognise(cloud(2, 10, 5)):
        assert found.category == UNKNOWN_PRODUCT
        assert found.nearest in ("bolt", "nut")
        assert (found.is_unknown, found.p_value) == (True, 1 / 61)


def test_one_product_alone_knows_what_it_is_not(cloud: Cloud) -> None:
    products = Products.learn({"bolt": cloud(0, 30, 1)}, 1)
    assert not any(found.is_unknown for found in products.recognise(cloud(0, 50, 2)))
    assert all(found.is_unknown for found in products.recognise(cloud(1, 50, 3)))
    assert products.describe().startswith("products: 1 category is recognised from 30 good images, at most 3.2 %")


def test_good_images_are_called_unknown_no_more_often_than_promised(cloud: Cloud) -> None:
    shares = []
    for seed in range(5):
        # One product as varied as one may be: its limit is that of its own images, and has no room beyond.
        products = Products.learn({"fine": cloud(0, 60, seed), "coarse": cloud(1, 60, 100 + seed, 0.185)}, 1, 0.05)
        new = Appearance.joined([cloud(0, 200, 200 + seed), cloud(1, 200, 300 + seed, 0.185)])
        shares.append(np.mean([found.is_unknown for found in products.recognise(new)]))
    assert np.mean(shares) < 0.05


def test_p_values_of_good_images_are_spread_over_zero_to_one(products: Products, cloud: Cloud) -> None:
    p_values = [found.p_value for found in products.recognise(cloud(0, 400, 6))]
    for level in (0.1, 0.5, 0.9):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.15)


def test_a_product_that_takes_in_others_is_held_back_and_told_of(cloud: Cloud) -> None:
    products = Products.learn({"bolt": cloud(0, 40, 1), "anything": cloud(1, 40, 2, 0.6)}, 1)
    assert products.limits["anything"] < products.own["anything"].max()
    assert set(products.doubts) == {"anything"}
    assert "anything varies too much to be recognised safely: 100 % of its good images lie" in products.describe()
    assert all(found.is_unknown for found in products.recognise(cloud(3, 40, 3)))


def test_products_that_look_alike_are_told_of(cloud: Cloud) -> None:
    products = Products.learn({"left": cloud(0, 40, 1), "right": cloud(0, 40, 2)}, 1)
    assert products.doubts["left"] == "has a limit that takes in 100 % of the images of right"
    assert "; right has a limit that takes in 100 % of the images of left" in products.describe()


def test_what_is_said_is_believed_within_the_limit_and_not_beyond(cloud: Cloud) -> None:
    products = Products.learn({"left": cloud(0, 40, 1), "right": cloud(0, 40, 2), "nut": cloud(1, 40, 3)}, 1)
    given = cloud(0, 20, 4)
    assert {found.category for found in products.recognise(given)} == {"left", "right"}
    assert {found.category for found in products.recognise(given, ["right"] * 20)} == {"right"}
    assert {found.category for found in products.recognise(given, ["nut"] * 20)} == {"left", "right"}
    assert products.recognise(given, ["unheard of"] * 20) == products.recognise(given)


def test_the_limit_follows_the_rate_and_leaves_room_for_bad_parts(cloud: Cloud) -> None:
    seen = {"bolt": cloud(0, 60, 1)}
    usual, strict, never = (Products.learn(seen, 1, rate) for rate in (0.02, 0.05, 0.0))
    assert usual.own["bolt"].max() < usual.limits["bolt"]
    assert strict.limits["bolt"] < usual.limits["bolt"]
    assert never.limits["bolt"] == float("inf")
    assert not any(found.is_unknown for found in never.recognise(cloud(1, 5, 2)))
    assert never.describe() == "products: 1 category is recognised from 60 good images, none is called unknown"


def test_with_few_images_nothing_is_promised_and_strangers_are_unknown_all_the_same(cloud: Cloud) -> None:
    products = Products.learn({"bolt": cloud(0, 5, 1), "nut": cloud(1, 60, 2)}, 1)
    assert "(how often good ones are called unknown is known from 19 images of each, got 5 of bolt)" in (
        products.describe()
    )
    assert products.limits["bolt"] > products.limits["nut"]
    assert not any(found.is_unknown for found in products.recognise(cloud(0, 50, 3)))
    assert all(found.is_unknown for found in products.recognise(cloud(2, 50, 4)))


def test_equal_images_are_known_and_others_are_not(cloud: Cloud) -> None:
    same = cloud(0, 30, 1)[np.zeros(30, dtype=int)]
    products = Products.learn({"bolt": same, "nut": cloud(1, 30, 2)}, 1)
    assert products.recognise(same[:1])[0].category == "bolt"
    assert products.recognise(cloud(2, 1, 3))[0].is_unknown


def test_saved_products_say_the_same(cloud: Cloud, tmp_path: Path) -> None:
    products = Products.learn({"left.hand": cloud(0, 40, 1), "right": cloud(0, 40, 2), "nut": cloud(1, 40, 3)}, 1)
    products.save(tmp_path, "fingerprint")
    loaded = Products.load(tmp_path, "fingerprint")
    given = cloud(0, 50, 3)
    assert products.recognise(given) == loaded.recognise(given)
    assert products.describe() == loaded.describe()
    facts = tomllib.loads((tmp_path / "products.toml").read_text())
    assert facts["images"] == {"left.hand": 40, "nut": 40, "right": 40}
    assert set(facts["doubts"]) == {"left.hand", "right"}


def test_an_edited_rate_is_in_force_and_a_wrong_one_is_named(products: Products, cloud: Cloud, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    file = tmp_path / "products.toml"
    text = file.read_text()
    far = cloud(2, 1, 5)
    assert products.recognise(far)[0].is_unknown
    file.write_text(text.replace("unknown_rate = 0.02", "unknown_rate = 0"))
    assert not Products.load(tmp_path, "fingerprint").recognise(far)[0].is_unknown
    for wrong in ("0.5", "-1"):
        file.write_text(text.replace("unknown_rate = 0.02", f"unknown_rate = {wrong}"))
        with pytest.raises(CheckpointError, match=r"unknown_rate .* must be from 0 to 0.05, got"):
            Products.load(tmp_path, "fingerprint")
    for wrong in ('"much"', "true", "nan"):
        file.write_text(text.replace("unknown_rate = 0.02", f"unknown_rate = {wrong}"))
        with pytest.raises(CheckpointError, match=r"unknown_rate must be"):
            Products.load(tmp_path, "fingerprint")


def test_files_that_cannot_be_used_are_named_with_the_remedy(products: Products, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    with pytest.raises(CheckpointError, match=r"this release's muad-tiny \(other\).*learn_products"):
        Products.load(tmp_path, "other")
    (tmp_path / "products.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"must be as it was written .*learn_products"):
        Products.load(tmp_path, "fingerprint")
    (tmp_path / "products.safetensors").unlink()
    with pytest.raises(CheckpointError, match="must be a readable"):
        Products.load(tmp_path, "fingerprint")


def test_files_of_a_release_that_named_strangers_recognise_nothing_and_say_so(tmp_path: Path) -> None:
    import torch

    (tmp_path / "products.toml").write_text('unknown_rate = 0.005\nformat_version = 1\nencoder_fingerprint = "d1"\n')
    said: list[str] = []
    assert Recogniser.of_run(tmp_path, torch.device("cpu"), said.append) is None
    assert not has_products(tmp_path)
    assert len(said) == 1
    assert said[0].endswith(f"learn them again with muad.learn_products('{tmp_path}')")


def test_a_product_needs_two_images(cloud: Cloud) -> None:
    with pytest.raises(CheckpointError, match="at least 2 images each, got fewer of nut"):
        Products.learn({"bolt": cloud(0, 5, 1), "nut": cloud(1, 1, 2)}, 1)


def test_saved_products_are_loaded_and_asked_without_torch(products: Products, cloud: Cloud, tmp_path: Path) -> None:
    products.save(tmp_path, "fingerprint")
    given = cloud(0, 3, 8)
    np.savez(tmp_path / "given.npz", whole=given.whole, patches=given.patches, colours=given.colours)
    script = f"""
import sys
from pathlib import Path
import numpy as np
from muad.recognition import Appearance, Products
given = np.load({str(tmp_path / "given.npz")!r})
seen = Appearance(given["whole"], given["patches"], given["colours"])
products = Products.load(Path({str(tmp_path)!r}), "fingerprint")
print([found.category for found in products.recognise(seen)], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['bolt', 'bolt', 'bolt'] False"
