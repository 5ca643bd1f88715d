"""A small printed circuit board with its components."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, cloud

if TYPE_CHECKING:
    from muad.toy_factory.drawing import Colour, Point

DEFECTS = ("scratch", "stain", "crack", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=0.04, shift=0.01, tilt=0.02, zoom=0.99, ground=(0.2, 0.21, 0.24))
SURFACE = Surface(
    scratch=((0.8, 0.6, 0.36), (0.7, 0.8, 0.7)),
    stain=((0.42, 0.3, 0.12), (0.66, 0.7, 0.62), (0.08, 0.1, 0.1)),
    debris=((0.85, 0.86, 0.88), (0.9, 0.88, 0.85), (0.55, 0.15, 0.12)),
    crack=(0.75, 0.72, 0.5),
    spread=0.86,
)
_BOARD: Colour = (0.08, 0.36, 0.22)
_TRACK: Colour = (0.17, 0.49, 0.31)
_GOLD: Colour = (0.84, 0.68, 0.36)
_TIN: Colour = (0.76, 0.77, 0.78)
_INK: Colour = (0.9, 0.92, 0.88)
_BLACK: Colour = (0.13, 0.13, 0.14)


class _Part(NamedTuple):
    """A component of the board: what it is, where, and whether it stands upright (turned by a quarter)."""

    kind: str
    centre: Point
    upright: bool = False
    label: str = ""
    colour: Colour = _BLACK


_PARTS = (
    _Part("processor", (0.36, 0.37), label="R7A2"),
    _Part("driver", (0.74, 0.29), label="LM4"),
    _Part("can", (0.79, 0.58)),
    _Part("crystal", (0.36, 0.665)),
    _Part("diode", (0.6, 0.655), upright=True),
    *(_Part("resistor", (0.585, 0.2 + 0.06 * row), label="103") for row in range(4)),
    *(_Part("capacitor", (0.16 + 0.08 * column, 0.16)) for column in range(5)),
    *(_Part("capacitor", (0.13, 0.32 + 0.07 * row), upright=True) for row in range(3)),
    *(_Part("resistor", (0.49 + 0.075 * column, 0.765), upright=True, label="472") for column in range(2)),
    _Part("led", (0.17, 0.665)),
    _Part("led", (0.17, 0.745)),
)
_LAND_SIZE = {"resistor": (0.066, 0.03), "capacitor": (0.06, 0.032), "led": (0.07, 0.036), "diode": (0.1, 0.045)}
_PLACE_SIZE = {
    **_LAND_SIZE,
    "processor": (0.29, 0.29),
    "driver": (0.15, 0.16),
    "can": (0.17, 0.17),
    "crystal": (0.17, 0.075),
}


def build(px: int, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Draw one board with its components."""
    canvas = _bare_board(px).copy()
    canvas.albedo *= (rng.uniform(0.9, 1.1) * (1.0 + 0.04 * cloud(rng, px, (5, 10, 60))))[..., None]
    jitter = rng.normal(0, 0.0022, (len(_PARTS), 2))
    turns = rng.normal(0, 0.018, len(_PARTS))
    tones = rng.uniform(0.93, 1.07, len(_PARTS))
    hit = _pick(defect.rng) if defect else -1
    for number, part in enumerate(_PARTS):
        fault = defect.kind if defect and number == hit else ""
        if fault == "missing_part":
            _mark_place(canvas, part)
            continue
        centre = (part.centre[0] + float(jitter[number, 0]), part.centre[1] + float(jitter[number, 1]))
        angle = float(turns[number]) + (np.pi / 2 if part.upright else 0.0)
        if fault == "wrong_part" and defect:
            _place_wrong(canvas, part, centre, angle, defect.rng)
        else:
            _component(canvas, part, centre, angle, float(tones[number]))
    if defect:
        damage(canvas, SURFACE, defect)
    return canvas


@lru_cache(maxsize=2)
def _bare_board(px: int) -> Canvas:
    """The board without components, the same every time; drawing it costs more than all the rest."""
    canvas = Canvas(px, _BOARD)
    canvas.grow(canvas.box((0.5, 0.5), (0.92, 0.88), corner=0.03))
    canvas.gloss[:] = 0.05
    _tracks(canvas)
    for part in _PARTS:
        _lands(canvas, part)
    return canvas


