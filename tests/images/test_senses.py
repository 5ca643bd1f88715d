"""The files that show one part to several cameras."""

from pathlib import Path

import pytest

from muad.errors import DataError
from muad.images.senses import beside, missing_beside


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for name in ("a/rgb/7.png", "a/xyz/7.tiff", "RGB/test/hole/7.png", "Infrared/test/hole/7.jpg", "flat/7.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_the_innermost_folder_of_a_sense_is_exchanged(parts: Path) -> None:
    assert beside(parts / "a/rgb/7.png", "depth") == parts / "a/xyz/7.tiff"
    assert beside(parts / "a/xyz/7.tiff", "colour") == parts / "a/rgb/7.png"
    assert beside(parts / "RGB/test/hole/7.png", "infrared") == parts / "Infrared/test/hole/7.jpg"
    assert beside(parts / "a/rgb/7.png", "colour") == parts / "a/rgb/7.png"


def test_a_path_without_such_a_folder_is_colour(parts: Path) -> None:
    assert beside(parts / "flat/7.png", "colour") == parts / "flat/7.png"
    with pytest.raises(DataError, match=r"depth of image .*7\.png must lie beside it, .* no such folder in its path"):
        beside(parts / "flat/7.png", "depth")


def test_prepared_depth_goes_before_points(parts: Path) -> None:
    (parts / "a/Z").mkdir()
    assert missing_beside([parts / "a/rgb/7.png"], "depth") == [parts / "a/rgb/7.png"]
    (parts / "a/Z/7.png").write_bytes(b"")
    assert beside(parts / "a/rgb/7.png", "depth") == parts / "a/Z/7.png"


def test_none_and_several_are_named(parts: Path) -> None:
    with pytest.raises(DataError, match=r"infrared of image .* got none in"):
        beside(parts / "a/rgb/7.png", "infrared")
    (parts / "a/xyz/7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"must be one file, got .*7\.png and .*7\.tiff"):
        beside(parts / "a/rgb/7.png", "depth")
