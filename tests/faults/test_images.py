"""Damaged, odd and foreign image files: named one by one, and exit code 2 where nothing could be judged."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _png(size: tuple[int, int] = (16, 16), colour_type: int = 2, body: bytes | None = None) -> bytes:
    """A PNG of a stated size with any body."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", *size, 8, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 100) if body is None else body
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _saved(kind: str, mode: str = "RGB") -> bytes:
    out = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).convert(mode).save(out, kind)
    return out.getvalue()


FILES = {
    "empty.png": b"",
    "text.png": b"this is no image",
    "html.jpg": b"<html><body>404</body></html>",
    "zeros.png": bytes(1000),
    "head_only.png": _saved("PNG")[:33],
    "cut.png": _saved("PNG")[:-300],
    "cut.jpg": _saved("JPEG")[:-400],
    "cut.bmp": _saved("BMP")[:-400],
    "cut.tif": _saved("TIFF")[:300],
    "cut.webp": _saved("WEBP")[:-400],
    "cut.gif": _saved("GIF")[:200],
    "no_size.png": _png((0, 16)),
    "bomb.png": _png((60_000, 60_000)),
    "few_pixels.png": _png((64, 64)),
    "no_deflate.png": _png(body=b"pixels"),
    "colour_type.png": _png(colour_type=5),
    "zip.png": b"PK\x03\x04" + bytes(200),
    "pdf.jpg": b"%PDF-1.7\n" + bytes(200),
    "float.tif": b"II*\x00\x08\x00\x00\x00" + bytes(40),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_image_is_named(
    name: str, run: Path, tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else was given, so nothing was judged: that is no success."""
    file = tmp_path / name
    file.write_bytes(FILES[name])
    said = refused("predict", run, file, "--out", tmp_path / "out", "--category", "pill_blister")
    assert said
