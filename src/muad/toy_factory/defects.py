"""Defects of a surface: scratch, stain, crack and contamination, from hard to see to obvious.

Parts that are missing or wrong belong to the product and are drawn by its own module. Every function here draws on a
canvas, and marks exactly the shapes it drew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.toy_factory.drawing import Canvas, Colour, Patch, both, cloud, wander

if TYPE_CHECKING:
    from collections.abc import Callable

    from muad.toy_factory.drawing import Point


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with a product, and the randomness that shapes it.

    Attributes:
        kind: One of `scratch`, `stain`, `crack`, `missing_part`, `wrong_part`, `contamination`.
        rng: Source of randomness of its own, so that the product below stays the same.
    """

    kind: str
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """How the surface of a product takes damage.

    Attributes:
        scratch: Colour of the bared material, one of these.
        stain: Colours of what a stain is made of, one of these.
        debris: Colours of dust, chips and fibres, one of these.
        crack: Colour inside a crack.
        groove: Depth of scratches and cracks, as a fraction of the canvas.
        spread: The part of the canvas defects fall on, around its middle, 0 to 1.
    """

    scratch: tuple[Colour, ...]
    stain: tuple[Colour, ...]
    debris: tuple[Colour, ...]
    crack: Colour = (0.06, 0.06, 0.06)
    groove: float = 0.003
    spread: float = 0.84


def damage(canvas: Canvas, surface: Surface, defect: Defect) -> None:
    """Draw a surface defect at a random place of the product; do nothing for the other kinds."""
    draw: dict[str, Callable[[Canvas, Surface, np.random.Generator], None]] = {
        "scratch": _scratch,
        "stain": _stain,
        "crack": _crack,
        "contamination": _contamination,
    }
    if defect.kind in draw:
        draw[defect.kind](canvas, surface, defect.rng)


def _spot(canvas: Canvas, surface: Surface, rng: np.random.Generator, margin: float) -> Point:
    """A random place on the product, away from its edge where that is possible."""
    low, high = 0.5 - surface.spread / 2, 0.5 + surface.spread / 2
    for attempt in range(200):
        point = (float(rng.uniform(low, high)), float(rng.uniform(low, high)))
        if canvas.inside(point, margin if attempt < 100 else 0.01):
            return point
    rows, columns = np.nonzero(canvas.alpha > 0.5)
    chosen = int(rng.integers(len(rows)))
    return (float(columns[chosen]) / canvas.px, float(rows[chosen]) / canvas.px)


def _choose(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _lay(canvas: Canvas, patch: Patch, colour: Colour, *, opacity: float, height: float, gloss: float = 0.0) -> None:
    """Stamp a patch where the product is, and mark it."""
    patch = both(patch, canvas.alpha)
    canvas.stamp(patch, colour, opacity=opacity, height=height, gloss=gloss)
    canvas.mark(patch)


def _scratch(canvas: Canvas, surface: Surface, rng: np.random.Generator) -> None:
    """One to three strokes of a sharp edge: thin, tapered, slightly bent."""
    start = _spot(canvas, surface, rng, 0.03)
    heading = rng.uniform(0, 2 * np.pi)
    colour = _choose(rng, surface.scratch)
    opacity = rng.uniform(0.55, 1.0)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        length = rng.uniform(0.14, 0.45)
        path = wander(rng, start, heading + rng.normal(0, 0.12), length, bend=0.35)
        path -= (path[12] - path[0]).astype(np.float32)
        profile = np.sin(np.linspace(0.25, np.pi - 0.1, len(path))) ** 0.6
        width = rng.uniform(0.004, 0.0095)
        patch = canvas.stroke(path, profile * width)
        _lay(canvas, patch, colour, opacity=opacity, height=-surface.groove)
        start = (start[0] + float(rng.normal(0, 0.02)), start[1] + float(rng.normal(0, 0.02)))


def _stain(canvas: Canvas, surface: Surface, rng: np.random.Generator) -> None:
    """A dried drop or a smear: a translucent, uneven film, sometimes thinner in its middle."""
    radius = rng.uniform(0.03, 0.11)
    centre = _spot(canvas, surface, rng, radius * 0.6)
    colour = _choose(rng, surface.stain)
    strength = rng.uniform(0.45, 0.8)
    blob = both(canvas.blob(centre, radius, rng, rough=0.35, soft=rng.uniform(0.002, 0.005)), canvas.alpha)
    thin = rng.uniform(0.0, 0.4)
    tall, wide = blob.cover.shape
    mottle = cv2.resize(cloud(rng, 32, (4, 8)), (wide, tall), interpolation=cv2.INTER_LINEAR)
    y, x = np.ogrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j]
    density = (1.0 - thin * np.exp(-3.0 * (x * x + y * y))) * (0.92 + 0.08 * mottle)
    film = blob._replace(cover=(blob.cover * np.clip(density, 0.3, 1.0)).astype(np.float32))
    canvas.stamp(film, colour, opacity=strength, gloss=0.0, sheen=0.1)
    canvas.mark(blob)


