"""MulSen-AD as released."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def test_each_image_is_a_record_and_the_two_of_a_part_are_joined(tree) -> None:
    tree.mulsen_ad()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mulsen_ad"
    train = catalog.select(split="train")
    assert [(record.object_id, record.view) for record in train] == [
        ("train/0", "infrared"),
        ("train/1", "infrared"),
        ("train/0", "rgb"),
        ("train/1", "rgb"),
    ]


def test_a_defect_counts_where_it_shows_and_one_of_the_point_cloud_in_both_without_a_mask(tree) -> None:
    tree.mulsen_ad()
    catalog = open_catalog(tree.root)
    found = {
        (record.object_id, record.view): (record.is_anomalous, record.mask_path is not None)
        for record in catalog.select(split="test")
        if record.object_id is not None and "hole" in record.object_id
    }
    assert found == {
        ("test/hole/0", "rgb"): (True, True),
        ("test/hole/0", "infrared"): (False, False),
        ("test/hole/1", "rgb"): (False, False),
        ("test/hole/1", "infrared"): (True, True),
        ("test/hole/2", "rgb"): (True, False),
        ("test/hole/2", "infrared"): (True, False),
    }
    assert any("the defects of 1 parts show in the point cloud alone" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("object,RGB,Infrared,Pointcloud\n0,1,0,0\n1,0,1,1\n", r"got nothing of 2\.png"),
        ("object,RGB,Infrared,Pointcloud\n0,yes,0,0\n", "must have the part and 0 or 1"),
    ],
)
def test_a_table_that_does_not_say_where_a_defect_shows_is_refused(tree, table: str, says: str) -> None:
    tree.mulsen_ad()
    tree.text("capsule/RGB/GT/hole/data.csv", table)
    with pytest.raises(DataError, match=says):
        open_catalog(tree.root)
