"""What a run remembers of its images, wherever the data go later."""

import os
from pathlib import Path

import pytest

from muad.errors import CheckpointError
from muad.runs.images import (
    UNREADABLE,
    file_digest,
    images_of,
    kept_for_calibration,
    read_run_images,
    write_run_images,
)
from muad.types import Record


def _records(folder: Path, *names: str) -> list[Record]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return [Record(path=folder / name, category="bolt", split="train", is_anomalous=False) for name in names]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    images = images_of(data, "folder", _records(data, "bolt/1.png", "bolt/2.png"), _records(data, "bolt/3.png"))
    write_run_images(run, images)
    assert read_run_images(run) == images
    assert images.calibration == {"bolt": {"bolt/3.png": file_digest(data / "bolt/3.png")}}
    assert len(set(images.training["bolt"].values())) == 2


def test_kept_images_are_known_to_the_folder_of_a_category_too(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    assert kept_for_calibration(run) == frozenset()
    write_run_images(run, images_of(data, "folder", _records(data, "1.png"), _records(data, "2.png")))
    for folder in (run, run / "categories" / "bolt"):
        assert kept_for_calibration(folder) == {data / "2.png"}


def test_names_of_a_manifest_are_taken_from_its_folder(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,category,label\n", encoding="utf-8")
    images = images_of(manifest, "manifest", [], _records(tmp_path, "a/1.png"))
    assert images.calibration_names == {"a/1.png"}
    assert images.base == tmp_path


def test_a_file_that_cannot_be_read_has_a_digest_of_its_own(tmp_path: Path) -> None:
    assert file_digest(tmp_path / "no.png") == UNREADABLE


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 2}', '{"format_version": 1}'])
def test_a_file_of_another_form_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "images.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="Restore it or train again"):
        read_run_images(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that cannot hold another")
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="run folder must be writable"):
        write_run_images(tmp_path / "file" / "run", images_of(tmp_path, "folder", [], []))
