"""MVTec LOCO AD as released."""

import json

import numpy as np
import pytest

from muad.datasets.index import open_catalog
from muad.datasets.saturation import Saturation, read_defects
from muad.errors import DataError
from muad.images.reading import read_pair


def test_splits_kinds_and_folders_of_masks_come_from_the_tree(tree) -> None:
    tree.mvtec_loco()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mvtec_loco"
    assert [len(catalog.select(split=split)) for split in ("train", "validation", "test")] == [2, 1, 3]
    test = catalog.select(split="test")
    assert [record.defect_type for record in test] == [None, "logical_anomalies", "structural_anomalies"]
    assert [record.mask_path and record.mask_path.name for record in test] == [None, "000", "000"]
    assert {record.mask_kind for record in test} == {"regions"}
    assert open_catalog(tree.root / "pushpins").categories == ("pushpins",)


def test_a_folder_of_masks_is_one_mask_and_several_defects(tree) -> None:
    tree.mvtec_loco()
    tree.images("pushpins/ground_truth/logical_anomalies/000", [])
    record = open_catalog(tree.root).select(split="test")[1]
    _, mask = read_pair(record)
    assert mask is not None
    assert set(np.unique(mask)) == {0, 255}
    defects = read_defects(record.mask_path)
    assert [(defect.saturation.name, int(defect.mask.sum())) for defect in defects] == [("missing", 6), ("missing", 6)]


def test_an_area_is_enough_by_pixels_or_by_share() -> None:
    assert Saturation(name="a", threshold=4, relative=False).area(6) == 4
    assert Saturation(name="a", threshold=40, relative=False).area(6) == 6
    assert Saturation(name="a", threshold=0.5, relative=True).area(7) == 3


def test_an_anomaly_without_masks_and_masks_without_image_are_noted(tree) -> None:
    tree.mvtec_loco()
    tree.images("pushpins/test/logical_anomalies", ["001.png"])
    tree.masks("pushpins/ground_truth/logical_anomalies/007", ["000.png"])
    notes = open_catalog(tree.root).notes
    assert any("1 of 3 anomalous test images have no mask" in note and "001.png" in note for note in notes)
    assert any("1 folders of masks belong to no image: logical_anomalies/007" in note for note in notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a list of kinds of defect"),
        ('[{"defect_name": "a"}]', "entry 0 of"),
        (
            json.dumps(
                2 * [{"defect_name": "a", "pixel_value": 1, "saturation_threshold": 2, "relative_saturation": False}]
            ),
            "must have each pixel_value once",
        ),
        (
            json.dumps(
                [{"defect_name": "a", "pixel_value": 1, "saturation_threshold": 2, "relative_saturation": True}]
            ),
            "if relative, up to 1",
        ),
    ],
)
def test_an_unsound_configuration_is_named_before_training(tree, content: str, says: str) -> None:
    tree.mvtec_loco()
    tree.text("pushpins/defects_config.json", content)
    with pytest.raises(DataError, match=says):
        open_catalog(tree.root)


def test_a_value_that_no_kind_has_is_named(tree) -> None:
    tree.mvtec_loco()
    tree.masks("pushpins/ground_truth/logical_anomalies/000", ["001.png"], value=7)
    record = open_catalog(tree.root).select(split="test")[1]
    with pytest.raises(DataError, match=r"001\.png must mark one defect by a value of .* \(240, 255\), got \[7\]"):
        read_defects(record.mask_path)
