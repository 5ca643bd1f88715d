"""Real-IAD, by its JSON splits."""

import json

import pytest

from muad.datasets.index import open_catalog
from muad.errors import DataError


def test_every_view_is_an_image_and_keeps_its_object(tree) -> None:
    tree.real_iad()
    tree.real_iad("zipper")
    catalog = open_catalog(tree.root)
    assert catalog.layout == "real_iad"
    assert catalog.categories == ("audiojack", "zipper")
    train = catalog.select(category="zipper", split="train")
    assert [record.view for record in train] == ["C1", "C2", "C3", "C4", "C5"]
    assert {record.object_id for record in train} == {"OK/S0001"}
    assert {record.object_id for record in catalog.select(split="test")} == {"NG/QS/S0002"}


def test_a_view_that_shows_no_defect_is_normal(tree) -> None:
    tree.real_iad()
    test = open_catalog(tree.root).select(split="test")
    assert [record.defect_type for record in test] == ["QS", None, None, None, None]
    assert [record.is_anomalous for record in test] == [True, False, False, False, False]
    assert [record.mask_path is not None for record in test] == [True, False, False, False, False]


def test_what_is_read_from_where_is_noted(tree) -> None:
    tree.real_iad()
    tree.text("realiad_jsons/realiad_jsons/zipper.json", "{}")
    tree.text("realiad_jsons/realiad_jsons/._audiojack.json", "left behind by a file system")
    notes = " ".join(open_catalog(tree.root).notes)
    assert "realiad_1024" in notes
    assert "a split file and no images: zipper" in notes


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("not json", "must be JSON"),
        ("{}", "must have a list named 'train'"),
        (json.dumps({"train": [{"image_path": 3}], "test": []}), "entry 0 of 'train'"),
        (json.dumps({"train": ["a.jpg"], "test": []}), "entry 0 of 'train'"),
    ],
)
def test_a_faulty_split_file_is_named(tree, content: str, cause: str) -> None:
    tree.real_iad()
    tree.text("realiad_jsons/realiad_jsons/audiojack.json", content)
    with pytest.raises(DataError, match=cause) as caught:
        open_catalog(tree.root)
    assert "audiojack.json" in str(caught.value)


def test_contaminated_training_images_are_left_out(tree) -> None:
    tree.real_iad()
    file = tree.root / "realiad_jsons/realiad_jsons/audiojack.json"
    content = json.loads(file.read_text())
    content["train"].append(content["test"].pop(0))
    file.write_text(json.dumps(content))
    catalog = open_catalog(tree.root)
    assert len(catalog.select(split="train")) == 5
    assert any("left out 1 anomalous training images" in note for note in catalog.notes)


def test_splits_without_images_are_refused(tree) -> None:
    tree.text("realiad_jsons/audiojack.json", "{}")
    with pytest.raises(DataError, match="must hold the images"):
        open_catalog(tree.root)
