"""Learning products: from the training images of a run into its folder, and from there to names of photographs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muad import learn_products
from muad.checkpoints.checkpoint import create_run, read_config
from muad.datasets.index import open_catalog
from muad.encoders.product_encoder import product_encoder
from muad.errors import DataError
from muad.images.reading import read_image
from muad.recognition import COPIES, Recogniser, has_products, look_at, shrink
from muad.runs.folder import read_run
from muad.toy_factory import write_toy_factory

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training images of each of two products, and others of a third."""
    folder = tmp_path_factory.mktemp("factory") / "data"
    names = ("pill_blister", "printed_board", "woven_fabric")
    write_toy_factory(folder, image_px=64, train_per_category=10, test_normal=3, test_per_defect=1, categories=names)
    return folder


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run of two products."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _small(folder: Path) -> list[np.ndarray]:
    return [shrink(read_image(path)) for path in sorted(folder.rglob("*.png"))]


def test_training_learns_the_products_and_says_so(train_tiny: Callable[..., Any], tmp_path: Path) -> None:
    said: list[str] = []
    train_tiny(tmp_path / "run", note=said.append)
    assert has_products(tmp_path / "run")
    assert [line for line in said if line.startswith("products: 2 categories are recognised from 10 good images")]


def test_resuming_a_finished_run_adds_what_is_missing_and_keeps_what_is_there(
    train_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_tiny(run, "training.mode=per_category")
    written = (run / "products.toml").stat().st_mtime_ns
    train_tiny(run, "training.mode=per_category", resume=True)
    assert (run / "products.toml").stat().st_mtime_ns == written
    (run / "products.toml").unlink()
    train_tiny(run, "training.mode=per_category", resume=True)
    assert has_products(run)
    assert not any(has_products(folder) for folder in (run / "categories").iterdir())


def test_test_images_good_and_bad_are_named_and_a_third_product_is_unknown(copied_run: Path, factory: Path) -> None:
    learn_products(copied_run, open_catalog(factory).select(split="train"), device="cpu")
    recogniser = Recogniser.of_run(copied_run, CPU)
    assert recogniser is not None
    for name in ("pill_blister", "printed_board"):
        assert {found.nearest for found in recogniser.recognise(_small(factory / name / "test"))} == {name}
    assert all(found.is_unknown for found in recogniser.recognise(_small(factory / "woven_fabric" / "test")))


def test_an_edited_rate_survives_learning_again(copied_run: Path, factory: Path) -> None:
    records = open_catalog(factory).select(split="train")
    for rate in ("0", "0.04"):
        file = copied_run / "products.toml"
        lines = [
            f"unknown_rate = {rate}" if "unknown_rate =" in line else line for line in file.read_text().splitlines()
        ]
        file.write_text("\n".join(lines))
        products = learn_products(copied_run, records, device="cpu")
        assert products is not None
        assert products.asked_rate == float(rate)


def test_the_training_images_are_found_where_they_were(copied_run: Path) -> None:
    (copied_run / "products.toml").unlink()
    products = learn_products(copied_run, device="cpu")
    assert products is not None
    assert products.categories == ("pill_blister", "printed_board")
    moved = {**read_run(copied_run), "data": str(copied_run / "gone")}
    create_run(copied_run, read_config(copied_run), moved)
    with pytest.raises(DataError, match="gone"):
        learn_products(copied_run, device="cpu")


def test_one_image_of_a_category_is_not_enough_and_one_category_is(copied_run: Path, factory: Path) -> None:
    (copied_run / "products.toml").unlink()
    said: list[str] = []
    records = [record for record in open_catalog(factory).select(split="train") if record.category != "printed_board"]
    assert learn_products(copied_run, records, device="cpu", note=said.append) is None
    assert said == ["products: none are recognised, that needs 2 readable images of printed_board"]
    assert Recogniser.of_run(copied_run, CPU) is None
    facts = read_run(copied_run)
    create_run(copied_run, read_config(copied_run), {**facts, "categories": {"pill_blister": 5}})
    assert learn_products(copied_run, records, device="cpu", note=said.append) is not None
    recogniser = Recogniser.of_run(copied_run, CPU)
    assert recogniser is not None
    assert {found.category for found in recogniser.recognise(_small(factory / "pill_blister" / "test"))} == {
        "pill_blister"
    }
    assert all(found.is_unknown for found in recogniser.recognise(_small(factory / "printed_board" / "test")))


def test_a_run_that_knows_neither_categories_nor_images_says_so(copied_run: Path) -> None:
    facts, said = read_run(copied_run), []
    create_run(copied_run, read_config(copied_run), {**facts, "categories": {}})
    assert learn_products(copied_run, device="cpu", note=said.append) is None
    assert said == ["products: none are recognised, because the run does not know which it was trained on"]
    create_run(copied_run, read_config(copied_run), {**facts, "data": None})
    with pytest.raises(DataError, match="records must be given"):
        learn_products(copied_run, device="cpu")


def test_unreadable_and_anomalous_images_are_left_out(factory: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(factory, tmp_path / "data"))
    (data / "pill_blister" / "train" / "good" / "000.png").write_bytes(b"no image")
    seen = look_at(list(open_catalog(data).records), product_encoder(CPU))
    assert {name: len(each) // COPIES for name, each in seen.items()} == {
        "pill_blister": 12,  # nine to train on and three to test on
        "printed_board": 13,
        "woven_fabric": 13,
    }


def test_learning_twice_gives_the_same(factory: Path) -> None:
    records, encoder = open_catalog(factory).select(category="pill_blister", split="train"), product_encoder(CPU)
    once, again = look_at(records, encoder)["pill_blister"], look_at(records, encoder)["pill_blister"]
    np.testing.assert_array_equal(once.whole, again.whole)
    np.testing.assert_array_equal(once.patches, again.patches)
    assert once.whole.shape == (10 * COPIES, 384)
    # The first copy is the photograph as prediction sees it.
    plain = encoder.encode(_small(factory / "pill_blister" / "train"))
    np.testing.assert_allclose(once.whole[::COPIES], plain.whole, atol=1e-5)
    np.testing.assert_allclose(once.colours[::COPIES], plain.colours, atol=1e-6)
