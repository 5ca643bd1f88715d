"""MVTec AD 2 as released."""

from muad.datasets.index import open_catalog


def test_splits_lights_and_masks_come_from_the_tree(tree) -> None:
    tree.mvtec_ad_2()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mvtec_ad_2"
    assert [len(catalog.select(split=split)) for split in ("train", "validation", "test")] == [2, 1, 4]
    test = catalog.select(split="test")
    assert [(record.is_anomalous, record.light) for record in test] == [
        (True, "regular"),
        (True, "underexposed"),
        (False, "regular"),
        (False, "shift_1"),
    ]
    assert [record.mask_path is not None for record in test] == [True, True, False, False]


def test_what_has_no_public_truth_is_left_out_and_counted(tree) -> None:
    tree.mvtec_ad_2()
    catalog = open_catalog(tree.root / "can")
    assert not any("private" in record.path.as_posix() for record in catalog.records)
    assert any("test_private (1), test_private_mixed (2)" in note for note in catalog.notes)
    assert any("overexposed, regular, shift_1, underexposed" in note for note in catalog.notes)


def test_an_anomalous_image_without_mask_and_a_mask_without_image_are_noted(tree) -> None:
    tree.mvtec_ad_2()
    tree.images("can/test_public/bad", ["001_regular.png"])
    tree.masks("can/test_public/ground_truth/bad", ["009_regular_mask.png"])
    notes = open_catalog(tree.root).notes
    assert any("1 of 3 anomalous test images have no mask" in note for note in notes)
    assert any("1 masks belong to no image: 009_regular_mask.png" in note for note in notes)
