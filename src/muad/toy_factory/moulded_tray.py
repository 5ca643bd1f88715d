"""A tray with twelve domes under a colour and a depth camera: some of its defects have a shape and no colour.

Written in the layout of MVTec 3D-AD: colour as PNG, depth as points in millimetres, a float32 TIFF of three channels,
zero where the depth camera measured nothing.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from muad.errors import ConfigError, DataError
from muad.toy_factory.products import check_image_px

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jaxtyping import Bool, Float32, UInt8

CATEGORY = "moulded_tray"
DEFECTS = ("sunken_dome", "dent", "stain")
"""The first two have no colour, the last has no shape."""
_DISTANCE_MM, _WIDTH_MM = 500.0, 120.0
_DOME_MM, _DOME_RADIUS = 8.0, 0.085
_NOISE_MM = 0.06
_COUNTS = {"train": 40, "validation": 8, "test": 12}
_PER_DEFECT = 8


class Tray(NamedTuple):
    """One piece as both cameras see it.

    Attributes:
        colour: The photograph.
        points: Millimetres to the right, down and away from the camera; zeros where nothing was measured.
        mask: True on the defect.
    """

    colour: UInt8[np.ndarray, "H W 3"]
    points: Float32[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


def render_tray(*, seed: int, index: int, defect: str | None = None, image_px: int = 256) -> Tray:
    """A tray; pose, texture and noise follow from seed and index alone.

    Args:
        seed: Seed of the factory.
        index: Number of the piece.
        defect: One of `DEFECTS`, or None for a normal piece.
        image_px: Side of the square images.

    Raises:
        ConfigError: Unknown defect, or an image size or index out of range.
    """
    check_image_px(image_px)
    if defect is not None and defect not in DEFECTS:
        raise ConfigError(f"defect of {CATEGORY} must be one of {', '.join(DEFECTS)}, got {defect!r}.")
    if seed < 0 or index < 0:
        raise ConfigError(f"seed and index must be 0 or more, got {seed} and {index}. Give whole numbers from 0.")
    rng, fault = (np.random.default_rng([seed, index, zlib.crc32(purpose)]) for purpose in (b"piece", b"fault"))
    # Where each pixel lies on the tray, -0.5 to 0.5, under a small turn and shift.
    turn, shift = rng.normal(0, 0.02), rng.normal(0, 0.008, 2)
    side = (np.arange(image_px, dtype=np.float32) + 0.5) / image_px - 0.5
    x, y = np.meshgrid(side, side)
    x, y = x * np.cos(turn) - y * np.sin(turn) + shift[0], x * np.sin(turn) + y * np.cos(turn) + shift[1]
    tray = (np.abs(x) < 0.46) & (np.abs(y) < 0.38)
    places = [((column - 1.5) * 0.22, (row - 1) * 0.24) for row in range(3) for column in range(4)]
    heights = np.full(len(places), _DOME_MM) * rng.normal(1, 0.01, len(places))
    mask = np.zeros_like(tray)
    chosen = int(fault.integers(len(places)))
    if defect == "sunken_dome":
        heights[chosen] *= fault.uniform(0.45, 0.7)
        mask = _disc(x, y, places[chosen], _DOME_RADIUS)
    height = np.zeros_like(x)
    for (left, top), dome in zip(places, heights, strict=True):
        inside = 1 - ((x - left) ** 2 + (y - top) ** 2) / _DOME_RADIUS**2
        height += np.float32(dome) * np.sqrt(np.clip(inside, 0, None))
    # Between four domes, where the tray is flat.
    corner = (int(fault.integers(3)) - 1) * 0.22, (int(fault.integers(2)) - 0.5) * 0.24
    centre = corner[0] + fault.normal(0, 0.006), corner[1] + fault.normal(0, 0.006)
    if defect == "dent":
        radius = fault.uniform(0.035, 0.05)
        depth = np.float32(fault.uniform(2.5, 4.0))
        height -= depth * np.sqrt(np.clip(1 - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / radius**2, 0, None))
        mask = _disc(x, y, centre, radius)
    colour = _paint(rng, tray, image_px)
    if defect == "stain":
        mask = _disc(x, y, centre, fault.uniform(0.035, 0.05))
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.5, image_px / 200))[..., None]
        colour = colour * (1 - 0.55 * soft) + np.array([70, 50, 30], np.float32) * 0.55 * soft
    photograph = np.clip(np.rint(colour + rng.normal(0, 2, colour.shape)), 0, 255).astype(np.uint8)
    return Tray(photograph, _points(rng, height, tray, side, image_px), mask & tray)


def write_trays(
    out: Path, *, seed: int = 0, image_px: int = 256, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Write trays of all splits in the layout of MVTec 3D-AD.

    Args:
        out: Folder to write to, new or empty.
        seed: Seed of everything random.
        image_px: Side of the square images.
        progress: Called with images written and in all.

    Raises:
        ConfigError: A parameter is out of range.
        DataError: The folder holds something, or cannot be written.
    """
    check_image_px(image_px)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"output folder must be new or empty, got {out}. Name another.")
    normal = [(split, "good", None, count) for split, count in _COUNTS.items()]
    wanted = [*normal, *(("test", defect, defect, _PER_DEFECT) for defect in DEFECTS)]
    total, done = sum(count for *_, count in wanted), 0
    try:
        for block, (split, name, defect, count) in enumerate(wanted):
            folder = out / CATEGORY / split / name
            for number in range(count):
                made = render_tray(seed=seed, index=1000 * block + number, defect=defect, image_px=image_px)
                _write(folder / "rgb" / f"{number:03}.png", made.colour[..., ::-1])
                _write(folder / "xyz" / f"{number:03}.tiff", made.points[..., ::-1])
                if split == "test":
                    _write(folder / "gt" / f"{number:03}.png", np.where(made.mask, np.uint8(255), np.uint8(0)))
                done += 1
                progress(done, total)
    except OSError as error:
        raise DataError(f"output folder must be writable, got {out} ({error.strerror or error}).") from error


