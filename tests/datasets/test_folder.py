"""Plain folders of one's own photographs."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def test_good_and_bad_folders_of_several_categories(tree) -> None:
    for category in ("cap", "nut"):
        tree.images(f"{category}/good", [f"{i}.jpg" for i in range(30)])
        tree.images(f"{category}/bad", ["0.jpg", "1.jpg"])
    catalog = open_catalog(tree.root)
    assert catalog.layout == "folder"
    assert catalog.categories == ("cap", "nut")
    for category in catalog.categories:
        test = catalog.select(category=category, split="test")
        assert [record.defect_type for record in test if record.is_anomalous] == ["bad", "bad"]
        held_out = [record for record in test if not record.is_anomalous]
        assert 1 <= len(held_out) <= 12
        assert len(catalog.select(category=category, split="train")) == 30 - len(held_out)
        assert any(f"{len(held_out)} of 30 good images are held out" in note for note in catalog.notes)


def test_no_image_is_in_both_splits(tree) -> None:
    tree.images("cap/good", [f"{i}.jpg" for i in range(30)])
    tree.images("cap/bad", ["0.jpg"])
    records = open_catalog(tree.root).records
    assert len({record.path for record in records}) == len(records) == 31


def test_one_category_by_itself_with_a_folder_for_each_defect(tree) -> None:
    tree.images("cap/OK", ["a.png", "b.png", "c.png"])
    tree.images("cap/scratch", ["a.png"])
    tree.images("cap/dent", ["a.png"])
    tree.masks("cap/masks/scratch", ["a.png"])
    catalog = open_catalog(tree.root / "cap")
    anomalous = [record for record in catalog.records if record.is_anomalous]
    assert catalog.categories == ("cap",)
    assert [(record.defect_type, record.mask_path is not None) for record in anomalous] == [
        ("dent", False), ("scratch", True),
    ]  # fmt: skip


def test_masks_may_lie_beside_the_images_or_flat_in_a_folder(tree) -> None:
    tree.images("cap/good", ["a.png", "b.png"])
    tree.images("cap/bad", ["a.png", "b.png"])
    tree.masks("cap/bad", ["a_mask.png"])
    tree.masks("cap/ground_truth", ["b_mask.png"])
    anomalous = [record for record in open_catalog(tree.root).records if record.is_anomalous]
    assert [record.path.name for record in anomalous] == ["a.png", "b.png"]
    assert [record.mask_path and record.mask_path.name for record in anomalous] == ["a_mask.png", "b_mask.png"]


def test_good_images_alone_are_all_for_training(tree) -> None:
    tree.images("cap/good", [f"{i}.png" for i in range(10)])
    catalog = open_catalog(tree.root)
    assert len(catalog.select(split="train")) == len(catalog.records) == 10


def test_a_flat_folder_is_one_category_to_train_on(tree) -> None:
    tree.images("", ["a.JPG", "b.jpeg", "c.TIF"])
    catalog = open_catalog(tree.root)
    assert catalog.categories == ("data",)
    assert [record.split for record in catalog.records] == ["train"] * 3
    assert any("took all 3 images of" in note for note in catalog.notes)


def test_a_folder_named_good_takes_its_parents_name(tree) -> None:
    tree.images("cap/good", ["a.png"])
    assert open_catalog(tree.root / "cap/good").categories == ("cap",)


def test_folders_of_photographs_are_a_category_each(tree) -> None:
    tree.images("cap", ["a.png"])
    tree.images("nut", ["a.png", "b.png"])
    catalog = open_catalog(tree.root)
    assert catalog.categories == ("cap", "nut")
    assert [record.split for record in catalog.records] == ["train"] * 3


@pytest.mark.parametrize("name", ["bad", "NG", "defect", "test", "masks"])
def test_a_folder_of_bad_photographs_is_never_taken_for_good_ones(tree, name: str) -> None:
    tree.images("cap", ["a.png"])
    tree.images(name, ["a.png"])
    with pytest.raises(DataError, match="category of good photographs"):
        open_catalog(tree.root)


def test_an_empty_good_folder_is_refused(tree) -> None:
    tree.images("cap/bad", ["a.png"])
    (tree.root / "cap/good").mkdir()
    with pytest.raises(DataError, match="must have normal training images, got none for cap"):
        open_catalog(tree.root)
