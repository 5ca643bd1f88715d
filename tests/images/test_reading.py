"""What is read is what was stored, whatever the file is like; and a file that cannot be read says so."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muad.errors import DataError
from muad.images.reading import (
    IMAGE_SUFFIXES,
    image_size,
    image_to_rgb,
    is_image_file,
    read_image,
    read_mask,
    read_pair,
)
from muad.types import Record

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), dtype=np.uint16)

# What the eight values of the EXIF orientation say of the stored pixels, by the standard's own words.
UPRIGHT = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    8: lambda pixels: np.rot90(pixels, 1),
}


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_deep(path: Path, pixels: np.ndarray) -> Path:
    is_written, data = cv2.imencode(path.suffix, pixels)
    assert is_written
    path.write_bytes(data.tobytes())
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".ppm", ".PNG"])
def test_lossless_rgb_is_read_unchanged(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", RGB)), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".jp2"])
def test_lossy_files_are_read_as_rgb_of_their_size(tmp_path: Path, suffix: str) -> None:
    flat = np.full((64, 48, 3), (200, 30, 90), np.uint8)
    assert np.abs(read_image(save(tmp_path / f"a{suffix}", flat)).astype(int) - flat).max() <= 4


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.png", GREY))
    np.testing.assert_array_equal(pixels, np.repeat(GREY[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", RGB, exif=exif, **options)
    expected = UPRIGHT[orientation](RGB)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(read_mask(path, "grey"), expected.max(axis=2))


def test_orientation_stored_behind_the_pixels_counts_for_pixels_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    path = save(tmp_path / "a.png", RGB)
    end = png_chunk(b"IEND", b"")
    path.write_bytes(path.read_bytes().removesuffix(end) + png_chunk(b"eXIf", body) + end)
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, -1))
    assert image_size(path) == (9, 6)


def test_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2))
    image.putdata([0, 1, 2, 1])
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[[100, 100, 100, 255], [100, 100, 100, 0], [100, 100, 100, 51]]], np.uint8)
    path = save(tmp_path / "a.png", pixels, mode)
    assert read_image(path)[0, :, 0].tolist() == [100, 255, round(0.2 * 100 + 0.8 * 255)]


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY > 127)
    with Image.open(path) as image:
        assert image.mode == "1"
    np.testing.assert_array_equal(read_image(path)[:, :, 0], np.where(GREY > 127, 255, 0))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    cyan.save(tmp_path / "a.tif")
    cyan.save(tmp_path / "a.jpg", quality=100)
    assert read_image(tmp_path / "a.tif")[3, 3].tolist() == [0, 255, 255]
    assert np.abs(read_image(tmp_path / "a.jpg")[3, 3].astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bit_grey_keeps_the_high_byte(tmp_path: Path, suffix: str) -> None:
    grey = DEEP[:, :, 0].copy()
    grey[0, :2] = (0, 65535)
    pixels = read_image(save_deep(tmp_path / f"a{suffix}", grey))
    np.testing.assert_array_equal(pixels, np.repeat((grey >> 8)[:, :, None], 3, axis=2))
    assert pixels[0, :2, 0].tolist() == [0, 255]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_the_high_byte(tmp_path: Path, suffix: str) -> None:
    pixels = read_image(save_deep(tmp_path / f"a{suffix}", DEEP[:, :, :3]))
    np.testing.assert_array_equal(pixels, DEEP[:, :, 2::-1] >> 8)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_alpha_is_laid_over_white(tmp_path: Path, suffix: str) -> None:
    deep = DEEP.copy()
    deep[:, :, 3] = 65535
    deep[0, 0, 3] = 0
    pixels = read_image(save_deep(tmp_path / f"a{suffix}", deep))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(pixels[1:], (deep[1:, :, 2::-1] >> 8))


def test_transparent_value_of_16_bit_grey_is_white(tmp_path: Path) -> None:
    path = save_deep(tmp_path / "a.png", np.array([[500, 20000]], np.uint16))
    data = path.read_bytes()
    start = data.index(b"IDAT") - 4
    path.write_bytes(data[:start] + png_chunk(b"tRNS", struct.pack(">H", 20000)) + data[start:])
    assert read_image(path)[0, :, 0].tolist() == [1, 255]


def test_floats_from_0_to_1_become_0_to_255(tmp_path: Path) -> None:
    path = save_deep(tmp_path / "a.tiff", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [-0.1, 255.0, np.nan, np.inf])
def test_other_floats_are_refused(tmp_path: Path, value: float) -> None:
    path = save_deep(tmp_path / "a.tiff", np.array([[0.0, value]], np.float32))
    with pytest.raises(DataError, match=r"a\.tiff must have finite values in \[0, 1\].*got"):
        read_image(path)


def test_floating_point_colour_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = save_deep(tmp_path / "a.tiff", np.zeros((2, 2, 3), np.float32))
    with pytest.raises(DataError, match=r"floating-point colour.*convert"):
        read_image(path)


def test_32_bit_integers_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", np.zeros((2, 2), np.int32))
    with pytest.raises(DataError, match="8 or 16 bits per channel, got 32-bit integers"):
        read_image(path)


def test_an_opened_image_is_read_by_the_same_rules() -> None:
    with pytest.raises(DataError, match="image 3 must have 8 or 16 bits"):
        image_to_rgb(Image.new("I", (2, 2)), "image 3")
    np.testing.assert_array_equal(image_to_rgb(Image.new("RGBA", (1, 1)), "image 3"), [[[255, 255, 255]]])


def test_unicode_and_spaces_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "Prüfteile 检测"
    folder.mkdir()
    path = save(folder / "Schräubchen é 1.png", RGB)
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (6, 9)


def test_image_endings_are_known_in_any_case() -> None:
    assert all(is_image_file(Path(f"a{suffix.upper()}")) for suffix in IMAGE_SUFFIXES)
    assert not is_image_file(Path("notes.txt"))
    assert not is_image_file(Path("png"))


@pytest.mark.parametrize("read", [read_image, image_size, lambda path: read_mask(path, "grey")])
@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"", "got 0 bytes"), (b"%PDF-1.4 no image at all", "no decoder recognises"), (None, "No such file")],
    ids=["empty", "no image", "missing"],
)
def test_an_unreadable_file_is_named_with_its_cause_and_remedy(tmp_path, read, content, cause) -> None:
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=cause) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Is a directory"):
        read_image(tmp_path)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = save(tmp_path / f"a{suffix}", pixels).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match="cut"):
        read_image(tmp_path / f"cut{suffix}")


def test_damage_inside_a_png_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    data = bytearray(path.read_bytes())
    middle = data.index(b"IDAT") + 12
    data[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged or truncated"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_decompression_bomb_is_refused_before_it_unpacks(tmp_path: Path, read) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match=r"bomb\.png must be small enough"):
        read(tmp_path / "bomb.png")


def test_grey_mask_keeps_soft_edges(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", GREY), "grey"), GREY)


def test_colour_mask_is_reduced_by_its_maximum(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", RGB), "grey"), RGB.max(axis=2))


def test_transparent_pixels_of_a_mask_are_no_defect(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    path = save(tmp_path / "a.png", pixels)
    assert read_mask(path, "grey").tolist() == [[255, 0, 0]]
    assert read_mask(path, "labels").tolist() == [[255, 0, 0]]


def test_one_bit_and_16_bit_masks_use_the_whole_range(tmp_path: Path) -> None:
    marked = GREY > 127
    np.testing.assert_array_equal(read_mask(save(tmp_path / "1.png", marked), "grey"), marked * 255)
    deep = save_deep(tmp_path / "16.png", marked.astype(np.uint16) * 65535)
    np.testing.assert_array_equal(read_mask(deep, "grey"), marked * 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_any_small_label_is_defect(tmp_path: Path, dtype: type) -> None:
    path = save(tmp_path / "a.tiff", np.array([[0, 1, 7]], dtype))
    assert read_mask(path, "labels").tolist() == [[0, 255, 255]]


def test_palette_masks_are_colours_when_grey_and_indices_when_labels(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([0, 0, 0, 200, 10, 0, 0, 0, 0])
    image.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", "grey").tolist() == [[0, 200, 0]]
    assert read_mask(tmp_path / "a.png", "labels").tolist() == [[0, 255, 255]]


def test_labels_in_16_bit_colour_are_refused(tmp_path: Path) -> None:
    path = save_deep(tmp_path / "a.png", np.ones((2, 2, 3), np.uint16))
    with pytest.raises(DataError, match="one channel or 8 bits"):
        read_mask(path, "labels")


def test_a_pair_agrees_in_size_once_the_image_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = save(tmp_path / "a.png", RGB, exif=exif)
    mask = save(tmp_path / "a_mask.png", np.rot90(GREY, -1))
    record = Record(path=image, category="a", split="test", is_anomalous=True, mask_path=mask)
    pixels, marked = read_pair(record)
    assert marked is not None
    assert marked.shape == pixels.shape[:2] == (9, 6)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    image, mask = save(tmp_path / "a.png", RGB), save(tmp_path / "a_mask.png", GREY[:5])
    record = Record(path=image, category="a", split="test", is_anomalous=True, mask_path=mask)
    with pytest.raises(DataError, match=r"a_mask\.png must have the size of its image, 6x9, got 5x9"):
        read_pair(record)


def test_a_pair_without_mask_has_none(tmp_path: Path) -> None:
    record = Record(path=save(tmp_path / "a.png", RGB), category="a", split="train", is_anomalous=False)
    assert read_pair(record)[1] is None
