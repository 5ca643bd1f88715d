"""MVTec 3D-AD as released, and the same layout with depth of one's own."""

import pytest

from muad.datasets.index import open_catalog


@pytest.mark.parametrize("depth", ["xyz", "z", "depth"])
def test_a_record_is_the_colour_image_and_its_mask_lies_beside_it(tree, depth: str) -> None:
    tree.mvtec_3d(depth=depth)
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mvtec_3d"
    assert [len(catalog.select(split=split)) for split in ("train", "validation", "test")] == [2, 2, 4]
    assert {record.path.parent.name for record in catalog.records} == {"rgb"}
    test = catalog.select(split="test")
    assert [record.defect_type for record in test] == [None, None, "hole", "hole"]
    assert [record.mask_path and record.mask_path.parent.name for record in test] == [None, None, "gt", "gt"]


def test_prepared_depth_beside_the_points_is_no_fault(tree) -> None:
    tree.mvtec_3d()
    tree.points("bagel/train/good/z", ["000.tiff", "001.tiff"])
    assert len(open_catalog(tree.root).select(split="train")) == 2


def test_colour_without_depth_and_masks_without_image_are_noted(tree) -> None:
    tree.mvtec_3d()
    (tree.root / "bagel/test/hole/xyz/001.tiff").unlink()
    tree.masks("bagel/test/hole/gt", ["009.png"])
    notes = open_catalog(tree.root).notes
    assert any("1 colour images have no depth beside them: hole/001.png" in note for note in notes)
    assert any("1 masks belong to no image: hole/009.png" in note for note in notes)
