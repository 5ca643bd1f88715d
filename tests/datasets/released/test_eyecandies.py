"""Eyecandies as released."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError
from muad.images.senses import missing_beside


def test_the_even_light_is_the_record_and_the_public_masks_tell_the_label(tree) -> None:
    tree.eyecandies()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "eyecandies"
    assert [len(catalog.select(split=split)) for split in ("train", "validation", "test")] == [2, 1, 2]
    assert {record.path.stem[4:] for record in catalog.records} == {"image_5"}
    assert [record.is_anomalous for record in catalog.select(split="test")] == [False, True]
    assert missing_beside([record.path for record in catalog.records], "depth") == []
    assert any("Left out test_private" in note for note in catalog.notes)


def test_a_public_test_image_without_mask_has_no_label(tree) -> None:
    tree.eyecandies()
    (tree.root / "GummyBear/test_public/data/000_mask.png").unlink()
    with pytest.raises(DataError, match=r"got none of 000_mask\.png"):
        open_catalog(tree.root)
