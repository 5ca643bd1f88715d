"""The layout of MVTec AD, and of those that share it."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def names(records):
    return [(record.path.parent.name, record.path.name) for record in records]


def test_splits_labels_and_defect_types_come_from_the_folders(tree) -> None:
    tree.mvtec("bottle")
    tree.mvtec("cable")
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mvtec"
    assert catalog.categories == ("bottle", "cable")
    assert names(catalog.select(category="bottle", split="train")) == [("good", f"{i:03}.png") for i in range(3)]
    test = catalog.select(category="bottle", split="test")
    stems = [("good", "000"), ("good", "001"), ("hole", "000"), ("scratch", "000"), ("scratch", "001")]
    assert names(test) == [(folder, f"{stem}.png") for folder, stem in stems]
    assert [record.defect_type for record in test] == [None, None, "hole", "scratch", "scratch"]
    assert [record.is_anomalous for record in test] == [False, False, True, True, True]


def test_records_are_ordered_by_category_then_train_before_test_then_path(tree) -> None:
    tree.mvtec("cable")
    tree.mvtec("bottle")
    records = open_catalog(tree.root).records
    keys = [(record.category, record.split == "test", record.path.as_posix()) for record in records]
    assert keys == sorted(keys)


def test_masks_pair_by_name_although_positions_disagree(tree) -> None:
    tree.images("bottle/train/good", ["0.png"])
    tree.images("bottle/test/hole", ["a.png", "b.png", "c.png"])
    tree.masks("bottle/ground_truth/hole", ["b_mask.png", "c_mask.png", "z_mask.png"])
    catalog = open_catalog(tree.root)
    pairs = {record.path.name: record.mask_path and record.mask_path.name for record in catalog.select(split="test")}
    assert pairs == {"a.png": None, "b.png": "b_mask.png", "c.png": "c_mask.png"}
    assert any("1 of 3 anomalous test images have no mask" in note and "a.png" in note for note in catalog.notes)
    assert any("1 masks belong to no image: hole/z_mask.png" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("suffix", "mask_suffix"),
    [(".JPG", ".png"), (".bmp", ".bmp"), (".PNG", "_Mask.PNG"), (".jpeg", "_label.tif"), (".tif", "_gt.bmp")],
)
def test_any_ending_in_any_case_pairs_with_any_mask_name(tree, suffix: str, mask_suffix: str) -> None:
    tree.mvtec("bottle", suffix=suffix, mask_suffix=mask_suffix)
    test = open_catalog(tree.root).select(split="test")
    assert [record.mask_path is not None for record in test] == [record.is_anomalous for record in test]
    assert len(test) == 5


@pytest.mark.parametrize("layout", ["auto", "btad"])
def test_btad_names_its_folders_ok_and_ko(tree, layout: str) -> None:
    tree.images("01/train/ok", ["0000.bmp", "0001.bmp"])
    tree.images("01/test/ok", ["0000.bmp"])
    tree.images("01/test/ko", ["0000.bmp"])
    tree.masks("01/ground_truth/ko", ["0000.png"])
    catalog = open_catalog(tree.root, layout)
    assert catalog.layout == "mvtec"
    assert [record.is_anomalous for record in catalog.select(split="test")] == [True, False]
    assert len(catalog.select(split="train")) == 2
    assert catalog.select(split="test")[0].mask_path is not None


def test_one_category_may_be_given_by_itself(tree) -> None:
    tree.mvtec("bottle")
    catalog = open_catalog(tree.root / "bottle")
    assert catalog.categories == ("bottle",)
    assert len(catalog.records) == 8


def test_system_files_are_passed_over_and_unknown_ones_noted(tree) -> None:
    tree.mvtec("bottle")
    for name in (".DS_Store", "Thumbs.db", "._000.png"):
        tree.text(f"bottle/train/good/{name}", "x")
    tree.text("bottle/train/good/readme.txt", "x")
    tree.text(".cache/train/good/000.png", "x")
    catalog = open_catalog(tree.root)
    assert len(catalog.records) == 8
    assert catalog.categories == ("bottle",)
    assert [note for note in catalog.notes if "no known image type" in note] == [
        f"{tree.root / 'bottle/train/good'}: left out files that are of no known image type: .txt (1)."
    ]


def test_anomalous_training_images_and_strange_folders_are_left_out_and_noted(tree) -> None:
    tree.mvtec("bottle")
    tree.images("bottle/train/broken", ["000.png"])
    tree.images("extra", ["000.png"])
    catalog = open_catalog(tree.root)
    assert not any(record.is_anomalous for record in catalog.select(split="train"))
    assert any("left out 1 training images in 'broken'" in note for note in catalog.notes)
    assert any("neither train nor test inside: extra" in note for note in catalog.notes)


def test_a_category_without_masks_is_read_for_image_level(tree) -> None:
    tree.images("bottle/train/good", ["000.png"])
    tree.images("bottle/test/bad", ["000.png", "001.png"])
    catalog = open_catalog(tree.root)
    assert [record.mask_path for record in catalog.select(split="test")] == [None, None]
    assert any("2 of 2 anomalous test images have no mask" in note for note in catalog.notes)


def test_images_in_deeper_folders_keep_their_own_masks(tree) -> None:
    tree.images("bottle/train/good/day1", ["0.png"])
    tree.images("bottle/test/bad", ["day1/0.png", "day2/0.png"])
    tree.masks("bottle/ground_truth/bad", ["day1/0_mask.png", "day2/0_mask.png"])
    test = open_catalog(tree.root).select(split="test")
    assert [record.mask_path and record.mask_path.parent.name for record in test] == ["day1", "day2"]


def test_two_masks_for_one_image_are_refused(tree) -> None:
    tree.mvtec("bottle")
    tree.masks("bottle/ground_truth/hole", ["000.png"])
    with pytest.raises(DataError, match=r"hole/000\.png must have one mask, got .*000\.png and .*000_mask\.png"):
        open_catalog(tree.root)


def test_one_mask_for_two_images_is_refused(tree) -> None:
    tree.mvtec("bottle")
    tree.images("bottle/test/hole", ["000.jpg"])
    with pytest.raises(DataError, match=r"000_mask\.png must belong to one image"):
        open_catalog(tree.root)


def test_one_flat_mask_for_two_defects_is_refused(tree) -> None:
    tree.images("bottle/train/good", ["000.png"])
    tree.images("bottle/test/hole", ["000.png"])
    tree.images("bottle/test/crack", ["000.png"])
    tree.masks("bottle/ground_truth", ["000_mask.png"])
    with pytest.raises(DataError, match=r"000_mask\.png must belong to one image"):
        open_catalog(tree.root)


def test_an_empty_category_is_refused(tree) -> None:
    tree.mvtec("bottle")
    (tree.root / "cable/train/good").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cable must hold images, got none"):
        open_catalog(tree.root)


@pytest.mark.shared
def test_the_shared_categories_are_complete_and_every_mask_is_paired(shared_dir) -> None:
    catalog = open_catalog(shared_dir / "data")
    counts = {
        category: tuple(len(catalog.select(category=category, split=split)) for split in ("train", "test"))
        for category in catalog.categories
    }
    assert catalog.layout == "mvtec"
    assert counts == {"screw": (320, 160), "metal_plate": (54, 97), "magnetic_tile": (248, 230)}
    assert all((record.mask_path is not None) == record.is_anomalous for record in catalog.records)
