"""A plate of brushed steel held by four screws, with an engraved type label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, cloud

if TYPE_CHECKING:
    from muad.toy_factory.drawing import Patch, Point

DEFECTS = ("scratch", "stain", "crack", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=0.04, shift=0.012, zoom=0.98, tilt=0.012, ground=(0.16, 0.17, 0.19), sheen="brushed")
SURFACE = Surface(
    scratch=((0.93, 0.93, 0.92), (0.3, 0.3, 0.31)),
    stain=((0.3, 0.2, 0.1), (0.28, 0.3, 0.34), (0.42, 0.3, 0.2)),
    debris=((0.12, 0.11, 0.1), (0.5, 0.2, 0.12), (0.86, 0.86, 0.84)),
    spread=0.8,
)
_SCREWS = ((0.16, 0.16), (0.84, 0.16), (0.16, 0.84), (0.84, 0.84))
_SCREW_RADIUS = 0.056
_SLOT = (0.1, 0.1, 0.11)


def build(px: int, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Draw one plate."""
    canvas = Canvas(px, (0.62, 0.63, 0.65))
    plate = canvas.box((0.5, 0.5), (0.92, 0.92), corner=0.05)
    canvas.grow(plate)
    canvas.stamp(canvas.box((0.5, 0.5), (0.915, 0.915), corner=0.05, soft=0.003), height=0.006)
    _brush(canvas, rng)
    for depth, shift in ((0.16, 0.0), (0.9, 0.003)):
        canvas.stamp(
            canvas.label("M-47 A", (0.5 + shift, 0.5 + shift), 0.072, weight=0.16),
            (depth, depth, depth),
            opacity=0.75 if not shift else 0.2,
        )
    canvas.stamp(canvas.box((0.5, 0.58), (0.29, 0.008)), (0.16, 0.16, 0.17), opacity=0.7)
    turns = rng.uniform(0, np.pi, len(_SCREWS))
    victim = int(defect.rng.integers(len(_SCREWS))) if defect else -1
    for number, (centre, turn) in enumerate(zip(_SCREWS, turns, strict=True)):
        fault = defect.kind if defect and number == victim else ""
        _hole(canvas, centre)
        if fault == "missing_part":
            canvas.mark(canvas.disc(centre, _SCREW_RADIUS + 0.006))
            continue
        if fault == "wrong_part" and defect:
            _wrong_screw(canvas, centre, float(turn), defect.rng)
            continue
        _screw_head(canvas, centre)
        for slot in _cross(canvas, centre, float(turn)):
            canvas.stamp(slot, _SLOT, height=-0.006, gloss=0.0)
    if defect:
        damage(canvas, SURFACE, defect)
    return canvas


def _brush(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fine lines along x, in the colour and in the relief."""
    px = canvas.px
    fine = cv2.resize(rng.standard_normal((px, max(px // 40, 4)), np.float32), (px, px), interpolation=cv2.INTER_LINEAR)
    lines = rng.standard_normal((px, 1), np.float32)
    texture = 0.055 * fine + 0.045 * lines + 0.03 * cloud(rng, px, (5, 10), stretch=2.0)
    shade = 1.0 + rng.uniform(-0.05, 0.05)
    canvas.albedo *= (shade * (1.0 + texture))[..., None]
    canvas.sheen[:] = 1.0


def _hole(canvas: Canvas, centre: Point) -> None:
    canvas.stamp(canvas.disc(centre, _SCREW_RADIUS + 0.006, soft=0.002), (0.34, 0.34, 0.36), height=-0.006)
    canvas.stamp(canvas.disc(centre, 0.032), (0.05, 0.05, 0.05), height=-0.01, gloss=0.0, sheen=0.0)


def _screw_head(canvas: Canvas, centre: Point, colour: tuple[float, float, float] = (0.7, 0.7, 0.72)) -> None:
    head = canvas.disc(centre, _SCREW_RADIUS - 0.004)
    canvas.flatten(head, 0.006)
    canvas.stamp(head, colour, gloss=0.25, sheen=0.6)
    canvas.stamp(canvas.disc(centre, _SCREW_RADIUS - 0.012, soft=0.007), height=0.012)


def _cross(canvas: Canvas, centre: Point, turn: float) -> tuple[Patch, Patch]:
    """The two slots of a cross-head."""
    first, second = (
        canvas.box(centre, (0.062, 0.015), angle=angle, corner=0.004) for angle in (turn, turn + np.pi / 2)
    )
    return first, second


def _wrong_screw(canvas: Canvas, centre: Point, turn: float, rng: np.random.Generator) -> None:
    """A brass screw, a hexagon socket or a single slot in place of the cross-head."""
    kind = ("brass", "hexagon", "slot")[int(rng.integers(3))]
    _screw_head(canvas, centre, (0.72, 0.58, 0.3) if kind == "brass" else (0.7, 0.7, 0.72))
    cross = _cross(canvas, centre, turn)
    drive = list(cross)
    if kind == "brass":
        canvas.mark(canvas.disc(centre, _SCREW_RADIUS - 0.004))
    elif kind == "hexagon":
        corners = np.arange(6) * np.pi / 3 + turn
        hexagon = np.stack([centre[0] + 0.029 * np.cos(corners), centre[1] + 0.029 * np.sin(corners)], axis=1)
        drive = [canvas.polygon(hexagon)]
    else:
        drive = [canvas.box(centre, (0.1, 0.015), angle=turn)]
    for patch in (*cross, *drive):
        canvas.mark(patch)
    for patch in drive:
        canvas.stamp(patch, _SLOT, height=-0.006, gloss=0.0)
