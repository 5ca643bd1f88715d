"""The toy factory as a folder in the layout of MVTec AD."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from muad.errors import ConfigError, DataError
from muad.images.loading import read_ahead
from muad.threads import reading_threads
from muad.toy_factory.products import PRODUCTS, check_category, check_image_px, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Piece = TypeVar("Piece")
MANIFEST_NAME = "toy_factory.json"
# Raised whenever the same parameters give other pictures.
EDITION = 1
# Pieces of one split or kind are numbered within a block of their own, so that no number depends on how many are made.
BLOCK = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for; equal orders give equal folders."""

    edition: int
    seed: int
    image_px: int
    train_per_category: int
    test_normal: int
    test_per_defect: int
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One image to write: its category, kind of defect, number, and the files relative to the folder."""

    category: str
    defect: str | None
    index: int
    image: str
    mask: str | None


def write_toy_factory(
    out: Path,
    *,
    seed: int = 0,
    image_px: int = 256,
    train_per_category: int = 48,
    test_normal: int = 16,
    test_per_defect: int = 6,
    categories: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the toy factory's images and masks, or what is missing of them.

    A run that was interrupted is completed by the next one with the same parameters; a complete folder is left as
    it is. An image depends on the seed, its size, its category, its kind and its number only, never on the counts.

    Args:
        out: Folder to write to, new or empty or from an earlier run.
        seed: Seed of everything random.
        image_px: Side of the square images.
        train_per_category: Normal images to train on.
        test_normal: Normal images to test on.
        test_per_defect: Images to test on of each kind of defect.
        categories: Which of `PRODUCTS` to write; all when None.
        progress: Called with the number of images done and to do, after each.

    Raises:
        ConfigError: A parameter is out of range.
        DataError: The folder holds something else, or the factory with other parameters, or cannot be written.
    """
    order = _check(
        _Order(
            edition=EDITION,
            seed=seed,
            image_px=image_px,
            train_per_category=train_per_category,
            test_normal=test_normal,
            test_per_defect=test_per_defect,
            categories=tuple(PRODUCTS) if categories is None else tuple(dict.fromkeys(categories)),
        )
    )
    pieces = list(_pieces(order))
    fill_folder(out, _as_json(order), pieces, lambda piece: _complete(out, piece, order), progress)


