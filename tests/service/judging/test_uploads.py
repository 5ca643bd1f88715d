"""Uploads are refused before a pixel of them is decoded, and what passes is read like a file."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muad.errors import DataError
from muad.images.reading import read_image
from muad.service.judging.uploads import UploadError, UploadSettings, check_upload

SETTINGS = UploadSettings()
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def encoded(kind: str, pixels: np.ndarray = PIXELS, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def png_header(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims a size, with hardly any data."""
    whole = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for name, content in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")):
        whole += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return whole


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("evil.class", "x")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM"])
def test_every_format_the_project_reads_passes_and_is_read_as_from_disk(kind: str, tmp_path: Any) -> None:
    content = encoded(kind)
    upload = check_upload(content, None, SETTINGS)
    assert (upload.format, upload.width, upload.height) == (kind, 30, 20)
    assert check_upload(content, upload.media_type + "; charset=binary", SETTINGS) == upload
    file = tmp_path / f"photo{upload.suffix}"
    file.write_bytes(content)
    np.testing.assert_array_equal(read_image(upload.image), read_image(file))


def test_sixteen_bits_of_colour_and_orientation_survive_the_way_through_memory(tmp_path: Any) -> None:
    import cv2

    deep = np.random.default_rng(1).integers(0, 4096, (12, 18, 3), np.uint16)
    content = cv2.imencode(".png", deep)[1].tobytes()
    file = tmp_path / "deep.png"
    file.write_bytes(content)
    np.testing.assert_array_equal(
        read_image(check_upload(content, "image/png", SETTINGS).image, (0, 4095)), read_image(file, (0, 4095))
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(check_upload(encoded("JPEG", exif=exif), None, SETTINGS).image).shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("content", "declared", "status", "words"),
    [
        (b"", None, 422, "must not be empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "image/svg+xml", 415, "begins like none"),
        (b"<?xml version='1.0'?><svg/>", None, 415, "begins like none"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", None, 415, "begins like none"),
        (b"8BPS\0\1" + b"\0" * 40, None, 415, "begins like none"),
        (b"\0\0\1\0\1\0" + b"\0" * 40, "image/x-icon", 415, "begins like none"),
        (encoded("PNG"), "image/jpeg", 415, "must be that of the file, image/png, got image/jpeg"),
        (encoded("PNG"), "text/html", 415, "got text/html"),
        (encoded("PNG"), "<script>alert(1)</script>", 415, "got something else"),
        (png_header(60_000, 60_000), None, 413, "must be small enough to decode safely"),
        (png_header(12_000, 6_000), None, 413, "at most 64 megapixels, got 12000x6000 (72)"),
        (encoded("PNG")[:30], None, 422, "a whole PNG, got a file with a damaged header"),
        (encoded("JPEG")[:20], None, 422, "damaged"),
        (b"\xff\xd8\xff" + b"GIF89a" * 20, None, 422, "a whole JPEG"),
        (encoded("JPEG") + archive(), None, 415, "nothing but a photograph"),
        (encoded("PNG") + archive(), None, 415, "nothing but a photograph"),
        (encoded("JPEG", comment=b"%PDF-1.4 1 0 obj"), None, 415, "nothing but a photograph"),
        (encoded("GIF", comment=b"*/=1;<ScRipt>alert(1)</script>"), None, 415, "nothing but a photograph"),
        (encoded("PNG") + b"<?php system($_GET[0]); ?>", None, 415, "nothing but a photograph"),
        (encoded("PNG") + b"\n<html><body>hello</body></html>", None, 415, "nothing but a photograph"),
    ],
)  # fmt: skip
def test_what_is_hostile_or_no_photograph_is_refused_with_its_status(
    content: bytes, declared: str | None, status: int, words: str
) -> None:
    with pytest.raises(UploadError) as refused:
        check_upload(content, declared, SETTINGS)
    assert words in str(refused.value)
    assert refused.value.status == status


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_several_frames_are_refused_because_nobody_said_which_one_is_meant(kind: str) -> None:
    others = [Image.fromarray(255 - PIXELS)]
    with pytest.raises(UploadError, match="one frame or page") as refused:
        check_upload(encoded(kind, save_all=True, append_images=others), None, SETTINGS)
    assert refused.value.status == 422


def test_a_jpeg_with_a_preview_behind_it_is_the_photograph_in_front() -> None:
    content = encoded("MPO", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    upload = check_upload(content, "image/jpeg", SETTINGS)
    np.testing.assert_array_equal(read_image(upload.image), np.asarray(Image.open(io.BytesIO(content))))


def test_a_tiff_that_lists_a_million_pages_costs_no_time() -> None:
    page = struct.pack("<HHHII", 1, 256, 3, 1, 1)
    content = b"II*\0" + struct.pack("<I", 8)
    for _ in range(20_000):
        content += page + struct.pack("<I", len(content) + len(page) + 4)
    with pytest.raises(UploadError):
        check_upload(content, None, SETTINGS)


def test_a_bomb_takes_no_memory_before_it_is_refused() -> None:
    bomb = png_header(13_000, 13_000)
    tracemalloc.start()
    try:
        with pytest.raises(UploadError):
            check_upload(bomb, None, SETTINGS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused_when_read() -> None:
    packed = zlib.compress(b"\0" * 80_000_000)
    content = png_header(20, 20, (b"zTXt", b"note\0\0" + packed))
    with pytest.raises(DataError, match="damaged"):
        read_image(check_upload(content, None, SETTINGS).image)


def test_a_truncated_photograph_passes_by_its_header_and_is_refused_when_read() -> None:
    content = encoded("JPEG", np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8))
    upload = check_upload(content[: len(content) // 2], None, SETTINGS)
    with pytest.raises(DataError, match="damaged or truncated"):
        read_image(upload.image)


def test_limits_of_size_are_those_of_the_settings() -> None:
    content = encoded("BMP")
    with pytest.raises(UploadError, match=r"at most 0.001 MB, got 0\.001894") as refused:
        check_upload(content, None, UploadSettings(mb=0.001))
    assert refused.value.status == 413
    with pytest.raises(UploadError, match=r"at most 0.0005 megapixels, got 30x20"):
        check_upload(content, None, UploadSettings(megapixels=0.0005))
