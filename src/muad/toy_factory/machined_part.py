"""A turned and milled gear wheel, lying at any angle on a plain mat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, both, place

if TYPE_CHECKING:
    from jaxtyping import Float32

DEFECTS = ("scratch", "stain", "crack", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=np.pi, shift=0.02, ground=(0.3, 0.36, 0.42), shadow=0.012, sheen="turned")
SURFACE = Surface(
    scratch=((0.95, 0.95, 0.94), (0.22, 0.22, 0.24)),
    stain=((0.34, 0.17, 0.06), (0.2, 0.19, 0.18), (0.4, 0.28, 0.16)),
    debris=((0.1, 0.1, 0.1), (0.85, 0.83, 0.78), (0.62, 0.36, 0.16)),
    spread=0.66,
)
_TEETH = 22
_ROOT, _TIP = 0.345, 0.4
_HOLES, _HOLE_RADIUS, _HOLE_CIRCLE = 5, 0.042, 0.222


def build(px: int, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Draw one gear wheel, with the keyway up."""
    shade = 0.6 + float(rng.uniform(-0.03, 0.03))
    canvas = Canvas(px, (shade, shade, shade + 0.015))
    middle = (0.5, 0.5)
    gear = canvas.polygon(_outline())
    canvas.grow(gear)
    _turn(canvas, rng)
    for radius, height, colour in (
        (0.333, -0.004, 0.5),
        (0.318, -0.012, 0.47),
        (0.158, 0.012, 0.62),
        (0.142, 0.004, 0.66),
    ):
        canvas.stamp(canvas.disc(middle, radius, soft=0.003), (colour, colour, colour), opacity=0.3, height=height)
    canvas.stamp(canvas.polygon(_outline(), soft=0.004), height=0.008)
    canvas.stamp(canvas.label("Z22", (0.5, 0.612), 0.034, weight=0.16), (0.2, 0.2, 0.2), opacity=0.7)
    _drill(canvas, defect)
    bore = canvas.disc(middle, 0.078)
    key = canvas.box((0.5, 0.425), (0.044, 0.06))
    for patch in (bore, key):
        canvas.stamp(patch, height=-0.012)
        canvas.cut(patch)
    if defect and defect.kind == "missing_part":
        _break_tooth(canvas, defect.rng)
    if defect:
        damage(canvas, SURFACE, defect)
    return canvas


def _outline() -> Float32[np.ndarray, "n 2"]:
    """The contour of the wheel, tooth by tooth."""
    pitch = 2 * np.pi / _TEETH
    offsets = np.array([-0.5, -0.27, -0.15, 0.15, 0.27]) * pitch
    radii = np.array([_ROOT, _ROOT, _TIP, _TIP, _ROOT])
    angles = (np.arange(_TEETH)[:, None] * pitch + offsets).ravel()
    reach = np.tile(radii, _TEETH)
    outline: Float32[np.ndarray, "n 2"] = np.stack(
        [0.5 + reach * np.cos(angles), 0.5 + reach * np.sin(angles)], axis=1
    ).astype(np.float32)
    return outline


def _turn(canvas: Canvas, rng: np.random.Generator) -> None:
    """Concentric marks of the lathe."""
    px = canvas.px
    marks = rng.standard_normal(px, np.float32)
    marks += np.convolve(marks, np.ones(9, np.float32) / 3, "same")
    axis = (np.arange(px, dtype=np.float32) + 0.5) / px - 0.5
    radius = np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    canvas.albedo *= (1.0 + 0.05 * marks[(radius * px).astype(np.int32)])[..., None]
    canvas.sheen[:] = 1.0
    canvas.gloss[:] = 0.12


def _drill(canvas: Canvas, defect: Defect | None) -> None:
    """The five holes; a wrong one is too small, too large, or was never drilled."""
    victim = int(defect.rng.integers(_HOLES)) if defect and defect.kind == "wrong_part" else -1
    for number in range(_HOLES):
        angle = -np.pi / 2 + (number + 0.5) * 2 * np.pi / _HOLES
        centre = (0.5 + _HOLE_CIRCLE * float(np.cos(angle)), 0.5 + _HOLE_CIRCLE * float(np.sin(angle)))
        radius = _HOLE_RADIUS
        if defect and number == victim:
            radius *= float(defect.rng.choice([0.0, 0.35, 0.6, 1.5]))
            canvas.mark(canvas.disc(centre, max(radius, _HOLE_RADIUS) + 0.006))
        if radius:
            canvas.stamp(
                canvas.disc(centre, radius + 0.005, soft=0.002), (0.75, 0.75, 0.76), opacity=0.6, height=-0.006
            )
            canvas.cut(canvas.disc(centre, radius))


def _break_tooth(canvas: Canvas, rng: np.random.Generator) -> None:
    """Break off one or two teeth, with a rough fracture."""
    pitch = 2 * np.pi / _TEETH
    first, count = int(rng.integers(_TEETH)), int(rng.choice([1, 1, 2]))
    depth = rng.uniform(-0.008, 0.012)
    angles = np.linspace(-0.5 * pitch, (count - 0.5) * pitch, 4 + 5 * count)
    rough = _ROOT + depth + rng.normal(0, 0.004, len(angles))
    rough[[0, -1]] = _ROOT
    inner = np.stack([rough * np.cos(angles), rough * np.sin(angles)], axis=1)
    rim = angles[::-1]
    outer = np.stack([(_TIP + 0.012) * np.cos(rim), (_TIP + 0.012) * np.sin(rim)], axis=1)
    broken = canvas.polygon(place(np.concatenate([inner, outer]), (0.5, 0.5), first * pitch))
    gone = both(broken, canvas.alpha)
    # The shadow of the teeth goes with them: on whichever side it fell, some of it was beside them.
    reach = max(1, round(0.006 * canvas.px))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    canvas.mark(gone._replace(cover=cv2.dilate(gone.cover, brush)))
    canvas.cut(broken)
    canvas.stamp(broken, (0.3, 0.3, 0.31), opacity=0.8)
