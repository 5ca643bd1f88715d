"""More than 8 bits: one window for all images, found once; and 8-bit images are not touched by it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muad.errors import DataError
from muad.images.reading import has_pages, image_size, read_image, read_values, values_to_rgb
from muad.images.values import find_value_range, survey

RNG = np.random.default_rng(0)
TWELVE_BIT = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
COLOUR = RNG.integers(0, 4096, (20, 30, 3), dtype=np.uint16)
WINDOW = (96.0, 4000.0)


def _expected(values: np.ndarray) -> np.ndarray:
    levels = np.rint(np.clip((values.astype(float) - 96) / 3904 * 255, 0, 255)).astype(int)
    return np.repeat(levels[..., None], 3, axis=2) if values.ndim == 2 else levels


def _save(path: Path, values: np.ndarray) -> Path:
    if values.ndim == 2:
        Image.fromarray(values).save(path)
    else:
        assert cv2.imwrite(str(path), values[..., ::-1] if values.shape[2] == 3 else values[..., [2, 1, 0, 3]])
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("values", [TWELVE_BIT, COLOUR], ids=["grey", "colour"])
def test_sixteen_bits_are_read_through_the_window(tmp_path: Path, suffix: str, values: np.ndarray) -> None:
    path = _save(tmp_path / f"a{suffix}", values)
    np.testing.assert_array_equal(read_values(path), values)
    assert np.abs(read_image(path, WINDOW).astype(int) - _expected(values)).max() <= 1
    np.testing.assert_array_equal(read_image(path)[..., 0], (values if values.ndim == 2 else values[..., 0]) >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_floating_point_and_long_integers_are_read_through_the_window(tmp_path: Path, dtype: type) -> None:
    values = (RNG.random((20, 30)) * 8000 - 2000).astype(dtype)
    path = _save(tmp_path / "a.tif", values)
    assert np.abs(read_image(path, WINDOW).astype(int) - _expected(values)).max() <= 1
    with pytest.raises(DataError):
        read_image(path)


def test_transparency_of_deep_colour_is_laid_over_white(tmp_path: Path) -> None:
    values = np.full((20, 20, 4), 4000, np.uint16)
    values[..., :3] = 96
    values[..., 3] = 65535
    values[:10, :, 3] = 0
    pixels = read_image(_save(tmp_path / "a.png", values), WINDOW)
    assert (pixels[:10] == 255).all()
    assert (pixels[10:] == 0).all()


def test_eight_bits_stay_as_they_are_whatever_the_window(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    path = _save(tmp_path / "a.png", pixels.astype(np.uint8))
    np.testing.assert_array_equal(read_image(path, WINDOW), pixels)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_deep_colour_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    """As Pillow turns an 8-bit image with the same tag."""
    path, shallow = _save(tmp_path / "a.png", COLOUR), tmp_path / "b.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((COLOUR >> 4).astype(np.uint8)).save(shallow, exif=exif)
    chunk = shallow.read_bytes()
    start = chunk.index(b"eXIf") - 4
    length = int.from_bytes(chunk[start : start + 4]) + 12
    data = path.read_bytes()
    first = data.index(b"IDAT") - 4
    path.write_bytes(data[:first] + chunk[start : start + length] + data[first:])
    np.testing.assert_array_equal(read_values(path) >> 4, read_image(shallow))
    assert image_size(path) == read_values(path).shape[:2]


def test_the_window_covers_all_images_but_for_broken_pixels(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        values = RNG.integers(1000 + 50 * number, 3000 + 100 * number, (64, 64)).astype(np.uint16)
        values[0, 0] = 65535
        paths.append(_save(tmp_path / f"{number}.png", values))
    low, high = find_value_range(paths)
    assert 700 <= low < 1000
    assert 3500 < high < 4000
    assert find_value_range([_save(tmp_path / "dark.png", np.zeros((20, 20), np.uint16))]) == (0.0, 1.0)


def test_a_window_of_signed_values_may_begin_below_zero(tmp_path: Path) -> None:
    low, high = find_value_range([_save(tmp_path / "a.tif", RNG.normal(0, 1, (64, 64)).astype(np.float32))])
    assert low < -3
    assert high > 3


def test_values_that_are_no_numbers_are_told() -> None:
    with pytest.raises(DataError, match=r"image a\.tif must have finite values, got NaN"):
        values_to_rgb(np.full((20, 20), np.nan, np.float32), WINDOW, "image a.tif")


def test_headers_tell_depth_and_pages_and_damaged_files_are_left_to_others(tmp_path: Path) -> None:
    deep = _save(tmp_path / "deep.png", TWELVE_BIT)
    shallow = _save(tmp_path / "shallow.png", RNG.integers(0, 256, (20, 30, 3), np.uint8).astype(np.uint8))
    pages = tmp_path / "pages.tif"
    first, second = Image.new("L", (20, 20), 10), Image.new("L", (20, 20), 200)
    first.save(pages, save_all=True, append_images=[second])
    (tmp_path / "broken.png").write_bytes(b"nothing")
    found = survey(sorted(tmp_path.iterdir()))
    assert (found.deep, found.paged, found.largest_px) == ((deep,), (pages,), 600)
    assert not has_pages(shallow)
    assert (read_image(pages) == 10).all()
