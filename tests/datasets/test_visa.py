"""VisA as released, by its split file."""

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError
from muad.images.reading import read_mask


def test_the_split_file_decides(tree) -> None:
    tree.visa()
    catalog = open_catalog(tree.root)
    assert catalog.layout == "visa"
    assert catalog.categories == ("candle", "pcb1")
    assert [record.path.name for record in catalog.select(category="pcb1", split="train")] == ["0000.JPG", "0001.JPG"]
    anomalous, normal = catalog.select(category="pcb1", split="test")
    assert (anomalous.is_anomalous, anomalous.path.parent.name) == (True, "Anomaly")
    assert (normal.is_anomalous, normal.path.name, normal.mask_path) == (False, "0002.JPG", None)


def test_class_numbers_in_masks_become_full_defect(tree) -> None:
    tree.visa(["candle"])
    record = open_catalog(tree.root).select(split="test")[0]
    assert record.mask_path is not None
    mask = read_mask(record.mask_path, record.mask_kind)
    assert set(mask.flat) == {0, 255}


def test_the_converted_tree_is_read_as_mvtec(tree) -> None:
    tree.images("candle/train/good", ["0000.JPG"])
    tree.images("candle/test/good", ["0001.JPG"])
    tree.images("candle/test/bad", ["000.JPG"])
    tree.masks("candle/ground_truth/bad", ["000.png"])
    catalog = open_catalog(tree.root)
    assert catalog.layout == "mvtec"
    assert catalog.select(split="test")[0].mask_path == tree.root / "candle/ground_truth/bad/000.png"


def test_the_raw_release_without_its_split_file_is_refused(tree) -> None:
    tree.visa()
    (tree.root / "split_csv/1cls.csv").unlink()
    with pytest.raises(DataError, match=r"1cls\.csv must be a CSV file.*Restore it"):
        open_catalog(tree.root)


def test_missing_files_are_counted_and_named(tree) -> None:
    tree.visa(["candle"])
    (tree.root / "candle/Data/Images/Normal/0001.JPG").unlink()
    with pytest.raises(DataError, match=r"got 1 missing: .*Normal/0001\.JPG"):
        open_catalog(tree.root)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("candle,validation,normal,a.JPG,", "row 6 of .*'validation'"),
        ("candle,test,strange,a.JPG,", "row 6 of .*'strange'"),
        ("candle,test,normal,,", "row 6 of .* and an image"),
    ],
)
def test_a_faulty_row_is_named(tree, row: str, cause: str) -> None:
    tree.visa(["candle"])
    file = tree.root / "split_csv/1cls.csv"
    file.write_text(file.read_text() + row + "\n")
    with pytest.raises(DataError, match=cause):
        open_catalog(tree.root)


def test_missing_columns_are_named(tree) -> None:
    tree.visa(["candle"])
    tree.text("split_csv/1cls.csv", "object,split,label,image\n")
    with pytest.raises(DataError, match="got none named mask"):
        open_catalog(tree.root)