def _disc(
    x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"], centre: tuple[float, float], radius: float
) -> Bool[np.ndarray, "H W"]:
    inside: np.ndarray = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    return inside


def _paint(rng: np.random.Generator, tray: Bool[np.ndarray, "H W"], image_px: int) -> Float32[np.ndarray, "H W 3"]:
    """A speckled plastic under light from everywhere, which shows no shape, on a dark belt."""
    speckles = cv2.GaussianBlur(rng.normal(0, 1, tray.shape).astype(np.float32), (0, 0), image_px / 90)
    speckles /= max(float(speckles.std()), 1e-6)
    tone = 1 + rng.normal(0, 0.02)
    plastic = np.array([96, 138, 158], np.float32) * tone + 9 * speckles[..., None]
    belt = np.array([38, 40, 44], np.float32) + 3 * speckles[..., None]
    painted: np.ndarray = np.where(tray[..., None], plastic, belt)
    return painted.astype(np.float32)


def _points(
    rng: np.random.Generator,
    height: Float32[np.ndarray, "H W"],
    tray: Bool[np.ndarray, "H W"],
    side: Float32[np.ndarray, " W"],
    image_px: int,
) -> Float32[np.ndarray, "H W 3"]:
    """The tray's surface under a laser: noise, a few pixels without an answer, and nothing from the belt."""
    distance = _DISTANCE_MM + rng.normal(0, 0.5) - height + rng.normal(0, _NOISE_MM, height.shape)
    across, down = np.meshgrid(side * _WIDTH_MM, side * _WIDTH_MM)
    points = np.stack([across, down, distance], axis=2).astype(np.float32)
    points[~tray | (rng.random((image_px, image_px)) < 0.01)] = 0
    return points


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(path.suffix, np.ascontiguousarray(pixels))
    if not encoded:
        raise DataError(f"image {path} must be encodable, got an array of shape {pixels.shape}.")
    path.write_bytes(content.tobytes())
