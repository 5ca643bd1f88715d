"""A blister of twelve scored tablets under clear domes on foil."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, both, cloud

if TYPE_CHECKING:
    from muad.toy_factory.drawing import Colour, Point

DEFECTS = ("scratch", "stain", "crack", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=0.08, shift=0.015, tilt=0.025, ground=(0.33, 0.3, 0.27), shadow=0.012, sheen="brushed")
SURFACE = Surface(
    scratch=((0.97, 0.97, 0.97), (0.36, 0.36, 0.38)),
    stain=((0.4, 0.22, 0.12), (0.3, 0.27, 0.26), (0.2, 0.3, 0.45)),
    debris=((0.12, 0.1, 0.1), (0.93, 0.6, 0.5), (0.3, 0.36, 0.2)),
    spread=0.74,
)
_TABLET: Colour = (0.93, 0.62, 0.52)
_RADIUS, _POCKET = 0.078, 0.098
_PLACES = tuple((0.5 + 0.225 * (column - 1), 0.5 + 0.22 * (row - 1.5)) for row in range(4) for column in range(3))


def build(px: int, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Draw one blister."""
    canvas = _empty_blister(px).copy()
    canvas.albedo *= (1.0 + 0.04 * cloud(rng, px, (4, 9)))[..., None]
    turns = rng.uniform(0, np.pi, len(_PLACES))
    offsets = rng.normal(0, 0.0035, (len(_PLACES), 2))
    tones = rng.uniform(0.97, 1.03, len(_PLACES))
    hit = int(defect.rng.integers(len(_PLACES))) if defect else -1
    for number, (x, y) in enumerate(_PLACES):
        fault = defect if number == hit else None
        kind = fault.kind if fault else ""
        spot = (x + float(offsets[number, 0]), y + float(offsets[number, 1]))
        tone = float(tones[number])
        colour = (min(_TABLET[0] * tone, 1.0), _TABLET[1] * tone, _TABLET[2] * tone)
        if kind == "missing_part":
            canvas.mark(canvas.disc(spot, _RADIUS + 0.006))
        elif fault and kind == "wrong_part":
            _wrong_tablet(canvas, spot, float(turns[number]), fault.rng)
        else:
            _tablet(canvas, spot, float(turns[number]), colour)
        if fault and kind == "crack":
            _break(canvas, spot, fault.rng)
    if defect and defect.kind != "crack":
        damage(canvas, SURFACE, defect)
    for place in _PLACES:
        _reflections(canvas, place)
    return canvas


@lru_cache(maxsize=2)
def _empty_blister(px: int) -> Canvas:
    """Foil and pockets, the same every time: half of the drawing."""
    canvas = Canvas(px, (0.74, 0.75, 0.77))
    canvas.grow(canvas.box((0.5, 0.5), (0.72, 0.92), corner=0.04))
    canvas.stamp(canvas.box((0.5, 0.5), (0.715, 0.915), corner=0.04, soft=0.003), height=0.005)
    _foil(canvas)
    for place in _PLACES:
        _pocket(canvas, place)
    return canvas


def _foil(canvas: Canvas) -> None:
    """Aluminium with a pressed grid of small lozenges."""
    px = canvas.px
    axis = np.arange(px, dtype=np.float32) * (2 * np.pi * 30 / px)
    wave = np.sin(0.5 * (axis[None, :] + axis[:, None])) * np.sin(0.5 * (axis[None, :] - axis[:, None]))
    canvas.height += (0.0016 * px) * wave
    canvas.albedo *= (1.0 + 0.05 * wave)[..., None]
    canvas.sheen[:] = 0.8
    canvas.gloss[:] = 0.25


def _pocket(canvas: Canvas, centre: Point) -> None:
    """The floor of a pocket, smooth and in the shade, and the rim of the clear dome."""
    canvas.stamp(canvas.disc(centre, _POCKET + 0.004, soft=0.002), (0.5, 0.5, 0.52), gloss=0.1, sheen=0.3)
    floor = canvas.disc(centre, _POCKET - 0.006, soft=0.003)
    canvas.flatten(floor, 0.0)
    canvas.stamp(floor, (0.62, 0.63, 0.65), gloss=0.05)
    turn = np.linspace(0.0, 2 * np.pi, 64)
    circle = np.array(centre) + _POCKET * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rim = canvas.stroke(circle.astype(np.float32), np.full(64, 0.006), soft=0.0015)
    canvas.stamp(rim, (0.9, 0.9, 0.92), opacity=0.5, height=0.004)


