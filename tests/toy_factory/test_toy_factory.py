"""The toy factory: seeded, exact in its masks, laid out like MVTec AD, and safe to interrupt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from muad.errors import ConfigError, DataError
from muad.toy_factory import PRODUCTS, render, write_toy_factory
from muad.toy_factory.writer import MANIFEST_NAME, piece_index

if TYPE_CHECKING:
    from pathlib import Path

PX = 64
ALL_KINDS = {"scratch", "stain", "crack", "missing_part", "wrong_part", "contamination"}
PAIRS = [(category, defect) for category, product in PRODUCTS.items() for defect in product.defects]
SMALL = {"image_px": PX, "train_per_category": 2, "test_normal": 1, "test_per_defect": 1}


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST_NAME
    }


def test_five_categories_with_all_six_kinds_of_defect_between_them() -> None:
    assert len(PRODUCTS) >= 5
    assert {defect for _, defect in PAIRS} == ALL_KINDS
    assert all(len(product.defects) >= 4 for product in PRODUCTS.values())


@pytest.mark.parametrize(("category", "defect"), PAIRS)
def test_a_defect_changes_the_image_inside_its_mask_and_only_there(category: str, defect: str) -> None:
    px = 128
    for index in (0, 1, 2):
        normal, nothing = render(category, seed=3, index=index, image_px=px)
        broken, mask = render(category, seed=3, index=index, image_px=px, defect=defect)
        change = np.abs(normal.astype(int) - broken.astype(int)).max(axis=2)
        far = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
        assert not nothing.any()
        assert change[far].max() <= 6
        assert np.percentile(change[mask], 90) >= 14
        assert 5 <= mask.sum() < 0.2 * mask.size


@pytest.mark.parametrize(("category", "defect"), PAIRS)
def test_masks_of_small_images_are_never_empty(category: str, defect: str) -> None:
    for index in range(4):
        image, mask = render(category, seed=1, index=index, defect=defect, image_px=32)
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert mask.shape == (32, 32)
        assert mask.dtype == bool
        assert mask.any()


@pytest.mark.parametrize("category", PRODUCTS)
def test_the_same_seed_and_index_give_the_same_image_and_others_another(category: str) -> None:
    image, _ = render(category, seed=5, index=2, image_px=PX)
    again, _ = render(category, seed=5, index=2, image_px=PX)
    other_index, _ = render(category, seed=5, index=3, image_px=PX)
    other_seed, _ = render(category, seed=6, index=2, image_px=PX)
    np.testing.assert_array_equal(image, again)
    assert (image != other_index).mean() > 0.5
    assert (image != other_seed).mean() > 0.5


@pytest.mark.parametrize("category", PRODUCTS)
def test_an_image_is_well_exposed_and_coloured_like_others_of_its_category(category: str) -> None:
    images = np.stack([render(category, seed=0, index=index, image_px=PX)[0] for index in range(6)])
    levels = images.mean(axis=(1, 2, 3))
    assert 40 < levels.mean() < 200
    assert levels.std() < 20
    assert (images == 255).mean() < 0.05


def test_the_folder_has_the_layout_of_mvtec_ad(tmp_path: Path) -> None:
    write_toy_factory(tmp_path / "toy", categories=["pill_blister"], **SMALL)
    expected = {f"pill_blister/train/good/{number:03d}.png" for number in range(2)} | {"pill_blister/test/good/000.png"}
    for defect in PRODUCTS["pill_blister"].defects:
        expected |= {f"pill_blister/test/{defect}/000.png", f"pill_blister/ground_truth/{defect}/000_mask.png"}
    assert set(tree(tmp_path / "toy")) == expected
    image = read(tmp_path / "toy/pill_blister/test/crack/000.png")
    mask = read(tmp_path / "toy/pill_blister/ground_truth/crack/000_mask.png")
    rendered, truth = render("pill_blister", seed=0, index=piece_index("crack", 0), defect="crack", image_px=PX)
    np.testing.assert_array_equal(image[..., ::-1], rendered)
    np.testing.assert_array_equal(mask, truth * np.uint8(255))


def test_images_do_not_depend_on_how_many_or_which_categories_are_written(tmp_path: Path) -> None:
    write_toy_factory(tmp_path / "few", seed=4, categories=["woven_fabric"], **SMALL)
    write_toy_factory(
        tmp_path / "more",
        seed=4,
        categories=["machined_part", "woven_fabric"],
        image_px=PX,
        train_per_category=3,
        test_normal=2,
        test_per_defect=2,
    )
    few, more = tree(tmp_path / "few"), tree(tmp_path / "more")
    assert all(more[name] == content for name, content in few.items())
    assert len(set(more.values())) == len(more)


def test_an_interrupted_run_is_completed_and_its_files_are_kept(tmp_path: Path) -> None:
    def stop_after_four(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    order = {"categories": ["woven_fabric"], **SMALL}
    write_toy_factory(tmp_path / "whole", **order)
    with pytest.raises(KeyboardInterrupt):
        write_toy_factory(tmp_path / "broken", progress=stop_after_four, **order)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("*.png")}
    assert json.loads((tmp_path / "broken" / MANIFEST_NAME).read_text())["complete"] is False
    assert 4 <= len(written) < len(tree(tmp_path / "whole"))

    seen: list[tuple[int, int]] = []
    write_toy_factory(tmp_path / "broken", progress=lambda done, total: seen.append((done, total)), **order)
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert json.loads((tmp_path / "broken" / MANIFEST_NAME).read_text())["complete"] is True
    assert seen == [(done, 8) for done in range(1, 9)]


def test_a_lost_file_is_written_again(tmp_path: Path) -> None:
    write_toy_factory(tmp_path / "toy", categories=["woven_fabric"], **SMALL)
    before = tree(tmp_path / "toy")
    (tmp_path / "toy/woven_fabric/ground_truth/stain/000_mask.png").unlink()
    (tmp_path / "toy/woven_fabric/train/good/001.png").unlink()
    write_toy_factory(tmp_path / "toy", categories=["woven_fabric"], **SMALL)
    assert tree(tmp_path / "toy") == before


def test_a_folder_of_other_parameters_is_refused_with_what_differs(tmp_path: Path) -> None:
    write_toy_factory(tmp_path, categories=["woven_fabric"], **SMALL)
    with pytest.raises(DataError, match=r"seed 0 there, 1 asked.*Name another folder"):
        write_toy_factory(tmp_path, seed=1, categories=["woven_fabric"], **SMALL)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(DataError, match="other files"):
        write_toy_factory(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("a file")
    with pytest.raises(DataError, match="must be a folder"):
        write_toy_factory(tmp_path / "toy", **SMALL)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text("{")
    with pytest.raises(DataError, match="must be a JSON object"):
        write_toy_factory(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": ["spoon"]}, "category must be one of .*woven_fabric.*'spoon'"),
        ({"categories": []}, "at least one"),
        ({"image_px": 8}, "image_px must be between 32 and 2048, got 8"),
        ({"train_per_category": 0}, "train_per_category must be at least 1"),
        ({"test_per_defect": -1}, "test_per_defect must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_orders_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_toy_factory(tmp_path / "toy", **{**SMALL, **changes})
    assert not (tmp_path / "toy").exists()


def test_render_refuses_what_a_category_cannot_have() -> None:
    with pytest.raises(ConfigError, match=r"defect of woven_fabric must be one of scratch, .*'crack'"):
        render("woven_fabric", seed=0, index=0, defect="crack", image_px=PX)
    with pytest.raises(ConfigError, match="category must be one of"):
        render("spoon", seed=0, index=0, image_px=PX)
    with pytest.raises(ConfigError, match="0 or more"):
        render("woven_fabric", seed=0, index=-1, image_px=PX)