def _crack(canvas: Canvas, surface: Surface, rng: np.random.Generator) -> None:
    """A jagged dark line that thins out, often with a branch."""
    start = _spot(canvas, surface, rng, 0.02)
    heading = rng.uniform(0, 2 * np.pi)
    length, width = rng.uniform(0.12, 0.34), rng.uniform(0.004, 0.008)
    path = _jagged(rng, start, heading, length)
    branches = [(path, width)]
    if rng.random() < 0.6:
        fork = int(rng.integers(4, len(path) - 4))
        turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
        origin = (float(path[fork, 0]), float(path[fork, 1]))
        branches.append((_jagged(rng, origin, heading + turn, length * rng.uniform(0.3, 0.5)), 0.7 * width))
    opacity = rng.uniform(0.6, 0.95)
    for points, thickness in branches:
        taper = np.linspace(1.0, 0.35, len(points)) * thickness
        _lay(canvas, canvas.stroke(points, taper), surface.crack, opacity=opacity, height=-surface.groove)


def _jagged(rng: np.random.Generator, start: Point, heading: float, length: float) -> np.ndarray:
    """A path of short straight pieces that changes direction sharply and keeps its course overall."""
    pieces = 16
    headings = heading + rng.normal(0, 0.55, pieces)
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * rng.uniform(0.4, 1.6, (pieces, 1))
    path: np.ndarray = np.concatenate([[start], start + np.cumsum(moves * length / pieces, axis=0)]).astype(np.float32)
    return path


def _contamination(canvas: Canvas, surface: Surface, rng: np.random.Generator) -> None:
    """Something that lies on the product: a fibre, a few grains, or a chip."""
    colour = _choose(rng, surface.debris)
    draw = (_fibre, _grains, _chip)[int(rng.integers(3))]
    draw(canvas, surface, colour, rng)


def _fibre(canvas: Canvas, surface: Surface, colour: Colour, rng: np.random.Generator) -> None:
    start = _spot(canvas, surface, rng, 0.03)
    length = rng.uniform(0.12, 0.35)
    path = wander(rng, start, rng.uniform(0, 2 * np.pi), length, bend=2.6, steps=40)
    widths = np.full(len(path), rng.uniform(0.004, 0.007))
    _shadow(canvas, canvas.stroke(path + np.float32(0.004), widths))
    _lay(canvas, canvas.stroke(path, widths), colour, opacity=0.95, height=0.004)


def _grains(canvas: Canvas, surface: Surface, colour: Colour, rng: np.random.Generator) -> None:
    centre = np.array(_spot(canvas, surface, rng, 0.05))
    spread = rng.uniform(0.012, 0.04)
    for _ in range(int(rng.integers(5, 16))):
        x, y = centre + rng.normal(0, spread, 2)
        grain = canvas.blob((float(x), float(y)), rng.uniform(0.004, 0.011), rng, rough=0.5)
        _lay(canvas, grain, colour, opacity=0.95, height=0.006)


def _chip(canvas: Canvas, surface: Surface, colour: Colour, rng: np.random.Generator) -> None:
    size = rng.uniform(0.018, 0.04)
    x, y = _spot(canvas, surface, rng, size)
    corners = np.sort(rng.uniform(0, 2 * np.pi, 3)) + np.array([0.0, 0.4, 0.8])
    corners = np.append(corners, corners[-1] + rng.uniform(0.6, 1.4))
    reach = size * rng.uniform(0.7, 1.2, 4)
    outline = np.stack([x + reach * np.cos(corners), y + 0.8 * reach * np.sin(corners)], axis=1).astype(np.float32)
    if abs(_area(outline)) < 0.6 * size * size:
        outline = np.array([x, y], np.float32) + size * np.array(
            [[-1, -0.5], [0.7, -0.8], [1, 0.3], [-0.4, 0.8]], np.float32
        )
    _shadow(canvas, canvas.polygon(outline + np.float32(0.006), soft=0.002))
    _lay(canvas, canvas.polygon(outline, soft=0.0015), colour, opacity=1.0, height=0.01, gloss=0.2)


def _area(outline: np.ndarray) -> float:
    """Signed area of a polygon."""
    x, y = outline[:, 0], outline[:, 1]
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _shadow(canvas: Canvas, patch: Patch) -> None:
    patch = both(patch, canvas.alpha)
    canvas.tint(patch, (0.5, 0.5, 0.5))
    canvas.mark(patch)