def _pick(rng: np.random.Generator) -> int:
    """The number of a component, large kinds as often as small ones."""
    kinds = sorted({part.kind for part in _PARTS})
    kind = kinds[int(rng.integers(len(kinds)))]
    numbers = [number for number, part in enumerate(_PARTS) if part.kind == kind]
    return numbers[int(rng.integers(len(numbers)))]


def _mark_place(canvas: Canvas, part: _Part) -> None:
    """Mark the place of a component and of the shadow it casts."""
    width, height = _PLACE_SIZE[part.kind]
    size = (height, width) if part.upright else (width, height)
    corner = {"can": 0.085, "crystal": 0.035}.get(part.kind, 0.006)
    canvas.mark(canvas.box(part.centre, size, corner=corner))
    if part.kind not in ("processor", "driver"):
        canvas.mark(canvas.box((part.centre[0] + 0.007, part.centre[1] + 0.008), size, corner=corner))


def _place_wrong(canvas: Canvas, part: _Part, centre: Point, angle: float, rng: np.random.Generator) -> None:
    """Put another component of that size in the place, or the right one turned by half, and mark what differs."""
    other = {
        "resistor": "capacitor",
        "capacitor": "resistor",
        "led": "resistor",
        "diode": "led",
        "crystal": "diode",
        "can": "can_blue",
    }
    if part.kind in other:
        _mark_place(canvas, part)
        _component(canvas, part._replace(kind=other[part.kind], label="000"), centre, angle, 1.0)
    elif rng.random() < 0.5:
        for turned in (angle, angle + np.pi):
            canvas.mark(canvas.disc(_dimple(part, centre, turned), 0.012))
        width = _body(part)[0]
        canvas.mark(canvas.box(centre, (0.62 * width, 0.06) if part.kind == "processor" else (0.98 * width, 0.05)))
        _component(canvas, part, centre, angle + np.pi, 1.0)
    else:
        canvas.mark(canvas.box(centre, _body(part), angle=angle))
        _component(canvas, part._replace(label="X90", colour=(0.36, 0.31, 0.27)), centre, angle, 1.0)


def _tracks(canvas: Canvas) -> None:
    """Everything on the bare board: tracks with 45-degree bends, vias, drilled corners, a pin row, lettering."""
    routes = []
    for lane in range(9):
        x = 0.25 + 0.0275 * lane
        routes.append([(x, 0.5), (x, 0.56 + 0.006 * lane), (x - 0.05, 0.61 + 0.006 * lane), (x - 0.05, 0.86)])
    for lane in range(7):
        y = 0.27 + 0.0275 * lane
        routes.append([(0.48, y), (0.53 + 0.004 * lane, y), (0.57, y + 0.04 - 0.004 * lane), (0.68, y + 0.04)])
    for lane in range(5):
        x = 0.67 + 0.03 * lane
        routes.append([(x, 0.37), (x, 0.42), (x - 0.1 + 0.01 * lane, 0.52), (x - 0.1 + 0.01 * lane, 0.86)])
    for lane in range(4):
        y = 0.09 + 0.018 * lane
        routes.append([(0.12, y + 0.03), (0.16, y), (0.62 + 0.02 * lane, y), (0.72, y + 0.06)])
    for route in routes:
        path = np.array(route, np.float32)
        for start, end in pairwise(path):
            middle, reach = (start + end) / 2, end - start
            size = (float(np.hypot(*reach)) + 0.006, 0.007)
            angle = float(np.arctan2(reach[1], reach[0]))
            canvas.stamp(canvas.box((float(middle[0]), float(middle[1])), size, angle=angle), _TRACK, height=0.001)
        _ring(canvas, route[0], 0.011, 0.005)
    for x in (0.1, 0.9):
        for y in (0.12, 0.88):
            _ring(canvas, (x, y), 0.032, 0.02)
    for pin in range(12):
        _ring(canvas, (0.22 + 0.047 * pin, 0.875), 0.016, 0.007)
    canvas.stamp(canvas.label("CTRL-5", (0.74, 0.785), 0.036), _INK, opacity=0.85)
    canvas.stamp(canvas.label("REV C", (0.83, 0.17), 0.026), _INK, opacity=0.85)


