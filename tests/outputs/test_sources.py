"""Which images are found, and names that stay apart on every file system."""

import os
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muad.errors import DataError
from muad.outputs import find_images
from muad.outputs.names import free_name, name_key, safe_name


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _names(*paths: Path) -> list[str]:
    return [source.name.as_posix() for source in find_images(paths)]


def test_a_folder_is_searched_through_and_names_are_relative_to_it(tmp_path: Path) -> None:
    _touch(tmp_path, "b/2.PNG", "b/1.jpg", "a.bmp", "notes.txt", ".hidden/3.png", ".4.png")
    assert _names(tmp_path) == ["a", "b/1", "b/2"]


def test_images_of_several_folders_keep_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "line1/0001.png", "line2/0001.png", "line2/good/0001.png")
    assert _names(tmp_path / "line1", tmp_path / "line2") == ["line1/0001", "line2/0001", "line2/good/0001"]
    assert _names(tmp_path / "line2" / "0001.png", tmp_path / "line1" / "0001.png") == ["line2/0001", "line1/0001"]
    assert _names(tmp_path / "line1" / "0001.png") == ["0001"]


def test_images_that_differ_in_their_ending_alone_keep_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "1.bmp", "1.png", "1.png.bmp")
    names = _names(tmp_path)
    assert names == ["1", "1.png", "1.png.bmp"]
    assert len(set(names)) == 3


def test_an_image_named_twice_is_predicted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    assert _names(Path("2.png"), Path(), tmp_path / "1.png") == ["2", "1"]


def test_a_file_given_by_name_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    _touch(tmp_path, "camera.raw")
    assert _names(tmp_path / "camera.raw") == ["camera"]


def test_a_missing_path_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "empty/notes.txt", "1.png")
    with pytest.raises(DataError, match="must be an existing image or folder"):
        find_images([tmp_path / "1.png", tmp_path / "2.png"])
    with pytest.raises(DataError, match="must hold images"):
        find_images([tmp_path / "1.png", tmp_path / "empty"])


def test_a_device_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be an image or a folder of images, got /dev/null, a device or pipe"):
        find_images([Path("/dev/null")])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="a device or pipe"):
        find_images([tmp_path / "pipe.png"])


def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    assert _names(tmp_path) == ["a/1"]


def test_written_pictures_are_not_taken_for_photographs(tmp_path: Path) -> None:
    _touch(tmp_path, "1.png", "out/overlays/1.png", "out/maps/1.png", "overlays/2.png")
    found = find_images([tmp_path], out=tmp_path / "out")
    assert [source.name.as_posix() for source in found] == ["1", "overlays/2"]
    _touch(tmp_path, "out/results.csv", "out/results.json")  # of a run before
    assert _names(tmp_path) == ["1", "overlays/2"]
    found = find_images([tmp_path], out=tmp_path)  # results beside the photographs
    assert [source.name.as_posix() for source in found] == ["1"]


def test_names_that_differ_by_case_alone_keep_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "A.png", "a.png", "b\u00e9.png", "be\u0301.png")
    names = _names(tmp_path)
    assert len({name.casefold() for name in names}) == 4
    assert names[:2] == ["A", "a.png"]


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("bolt/0001", "bolt/0001"),
        ("Schraube süß/日本", "Schraube süß/日本"),
        ("a:b", "a_b"),
        ("con", "_con"),
        ("COM1.tar", "_COM1.tar"),
        ("console", "console"),
        ("CONIN$", "_CONIN$"),
        ("aux/nul", "_aux/_nul"),
        ("part. ", "part__"),
        ("two\nlines\t?*", "two_lines___"),
        ("not\udcfftext", "not_text"),
        ("maps.png/1", "maps.png_/1"),
    ],
)
def test_names_can_be_read_on_windows(given: str, safe: str) -> None:
    assert safe_name(Path(given)).as_posix() == safe


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=400).filter(lambda text: text.strip(".")))
def test_a_safe_name_is_short_stays_safe_and_is_never_reserved(text: str) -> None:
    safe = safe_name(Path(text))
    assert safe_name(safe) == safe
    assert len(safe.name.encode()) <= 190
    assert not safe.name.endswith((".", " "))
    assert not set(safe.name) & set('<>:"|?*\\/\n\r')
    assert safe.name.split(".")[0].rstrip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


def test_long_names_with_one_beginning_keep_apart() -> None:
    one, other = safe_name(Path("ä" * 120 + "1")), safe_name(Path("ä" * 120 + "2"))
    assert one != other


def test_ten_thousand_equal_names_are_found_at_once() -> None:
    taken: set[str] = set()
    begin = perf_counter()
    names = [free_name(Path(f"{number}/0001.png"), taken) for number in range(10_000)]
    assert perf_counter() - begin < 5  # 18 ms each would be 180 s
    assert len({name_key(name) for name in names}) == 10_000
    assert free_name(Path("7/0001.png"), taken) == Path("7/0001.png")
    assert free_name(Path("7/0001.png"), taken) == Path("7/0001-2")
