"""Folders and lists of images that no run can be trained or evaluated on."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[[Path], Path]


def _empty(data: Path) -> Path:
    shutil.rmtree(data)
    data.mkdir()
    return data


def _only_text(data: Path) -> Path:
    _empty(data)
    (data / "notes.txt").write_text("nothing to see", encoding="utf-8")
    return data


def _missing(data: Path) -> Path:
    return data / "nowhere"


def _too_long(data: Path) -> Path:
    return data / ("a" * 300)


def _a_file(data: Path) -> Path:
    return data / "good/0.png"


def _only_bad(data: Path) -> Path:
    shutil.rmtree(data / "good")
    return data


def _empty_good(data: Path) -> Path:
    for file in (data / "good").iterdir():
        file.unlink()
    return data


def _damaged(content: bytes) -> Make:
    def make(data: Path) -> Path:
        for file in (data / "good").iterdir():
            file.write_bytes(content)
        return data

    return make


def _manifest(content: str | bytes, name: str = "list.csv") -> Make:
    def make(data: Path) -> Path:
        file = data / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return make


def _two_good_folders(data: Path) -> Path:
    shutil.copytree(data / "good", data / "masks")
    shutil.copytree(data / "good", data / "ground_truth")
    return data


TRAIN: dict[str, tuple[Make, str]] = {
    "an empty folder": (_empty, "got"),
    "only text files": (_only_text, "got"),
    "a folder that is not there": (_missing, "nowhere"),
    "a name too long for the disk": (_too_long, "aaaa"),
    "an image in the place of a folder": (_a_file, "0.png"),
    "only bad parts": (_only_bad, "good"),
    "a good folder without images": (_empty_good, "good"),
    "good images that are empty files": (_damaged(b""), "must not be empty"),
    "good images that are text": (_damaged(b"no image at all"), "must be an image"),
    "good images that are cut": (_damaged(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "must be"),
    "two folders of masks": (_two_good_folders, "must have one folder of the kind"),
    "an empty manifest": (_manifest(""), "manifest"),
    "a manifest without columns": (_manifest("a,b\n1,2\n"), "manifest"),
    "a manifest of files that are not there": (_manifest("path,category,label\nx.png,bolt,good\n"), "x.png"),
    "a manifest with another label": (_manifest("path,category,label\ngood/0.png,bolt,maybe\n"), "maybe"),
    "a manifest without labels": (_manifest("path,category,label\ngood/0.png,bolt,\n"), "label"),
    "a binary manifest": (_manifest(b"\xff\xfe\x00\x01"), "manifest"),
    "a JSON manifest that is cut": (_manifest('{"path": "good/0.png", "cat', "list.jsonl"), "list.jsonl"),
    "a JSON manifest of numbers": (_manifest("5\n", "list.jsonl"), "list.jsonl"),
    "a manifest of another kind": (_manifest("x", "list.xml"), "list.xml"),
}


@pytest.mark.parametrize("name", TRAIN)
def test_data_no_run_can_be_trained_on_are_one_line(
    name: str, data: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    make, words = TRAIN[name]
    place, out = make(data), tmp_path / "run"
    assert words in refused("train", place, "--out", out, "--recipe", tiny_recipe, "--device", "cpu")
    assert not out.exists()


@pytest.mark.parametrize("layout", ["", "coco", "MVTEC", "folder;rm"])
def test_a_layout_that_is_not_known_is_one_line(
    layout: str, data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "layout must be one of" in refused("train", data, "--out", tmp_path / "run", "--layout", layout)


@pytest.mark.parametrize("layout", ["mvtec", "visa", "real_iad"])
def test_data_of_another_layout_are_one_line(
    layout: str, data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert str(data) in refused("train", data, "--out", tmp_path / "run", "--layout", layout)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who may not read everything")
def test_a_folder_that_may_not_be_read_is_one_line(data: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (data / "good").chmod(0)
    try:
        assert "must be readable" in refused("train", data, "--out", tmp_path / "run")
    finally:
        (data / "good").chmod(0o755)


def test_a_data_set_without_test_images_is_one_line(run: Path, data: Path, refused: Callable[..., str]) -> None:
    shutil.rmtree(data / "bad")
    assert "must hold test images" in refused("evaluate", run, data, "--device", "cpu")


def test_a_mask_of_another_size_is_one_line(run: Path, data: Path, refused: Callable[..., str]) -> None:
    from PIL import Image

    (data / "masks/bad").mkdir(parents=True)
    Image.new("L", (8, 8), 255).save(data / "masks/bad/0.png")
    assert "must have the size of its image" in refused("evaluate", run, data, "--device", "cpu")


def test_a_damaged_test_image_is_one_line(run: Path, data: Path, refused: Callable[..., str]) -> None:
    (data / "bad/0.png").write_bytes(b"no image")
    assert "must be an image" in refused("evaluate", run, data, "--device", "cpu")
