"""Lists of images as CSV and JSON-lines."""

import json

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError

HEADER = "path,category,label,mask,split\n"


def test_every_column_of_a_csv_is_read(tree) -> None:
    tree.images("img", ["a.png", "b.png", "c.png"])
    tree.masks("gt", ["c.png"])
    manifest = tree.text(
        "list.csv",
        "path,category,label,mask,split,defect_type,object_id,view\n"
        "img/a.png,cap,good,,train,,7,top\n"
        "img/b.png,cap,ok,,test,,8,top\n"
        "img/c.png,cap,NG,gt/c.png,test,dent,8,side\n",
    )
    catalog = open_catalog(manifest)
    train, normal, anomalous = catalog.records
    assert catalog.layout == "manifest"
    assert (train.path, train.split, train.object_id, train.view) == (tree.root / "img/a.png", "train", "7", "top")
    assert (normal.split, normal.is_anomalous, normal.mask_path) == ("test", False, None)
    assert (anomalous.defect_type, anomalous.mask_path, anomalous.view) == ("dent", tree.root / "gt/c.png", "side")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheet_delimiters_byte_order_mark_and_upper_case_columns(tree, delimiter: str) -> None:
    tree.images("img", ["a, ü.png"])
    rows = [["Path", "Category", "LABEL"], ['"img/a, ü.png"', "cap", "0"]]
    manifest = tree.text("list.CSV", "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows))
    assert open_catalog(manifest).records[0].path.name == "a, ü.png"


def test_json_lines_with_plain_values(tree) -> None:
    paths = tree.images("img", ["a.png", "b.png", "c.png"])
    entries = [
        {"path": "img/a.png", "category": "cap", "label": 0, "split": "train", "mask": None},
        {"path": str(paths[1]), "category": "cap", "label": False, "split": "test"},
        {"path": "img/c.png", "category": "cap", "label": True, "split": "test"},
    ]
    catalog = open_catalog(tree.text("list.jsonl", "\n\n".join(json.dumps(entry) for entry in entries)))
    assert [record.split for record in catalog.records] == ["train", "test", "test"]
    assert [record.is_anomalous for record in catalog.records] == [False, False, True]


@pytest.mark.parametrize("word", ["good", "ok", "OK", "normal", "0", "pass"])
def test_words_for_normal(tree, word: str) -> None:
    tree.images("", ["a.png"])
    assert not open_catalog(tree.text("l.csv", f"path,category,label\na.png,cap,{word}\n")).records[0].is_anomalous


@pytest.mark.parametrize("word", ["bad", "ng", "NG", "anomalous", "anomaly", "defect", "1", "ko", "fail"])
def test_words_for_anomalous(tree, word: str) -> None:
    tree.images("", ["a.png", "b.png"])
    catalog = open_catalog(tree.text("l.csv", f"path,category,label\na.png,cap,ok\nb.png,cap,{word}\n"))
    assert [record.is_anomalous for record in catalog.records] == [False, True]
    assert catalog.records[1].split == "test"


def test_without_a_split_normal_images_are_held_out_of_categories_with_anomalous_ones(tree) -> None:
    tree.images("cap", [f"{i}.png" for i in range(20)])
    tree.images("nut", [f"{i}.png" for i in range(20)])
    rows = [f"{name}/{i}.png,{name},ok" for name in ("cap", "nut") for i in range(19)] + ["cap/19.png,cap,bad"]
    catalog = open_catalog(tree.text("l.csv", "\n".join(["path,category,label", *rows])))
    assert not catalog.select(category="nut", split="test")
    normal = [record for record in catalog.select(category="cap", split="test") if not record.is_anomalous]
    assert len(normal) >= 1
    assert any(f"{len(normal)} normal images are held out" in note for note in catalog.notes)


def test_columns_that_are_not_read_are_noted(tree) -> None:
    tree.images("", ["a.png"])
    catalog = open_catalog(tree.text("l.csv", "path,category,label,operator\na.png,cap,ok,Eva\n"))
    assert any("not read: operator" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("b.png,cap,good,,train", r"must have a path that is a file beside the manifest, got 'b\.png'"),
        ("a.png,cap,bad,m.png,test", r"must have a mask that is a file beside the manifest, got 'm\.png'"),
        ("a.png,cap,perhaps,,train", "must have a label that is one of .*got 'perhaps'"),
        ("a.png,cap,good,,validation", "must have split train or test, got 'validation'"),
        ("a.png,cap,good,,", "must have split train or test, got ''"),
        ("a.png,cap,bad,,train", "must be for testing, being anomalous"),
        ("a.png,,good,,train", "must have a value for category"),
        ("a.png,cap,good", "must have 5 cells"),
        ("a.png,cap,good,,train,x", "must have 5 cells"),
        ("first.png,cap,good,,train", "must name an image of its own, got 'first.png' as in row 2"),
    ],
)
def test_a_faulty_row_is_named_by_its_number(tree, row: str, cause: str) -> None:
    tree.images("", ["first.png", "a.png"])
    manifest = tree.text("list.csv", HEADER + "first.png,cap,good,,train\n" + row + "\n")
    with pytest.raises(DataError, match=f"^row 3 of .*list.csv {cause}"):
        open_catalog(manifest)


@pytest.mark.parametrize("line", ["{", "[1]", '{"path": ["a.png"]}'])
def test_a_faulty_line_of_json_is_named_by_its_number(tree, line: str) -> None:
    tree.images("", ["a.png"])
    good = json.dumps({"path": "a.png", "category": "cap", "label": "ok"})
    with pytest.raises(DataError, match=r"^row 2 of .*must be a JSON object"):
        open_catalog(tree.text("l.jsonl", f"{good}\n{line}\n"))


def test_missing_columns_are_named_with_those_that_may_be_there(tree) -> None:
    with pytest.raises(DataError, match=r"got none named category, label. .*mask, split"):
        open_catalog(tree.text("l.csv", "path,mask\na.png,\n"))


def test_text_in_another_encoding_is_refused(tree) -> None:
    path = tree.text("l.csv", "")
    path.write_bytes("path,category,label\nü.png,cap,ok\n".encode("latin-1"))
    with pytest.raises(DataError, match="must be text in UTF-8"):
        open_catalog(path)


def test_one_mask_for_two_images_is_refused(tree) -> None:
    tree.images("", ["a.png", "b.png"])
    tree.masks("", ["m.png"])
    with pytest.raises(DataError, match=r"m\.png must belong to one image"):
        open_catalog(tree.text("l.csv", HEADER + "a.png,cap,bad,m.png,test\nb.png,cap,bad,m.png,test\n"))