def _tablet(canvas: Canvas, centre: Point, turn: float, colour: Colour, radius: float = _RADIUS) -> None:
    """A round tablet with a bevelled edge and a score line."""
    shade = canvas.disc((centre[0] + 0.008, centre[1] + 0.008), radius, soft=0.006)
    canvas.tint(shade, (0.5, 0.5, 0.5))
    canvas.stamp(canvas.disc(centre, radius), colour, gloss=0.03, sheen=0.0)
    canvas.stamp(canvas.disc(centre, radius - 0.009, soft=0.008), height=0.02)
    score = canvas.box(centre, (1.7 * radius, 0.011), angle=turn, corner=0.005, soft=0.002)
    canvas.stamp(score, (colour[0] * 0.8, colour[1] * 0.72, colour[2] * 0.7), opacity=0.6, height=-0.007)


def _wrong_tablet(canvas: Canvas, centre: Point, turn: float, rng: np.random.Generator) -> None:
    """A tablet of another colour or size, or a capsule."""
    kind = int(rng.integers(4))
    if kind == 0:
        ends = ((0.86, 0.3, 0.26), (0.93, 0.9, 0.8))
        shell = canvas.box(centre, (0.155, 0.068), angle=turn, corner=0.034)
        canvas.stamp(shell, ends[1], gloss=0.3, sheen=0.0)
        half = (centre[0] + 0.04 * float(np.cos(turn)), centre[1] + 0.04 * float(np.sin(turn)))
        canvas.stamp(canvas.box(half, (0.08, 0.066), angle=turn, corner=0.03), ends[0])
        canvas.stamp(canvas.box(centre, (0.145, 0.055), angle=turn, corner=0.027, soft=0.009), height=0.03)
        canvas.mark(canvas.disc(centre, _RADIUS + 0.006))
        return
    colours: tuple[Colour, ...] = ((0.9, 0.88, 0.84), (0.94, 0.72, 0.46), _TABLET)
    radius = 0.058 if kind == 3 else _RADIUS
    _tablet(canvas, centre, turn, colours[kind - 1], radius)
    canvas.mark(canvas.disc(centre, _RADIUS + 0.006))


def _break(canvas: Canvas, centre: Point, rng: np.random.Generator) -> None:
    """A tablet broken across: the crack gapes, and sometimes a piece of the rim is gone."""
    heading = rng.uniform(0, np.pi)
    steps = np.linspace(-1.0, 1.0, 12) * _RADIUS
    ragged = rng.normal(0, 0.006, 12) + rng.uniform(-0.03, 0.03)
    ahead, aside = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    path = np.array(centre) + steps[:, None] * ahead + ragged[:, None] * aside
    tablet = np.zeros_like(canvas.alpha)
    whole = canvas.disc(centre, _RADIUS)
    tablet[whole.rows, whole.columns] = whole.cover
    widths = rng.uniform(0.006, 0.013) * rng.uniform(0.6, 1.2, len(path))
    crack = both(canvas.stroke(path.astype(np.float32), widths), tablet)
    canvas.stamp(crack, (0.32, 0.2, 0.17), opacity=0.9, height=-0.012)
    canvas.mark(crack)
    if rng.random() < 0.5:
        x, y = np.array(centre) + _RADIUS * ahead
        piece = both(canvas.blob((float(x), float(y)), rng.uniform(0.02, 0.04), rng, rough=0.4), tablet)
        canvas.stamp(piece, (0.52, 0.52, 0.53), height=-0.015)
        canvas.mark(piece)


def _reflections(canvas: Canvas, centre: Point) -> None:
    """Two curved reflections of the lamp on the dome over a pocket."""
    for first, last, reach, opacity in ((3.5, 4.5, 0.082, 0.6), (0.5, 1.1, 0.086, 0.25)):
        arc = np.linspace(first, last, 16)
        path = np.array(centre) + reach * np.stack([np.cos(arc), np.sin(arc)], axis=1)
        widths = 0.011 * np.sin(np.linspace(0.1, np.pi - 0.1, 16))
        canvas.stamp(canvas.stroke(path.astype(np.float32), widths, soft=0.002), (1.0, 1.0, 1.0), opacity=opacity)