def _ring(canvas: Canvas, centre: Point, outer: float, inner: float) -> None:
    """A plated hole."""
    canvas.stamp(canvas.disc(centre, outer), _GOLD, height=0.0015, gloss=0.3)
    canvas.stamp(canvas.disc(centre, inner), (0.06, 0.06, 0.06), height=-0.003, gloss=0.0)


def _lands(canvas: Canvas, part: _Part) -> None:
    """The solder lands and the printed outline below a component."""
    x, y = part.centre
    width, height = _PLACE_SIZE[part.kind]
    if part.kind in ("processor", "driver"):
        inset = 0.012
        canvas.stamp(canvas.disc((x - width / 2 + inset, y - height / 2 + inset), 0.007), _INK)
        for lead, angle in _leads(part):
            canvas.stamp(canvas.box(lead, (0.04, 0.014), angle=angle), _GOLD, height=0.001, gloss=0.2)
        return
    if part.kind == "can":
        canvas.stamp(canvas.disc(part.centre, 0.092), _INK, opacity=0.85)
        canvas.stamp(canvas.disc(part.centre, 0.087), _BOARD, opacity=0.95)
        for side in (-0.04, 0.04):
            _ring(canvas, (x + side, y), 0.02, 0.009)
        return
    if part.kind == "crystal":
        canvas.stamp(canvas.box(part.centre, (width + 0.012, height + 0.012), corner=0.03), _INK, opacity=0.85)
        canvas.stamp(canvas.box(part.centre, (width, height), corner=0.03), _BOARD, opacity=0.95)
    for side in (-0.4, 0.4):
        offset = side * width
        spot = (x, y + offset) if part.upright else (x + offset, y)
        size = (0.85 * height, 0.26 * width) if part.upright else (0.26 * width, 0.85 * height)
        canvas.stamp(canvas.box(spot, size, corner=0.003), _TIN, height=0.002, gloss=0.35)


def _leads(part: _Part) -> list[tuple[Point, float]]:
    """Where the leads of a chip are, and their direction."""
    x, y = part.centre
    width, height = _PLACE_SIZE[part.kind]
    leads: list[tuple[Point, float]] = []
    for number in range(9 if part.kind == "processor" else 5):
        along = (number - (4 if part.kind == "processor" else 2)) * 0.0255
        for side in (-1, 1):
            leads.append(((x + side * (width / 2 - 0.02), y + along), 0.0))
            if part.kind == "processor":
                leads.append(((x + along, y + side * (height / 2 - 0.02)), np.pi / 2))
    return leads


def _component(canvas: Canvas, part: _Part, centre: Point, angle: float, tone: float) -> None:
    """The body of a component, with its shadow."""
    if part.kind in ("processor", "driver"):
        _chip(canvas, part, centre, angle, tone)
    elif part.kind in ("can", "can_blue"):
        _capacitor_can(canvas, centre, angle, tone, blue=part.kind == "can_blue")
    elif part.kind == "crystal":
        _cast(canvas, centre, (0.16, 0.066), angle, 0.033)
        canvas.stamp(canvas.box(centre, (0.16, 0.066), angle=angle, corner=0.033), _scale(_TIN, tone), gloss=0.5)
        canvas.stamp(canvas.box(centre, (0.152, 0.058), angle=angle, corner=0.029, soft=0.006), height=0.014)
        canvas.stamp(canvas.label("8.000", centre, 0.026, angle), (0.3, 0.3, 0.32), opacity=0.9)
    else:
        _small_part(canvas, part, centre, angle, tone)


