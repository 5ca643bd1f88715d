"""DAGM 2007 as released."""

import shutil

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def test_defective_training_images_are_neither_learnt_from_nor_tested_on(tree) -> None:
    tree.dagm()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "dagm"
    assert [record.path.name for record in catalog.select(split="train")] == ["0001.PNG", "0003.PNG"]
    assert not any(record.is_anomalous for record in catalog.select(split="train"))
    assert all(record.path.parent.name == "Test" for record in catalog.select(split="test"))
    assert any("Left out 1 defective images of Train" in note for note in catalog.notes)


def test_label_files_tell_defective_from_normal(tree) -> None:
    tree.dagm()
    test = open_catalog(tree.root).select(split="test")
    assert [record.is_anomalous for record in test] == [True, False, True]
    assert [record.mask_path and record.mask_path.name for record in test] == ["0001_label.PNG", None, "0003_label.PNG"]


def test_several_classes_and_one_by_itself(tree) -> None:
    tree.dagm("Class1")
    tree.dagm("Class10")
    assert open_catalog(tree.root).categories == ("Class1", "Class10")
    assert open_catalog(tree.root / "Class10").categories == ("Class10",)


def test_without_labels_training_images_are_not_taken_for_normal(tree) -> None:
    tree.dagm()
    shutil.rmtree(tree.root / "Class1/Train/Label")
    with pytest.raises(DataError, match="Train must have a folder Label"):
        open_catalog(tree.root)


def test_a_label_without_image_is_noted(tree) -> None:
    tree.dagm()
    tree.masks("Class1/Test/Label", ["0009_label.PNG"])
    assert any("1 labels belong to no image: 0009_label.PNG" in note for note in open_catalog(tree.root).notes)