def fill_folder(
    out: Path,
    order: Mapping[str, object],
    pieces: Sequence[Piece],
    complete: Callable[[Piece], None],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write what is missing of an order, and note that it is complete.

    Args:
        out: Folder to write to, new or empty or from an earlier run of the same order.
        order: What was asked for, as plain values.
        pieces: What to write.
        complete: Writes one of them, unless that was done before.
        progress: Called with the number of pieces done and to do, after each.

    Raises:
        DataError: The folder holds something else, or cannot be written.
    """
    try:
        _open_folder(out, order)
        # Threads are enough: nearly all of the time is numpy's and OpenCV's, which release Python's lock.
        with closing(read_ahead(complete, pieces, ahead=reading_threads())) as made:
            for done, _ in enumerate(made, start=1):
                if progress is not None:
                    progress(done, len(pieces))
        _write_manifest(out, order, complete=True)
    except OSError as error:
        raise DataError(
            f"output folder must be writable, got {out} ({error.strerror or error}). Free some space or name another."
        ) from error


def piece_index(defect: str | None, number: int, *, train: bool = False) -> int:
    """The index that `render` takes for the image of that number in a folder of one split and kind."""
    kinds = sorted({kind for product in PRODUCTS.values() for kind in product.defects})
    block = 0 if train else 1 if defect is None else 2 + kinds.index(defect)
    return block * BLOCK + number


def _check(order: _Order) -> _Order:
    """Refuse what cannot be written."""
    for category in order.categories:
        check_category(category)
    check_image_px(order.image_px)
    limits = {
        "seed": (order.seed, 0, 2**63),
        "train_per_category": (order.train_per_category, 1, BLOCK),
        "test_normal": (order.test_normal, 0, BLOCK),
        "test_per_defect": (order.test_per_defect, 0, BLOCK),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value < high:
            raise ConfigError(f"{name} must be at least {low} and below {high}, got {value}. Choose another number.")
    if not order.categories:
        raise ConfigError(f"categories must name at least one, got none. Choose from {', '.join(PRODUCTS)}.")
    return order


def _pieces(order: _Order) -> Iterator[_Piece]:
    """Every image of the order, in the order of writing."""
    for category in order.categories:
        for number in range(order.train_per_category):
            index = piece_index(None, number, train=True)
            yield _Piece(category, None, index, f"{category}/train/good/{number:03d}.png", None)
        for number in range(order.test_normal):
            yield _Piece(category, None, piece_index(None, number), f"{category}/test/good/{number:03d}.png", None)
        for defect in PRODUCTS[category].defects:
            for number in range(order.test_per_defect):
                image = f"{category}/test/{defect}/{number:03d}.png"
                mask = f"{category}/ground_truth/{defect}/{number:03d}_mask.png"
                yield _Piece(category, defect, piece_index(defect, number), image, mask)


def _open_folder(out: Path, order: Mapping[str, object]) -> None:
    """Make the folder, or make sure that it was begun with the same order."""
    if out.exists() and not out.is_dir():
        raise DataError(f"output must be a folder, got the file {out}. Name another.")
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST_NAME
    if manifest.is_file():
        theirs, ours = _read_manifest(manifest), order
        changed = [
            f"{name} {theirs.get(name)} there, {asked} asked"
            for name, asked in ours.items()
            if theirs.get(name) != asked
        ]
        if changed:
            raise DataError(
                f"output folder must be new or hold the same toy factory, got {out} with other parameters "
                f"({'; '.join(changed)}). Name another folder, ask for the same, or delete it."
            )
        return
    if any(entry.name != _part(manifest).name for entry in out.iterdir()):
        raise DataError(
            f"output folder must be new, empty or an earlier toy factory, got {out} with other files and no "
            f"{MANIFEST_NAME}. Name another folder."
        )
    _write_manifest(out, order, complete=False)


def _read_manifest(manifest: Path) -> dict[str, object]:
    """What an earlier run noted."""
    try:
        noted = json.loads(manifest.read_text("utf-8"))
    except ValueError:
        noted = None
    if not isinstance(noted, dict):
        raise DataError(f"{MANIFEST_NAME} must be a JSON object, got {manifest}. Delete that folder and run again.")
    return noted


def _write_manifest(out: Path, order: Mapping[str, object], *, complete: bool) -> None:
    """Note the order; that it is complete is noted last."""
    noted = {**order, "complete": complete}
    write_whole(out / MANIFEST_NAME, (json.dumps(noted, indent=2) + "\n").encode())


def _as_json(order: _Order) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(order).items()}


def _is_written(out: Path, piece: _Piece) -> bool:
    """Whether an earlier run wrote this image, and its mask where it has one; files appear only when whole."""
    return (out / piece.image).is_file() and (piece.mask is None or (out / piece.mask).is_file())


def _complete(out: Path, piece: _Piece, order: _Order) -> None:
    """Render one image and write it, its mask first, unless that was done before."""
    if _is_written(out, piece):
        return
    image, mask = render(
        piece.category, seed=order.seed, index=piece.index, defect=piece.defect, image_px=order.image_px
    )
    if piece.mask is not None:
        write_whole(out / piece.mask, as_png(mask.astype(np.uint8) * 255))
    write_whole(out / piece.image, as_png(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)))


def as_png(image: np.ndarray) -> bytes:
    """An image in BGR, or a mask, as the bytes of a file."""
    # The sensor noise does not compress: more effort than level 1 costs time and saves nothing.
    _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(encoded)


def _part(path: Path) -> Path:
    """Where a file is while it is being written."""
    return path.with_name(f".{path.name}.part")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _part(path).write_bytes(content)
    _part(path).replace(path)
