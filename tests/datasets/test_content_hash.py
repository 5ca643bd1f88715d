"""The hash of a data set: the same for the same images wherever they lie, another for any other."""

import shutil
from pathlib import Path

import pytest

from muad import open_catalog
from muad.datasets.content_hash import content_hash, relative_name


def _hash(root: Path) -> str:
    return content_hash(open_catalog(root).records, root)


@pytest.fixture
def copy(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "moved" / "photos"))


def test_a_moved_data_set_keeps_its_hash_in_any_order(photos: Path, copy: Path) -> None:
    assert _hash(copy) == _hash(photos)
    assert content_hash(reversed(open_catalog(copy).records), copy) == _hash(photos)


def test_a_changed_missing_or_renamed_image_changes_it(photos: Path, copy: Path) -> None:
    seen = {_hash(photos)}
    file = copy / "bolt/train/good/000.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3] + b"abc")
    seen.add(_hash(copy))
    file.rename(file.with_name("zzz.png"))
    seen.add(_hash(copy))
    (copy / "bolt/train/good/001.png").unlink()
    seen.add(_hash(copy))
    assert len(seen) == 4


def test_large_files_differ_by_their_ends(copy: Path) -> None:
    file = copy / "bolt/train/good/000.png"
    file.write_bytes(bytes(300_000) + b"a")
    first = _hash(copy)
    file.write_bytes(bytes(300_000) + b"b")
    assert _hash(copy) != first


def test_a_file_that_cannot_be_read_is_no_fault_of_the_hash(copy: Path) -> None:
    records = open_catalog(copy).records
    before = content_hash(records, copy)
    records[0].path.unlink()
    assert content_hash(records, copy) != before


def test_names_are_taken_from_the_folder_or_from_that_of_the_manifest(tmp_path: Path) -> None:
    assert relative_name(tmp_path / "a" / "b.png", tmp_path) == "a/b.png"
    assert relative_name(tmp_path / "a" / "b.png", tmp_path / "list.csv") == "a/b.png"
    assert relative_name(tmp_path.parent / "b.png", tmp_path) == "../b.png"
