"""Photographs, from folders or tar files, packed once into one array of small squares.

Decoding the JPEGs costs more than training on them at this size. The array is held in memory (0.11 MB an image at
192 px): random reads of a mapped file were slower than the network where the page cache is short.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def iter_files(sources: Sequence[Path]) -> Iterator[bytes]:
    """The encoded bytes of every image, in an order fixed by the names.

    Args:
        sources: Tar files, folders of images (searched to any depth) or folders of tar files.

    Raises:
        FileNotFoundError: If a source does not exist or holds no image.
    """
    for source in sources:
        found = False
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.suffix == ".tar":
                with tarfile.open(path) as archive:
                    for member in sorted(archive.getmembers(), key=lambda m: m.name):
                        stream = archive.extractfile(member) if Path(member.name).suffix.lower() in SUFFIXES else None
                        if stream is not None:
                            found = True
                            yield stream.read()
            elif path.suffix.lower() in SUFFIXES:
                found = True
                yield path.read_bytes()
        if not found:
            raise FileNotFoundError(
                f"--images must name folders or tar files with images, got {source}. Check the path."
            )


def decode_square(encoded: bytes, side_px: int) -> np.ndarray:
    """One image as an RGB square. The aspect ratio is given up so that nothing is cut off.

    Raises:
        ValueError: If the bytes are not an image.
    """
    bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(
            f"every file must be a readable image, got one of {len(encoded)} bytes that is not. Remove it."
        )
    square = cv2.resize(bgr, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(square, cv2.COLOR_BGR2RGB)


def pack_photos(sources: Sequence[Path], cache: Path, side_px: int) -> np.ndarray:
    """All photographs as uint8 [n, side, side, 3], from the cache file where it exists."""
    if not cache.exists():
        with ThreadPoolExecutor() as pool:
            squares = list(pool.map(lambda encoded: decode_square(encoded, side_px), iter_files(sources)))
        _write(cache, np.stack(squares))
    return np.load(cache)


def pack_drawings(
    draw: Callable[[np.random.Generator, int], np.ndarray], count: int, cache: Path, side_px: int
) -> np.ndarray:
    """`count` generated images as uint8 [n, side, side, 3]; image i depends on i alone."""
    if not cache.exists():
        with ThreadPoolExecutor() as pool:
            squares = list(pool.map(lambda i: draw(np.random.default_rng(i), side_px), range(count)))
        _write(cache, np.stack(squares))
    return np.load(cache)


def _write(cache: Path, squares: np.ndarray) -> None:
    # Written beside and renamed, so that a broken-off run leaves no half-written cache behind.
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, squares)
    partial.replace(cache)