def _small_part(canvas: Canvas, part: _Part, centre: Point, angle: float, tone: float) -> None:
    """A resistor, ceramic capacitor, diode or light-emitting diode: a body between two tinned ends."""
    body: dict[str, Colour] = {
        "resistor": (0.14, 0.14, 0.16),
        "capacitor": (0.66, 0.5, 0.34),
        "led": (0.95, 0.9, 0.62),
        "diode": (0.68, 0.24, 0.16),
    }
    width, height = _LAND_SIZE[part.kind]
    _cast(canvas, centre, (width, height), angle, 0.004)
    canvas.stamp(canvas.box(centre, (width, height), angle=angle, corner=0.004), _TIN, height=0.006, gloss=0.4)
    middle = canvas.box(centre, (0.62 * width, height), angle=angle)
    canvas.stamp(middle, _scale(body[part.kind], tone), height=0.003, gloss=0.25 if part.kind == "diode" else 0.05)
    if part.kind == "resistor":
        canvas.stamp(canvas.label(part.label, centre, 0.62 * height, angle), (0.85, 0.85, 0.85), opacity=0.9)
    if part.kind == "diode":
        side = (centre[0] + 0.018 * float(np.cos(angle)), centre[1] + 0.018 * float(np.sin(angle)))
        canvas.stamp(canvas.box(side, (0.01, height), angle=angle), (0.08, 0.08, 0.08))
    if part.kind == "led":
        canvas.stamp(canvas.disc(centre, 0.3 * height, soft=0.003), (1.0, 0.98, 0.85), height=0.006, gloss=0.4)


def _chip(canvas: Canvas, part: _Part, centre: Point, angle: float, tone: float) -> None:
    """A black package with leads; a dimple marks the first one."""
    size = _body(part)
    for lead, direction in _leads(part):
        canvas.stamp(canvas.box(lead, (0.034, 0.011), angle=direction), _TIN, height=0.003, gloss=0.4)
    _cast(canvas, centre, size, angle, 0.006)
    canvas.stamp(canvas.box(centre, size, angle=angle, corner=0.006), _scale(part.colour, tone), gloss=0.02)
    canvas.stamp(canvas.box(centre, size, angle=angle, corner=0.006, soft=0.002), height=0.008)
    canvas.stamp(canvas.disc(_dimple(part, centre, angle), 0.009), (0.3, 0.3, 0.31), height=-0.002)
    words = canvas.label(part.label, centre, 0.046 if part.kind == "processor" else 0.032, angle)
    canvas.stamp(words, (0.66, 0.66, 0.66), opacity=0.9)


def _body(part: _Part) -> Point:
    """Width and height of a chip's package without its leads."""
    width, height = _PLACE_SIZE[part.kind]
    return (width - 0.05, height - (0.05 if part.kind == "processor" else 0.01))


def _dimple(part: _Part, centre: Point, angle: float) -> Point:
    """Where the mark of a chip's first lead is."""
    (width, height), cosine, sine = _body(part), float(np.cos(angle)), float(np.sin(angle))
    dx, dy = 0.022 - width / 2, 0.022 - height / 2
    return (centre[0] + cosine * dx - sine * dy, centre[1] + sine * dx + cosine * dy)


def _capacitor_can(canvas: Canvas, centre: Point, angle: float, tone: float, *, blue: bool) -> None:
    """An electrolytic capacitor seen from above: a bright lid, a dark sleeve, the minus side marked."""
    _cast(canvas, centre, (0.162, 0.162), angle, 0.081)
    sleeve: Colour = (0.16, 0.26, 0.56) if blue else (0.12, 0.12, 0.13)
    canvas.stamp(canvas.disc(centre, 0.081), sleeve)
    canvas.stamp(canvas.disc(centre, 0.079, soft=0.004), height=0.016)
    lid = canvas.disc(centre, 0.069)
    canvas.stamp(lid, _scale((0.74, 0.75, 0.77), tone), gloss=0.2)
    side = angle + (np.pi if blue else 0.0)
    wedge = np.linspace(side - 0.75, side + 0.75, 12)
    edge = np.stack([centre[0] + 0.069 * np.cos(wedge), centre[1] + 0.069 * np.sin(wedge)], axis=1)
    canvas.stamp(canvas.polygon(edge), sleeve)


def _cast(canvas: Canvas, centre: Point, size: Point, angle: float, corner: float) -> None:
    """The shadow of a component on the board."""
    moved = (centre[0] + 0.007, centre[1] + 0.008)
    canvas.tint(canvas.box(moved, size, angle=angle, corner=corner, soft=0.005), (0.4, 0.4, 0.4))


def _scale(colour: Colour, tone: float) -> Colour:
    return (min(colour[0] * tone, 1.0), min(colour[1] * tone, 1.0), min(colour[2] * tone, 1.0))
