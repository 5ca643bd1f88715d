"""KolektorSDD2 as released."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def test_black_masks_tell_normal_from_defective_and_defective_training_images_are_left_out(tree) -> None:
    tree.kolektor_sdd2()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "kolektor_sdd2"
    assert [record.path.name for record in catalog.select(split="train")] == ["10000.png", "10002.png"]
    test = catalog.select(split="test")
    assert [(record.path.name, record.is_anomalous) for record in test] == [("10000.png", False), ("10001.png", True)]
    assert [record.mask_path and record.mask_path.name for record in test] == [None, "10001_GT.png"]
    assert any("Left out 1 defective images of train" in note for note in catalog.notes)


def test_an_image_without_mask_has_no_label(tree) -> None:
    tree.kolektor_sdd2()
    (tree.root / "test/10000_GT.png").unlink()
    with pytest.raises(DataError, match=r"must have its mask <name>_GT beside it, .* got none for 1: 10000\.png"):
        open_catalog(tree.root)


def test_a_mask_without_image_is_noted(tree) -> None:
    tree.kolektor_sdd2()
    (tree.root / "test/10000.png").unlink()
    assert any("test: 1 masks belong to no image: 10000_GT.png" in note for note in open_catalog(tree.root).notes)
