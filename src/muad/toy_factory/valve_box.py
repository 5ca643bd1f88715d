"""The control box of a valve, photographed by five cameras: its lid from above and its four sides.

Each camera sees one face of the same part. The housing's colour goes through all faces, a defect shows on one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, cloud

if TYPE_CHECKING:
    from muad.toy_factory.drawing import Colour, Patch, Point

VIEWS = ("top", "front", "back", "left", "right")
DEFECTS = ("scratch", "stain", "crack", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=0.03, shift=0.01, tilt=0.015, zoom=0.98, ground=(0.15, 0.16, 0.18), shadow=0.01)
SURFACE = Surface(
    scratch=((0.86, 0.88, 0.9), (0.12, 0.13, 0.15)),
    stain=((0.3, 0.22, 0.12), (0.12, 0.12, 0.12), (0.62, 0.58, 0.46)),
    debris=((0.08, 0.08, 0.08), (0.9, 0.9, 0.88), (0.62, 0.42, 0.2)),
    crack=(0.1, 0.11, 0.12),
    spread=0.7,
)
_HOUSING: Colour = (0.38, 0.46, 0.52)
_STEEL: Colour = (0.72, 0.73, 0.75)
_BRASS: Colour = (0.74, 0.6, 0.3)
_BLACK: Colour = (0.1, 0.1, 0.11)
_WHITE: Colour = (0.9, 0.9, 0.88)
_SIZE: dict[str, Point] = {
    **dict.fromkeys(("top", "front", "back"), (0.9, 0.66)),
    **dict.fromkeys(("left", "right"), (0.66, 0.66)),
}


class _Fitting(NamedTuple):
    """Something mounted on a face."""

    kind: str
    centre: Point


_FITTINGS: dict[str, tuple[_Fitting, ...]] = {
    "top": (
        *(_Fitting("screw", (x, y)) for x in (0.12, 0.88) for y in (0.24, 0.76)),
        _Fitting("lamp", (0.7, 0.36)),
        _Fitting("lamp", (0.78, 0.36)),
    ),
    "front": (_Fitting("socket", (0.34, 0.5)), _Fitting("socket", (0.64, 0.5)), _Fitting("screw", (0.88, 0.5))),
    "back": (_Fitting("plate", (0.32, 0.5)), _Fitting("screw", (0.12, 0.26)), _Fitting("screw", (0.12, 0.74))),
    "left": (_Fitting("gland", (0.5, 0.5)),),
    "right": (_Fitting("rocker", (0.5, 0.42)), _Fitting("fuse", (0.5, 0.7))),
}


def build(view: str, px: int, housing: np.random.Generator, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Draw one face of a part.

    Args:
        view: One of `VIEWS`.
        px: Side of the canvas.
        housing: What all faces of the part have in common.
        rng: What this face has to itself.
        defect: What is wrong with this face; None where nothing is.
    """
    canvas = _shell(view, px, housing, rng)
    fittings = _FITTINGS[view]
    hit = int(defect.rng.integers(len(fittings))) if defect else -1
    turns = rng.uniform(0, np.pi, len(fittings))
    offsets = rng.normal(0, 0.004, (len(fittings), 2))
    for number, (drawn, turn) in enumerate(zip(fittings, turns, strict=True)):
        x, y = drawn.centre
        fitting = drawn._replace(centre=(x + float(offsets[number, 0]), y + float(offsets[number, 1])))
        fault = defect if defect is not None and number == hit else None
        _seat(canvas, fitting)
        if fault is not None and fault.kind in ("missing_part", "wrong_part"):
            canvas.mark(_place(canvas, fitting))
            if fault.kind == "missing_part":
                continue
            _mount(canvas, fitting, float(turn), wrong=True)
        else:
            _mount(canvas, fitting, float(turn), wrong=False)
    if defect:
        damage(canvas, SURFACE, defect)
    return canvas


def _shell(view: str, px: int, housing: np.random.Generator, rng: np.random.Generator) -> Canvas:
    """The moulded face without what is mounted on it."""
    tone = float(housing.uniform(0.94, 1.06))
    canvas = Canvas(px, (_HOUSING[0] * tone, _HOUSING[1] * tone, _HOUSING[2] * tone))
    size = _SIZE[view]
    canvas.grow(canvas.box((0.5, 0.5), size, corner=0.035))
    canvas.stamp(canvas.box((0.5, 0.5), (size[0] - 0.01, size[1] - 0.01), corner=0.03, soft=0.004), height=0.008)
    canvas.gloss[:] = 0.04
    # The mould is eroded: a fine grain, and a flow of the melt that one hardly sees.
    canvas.albedo *= (1.0 + 0.022 * cloud(rng, px, (px // 6, px // 3)) + 0.02 * cloud(rng, px, (4, 9)))[..., None]
    canvas.height += (0.0007 * px) * cloud(rng, px, (px // 5,))
    _DECORATE[view](canvas)
    return canvas


def _lid(canvas: Canvas) -> None:
    """The groove of the seal and what is moulded into the lid."""
    for side, depth in ((0.0, -0.004), (0.018, 0.004)):
        canvas.stamp(canvas.box((0.5, 0.5), (0.68 - side, 0.52 - side), corner=0.03, soft=0.002), height=depth)
    canvas.stamp(canvas.label("VX-2", (0.42, 0.5), 0.1, weight=0.16), (0.2, 0.24, 0.28), opacity=0.8, height=0.003)
    canvas.stamp(canvas.label("RUN  ERR", (0.74, 0.43), 0.024), _WHITE, opacity=0.85)
    canvas.stamp(canvas.box((0.42, 0.62), (0.28, 0.008)), _WHITE, opacity=0.7)


def _plugs(canvas: Canvas) -> None:
    """Names of the sockets."""
    for words, x in (("X1", 0.34), ("X2", 0.64)):
        canvas.stamp(canvas.label(words, (x, 0.28), 0.045), _WHITE, opacity=0.85)
    canvas.stamp(canvas.box((0.49, 0.74), (0.62, 0.007)), (0.2, 0.24, 0.28), opacity=0.7)


def _grille(canvas: Canvas) -> None:
    """Slots that let warm air out."""
    for row in range(7):
        slot = canvas.box((0.72, 0.29 + 0.07 * row), (0.28, 0.026), corner=0.013, soft=0.001)
        canvas.stamp(slot, (0.05, 0.05, 0.06), height=-0.008, gloss=0.0)


def _cable_side(canvas: Canvas) -> None:
    """Two ribs beside the gland."""
    for y in (0.25, 0.75):
        canvas.stamp(canvas.box((0.5, y), (0.52, 0.03), corner=0.01, soft=0.003), height=0.008)
    canvas.stamp(canvas.label("PG9", (0.27, 0.5), 0.03), _WHITE, opacity=0.7)


def _switch_side(canvas: Canvas) -> None:
    """Marks beside switch and fuse."""
    canvas.stamp(canvas.label("1", (0.34, 0.36), 0.04), _WHITE, opacity=0.85)
    canvas.stamp(canvas.label("0", (0.34, 0.49), 0.04), _WHITE, opacity=0.85)
    canvas.stamp(canvas.label("F 2A", (0.7, 0.7), 0.03), _WHITE, opacity=0.85)


_DECORATE = {"top": _lid, "front": _plugs, "back": _grille, "left": _cable_side, "right": _switch_side}
_RADIUS = {"screw": 0.043, "lamp": 0.026, "socket": 0.127, "gland": 0.142, "fuse": 0.06}
_BOX: dict[str, Point] = {"plate": (0.32, 0.22), "rocker": (0.15, 0.21)}
_RIM = 0.008  # as far as the relief at an edge is seen


def _place(canvas: Canvas, fitting: _Fitting) -> Patch:
    """Where a fitting, or what is there in its place, is seen."""
    if fitting.kind in _BOX:
        width, height = _BOX[fitting.kind]
        return canvas.box(fitting.centre, (width + 2 * _RIM, height + 2 * _RIM))
    return canvas.disc(fitting.centre, _RADIUS[fitting.kind] + _RIM)


def _seat(canvas: Canvas, fitting: _Fitting) -> None:
    """What is below a fitting, and all there is where it is missing."""
    centre, kind = fitting.centre, fitting.kind
    if kind == "plate":
        canvas.stamp(canvas.box(centre, _BOX[kind], corner=0.01, soft=0.002), height=-0.002)
        return
    if kind == "rocker":
        canvas.stamp(canvas.box(centre, _BOX[kind], corner=0.012), (0.05, 0.05, 0.06), height=-0.008, gloss=0.0)
        return
    radius = _RADIUS[kind] * (0.9 if kind in ("screw", "lamp") else 0.72)
    canvas.stamp(canvas.disc(centre, radius, soft=0.002), (0.06, 0.06, 0.07), height=-0.008, gloss=0.0)


def _mount(canvas: Canvas, fitting: _Fitting, turn: float, *, wrong: bool) -> None:
    """A fitting, or another one in its place."""
    _MOUNT[fitting.kind](canvas, fitting.centre, turn, wrong)


def _screw(canvas: Canvas, centre: Point, turn: float, wrong: bool) -> None:
    """A cross-head of steel, or a slotted one of brass."""
    canvas.stamp(canvas.disc(centre, 0.04), _BRASS if wrong else _STEEL, gloss=0.25, sheen=0.5)
    canvas.stamp(canvas.disc(centre, 0.034, soft=0.006), height=0.01)
    for angle in (turn,) if wrong else (turn, turn + np.pi / 2):
        canvas.stamp(canvas.box(centre, (0.056, 0.012), angle=angle, corner=0.003), _BLACK, height=-0.005, gloss=0.0)


def _lamp(canvas: Canvas, centre: Point, _: float, wrong: bool) -> None:
    """A green lens, or a red one."""
    canvas.stamp(canvas.disc(centre, 0.024), _BLACK, height=0.003)
    lens: Colour = (0.8, 0.2, 0.16) if wrong else (0.3, 0.72, 0.36)
    canvas.stamp(canvas.disc(centre, 0.019, soft=0.001), lens, height=0.004, gloss=0.3)


def _socket(canvas: Canvas, centre: Point, turn: float, wrong: bool) -> None:
    """A round plug with a coded ring and five pins, or three; it stands as it was tightened."""
    key = -np.pi / 2 + 0.25 * (turn - np.pi / 2)
    notch = (centre[0] + 0.085 * float(np.cos(key)), centre[1] + 0.085 * float(np.sin(key)))
    canvas.stamp(canvas.disc(centre, 0.125), _STEEL, gloss=0.25, sheen=0.4)
    canvas.stamp(canvas.disc(centre, 0.12, soft=0.006), height=0.014)
    canvas.stamp(canvas.disc(centre, 0.09, soft=0.001), _BLACK, height=-0.012, gloss=0.02)
    canvas.stamp(canvas.disc(notch, 0.016), _BLACK, gloss=0.0)
    count = 3 if wrong else 5
    for pin in range(count):
        angle = key + np.pi + 2 * np.pi * pin / count
        spot = (centre[0] + 0.05 * float(np.cos(angle)), centre[1] + 0.05 * float(np.sin(angle)))
        canvas.stamp(canvas.disc(spot, 0.013), (0.84, 0.7, 0.36), height=0.006, gloss=0.3)


def _plate(canvas: Canvas, centre: Point, turn: float, wrong: bool) -> None:
    """The rating plate, never quite straight, or that of another type upside down."""
    angle = 0.03 * (turn - np.pi / 2)
    canvas.stamp(canvas.box(centre, (0.3, 0.2), angle=angle, corner=0.008), (0.8, 0.81, 0.82), height=0.002, gloss=0.1)
    across = (-float(np.sin(angle)), float(np.cos(angle)))
    angle += float(np.pi) if wrong else 0.0
    lines = ("VX-2  24V", "IP65 2A", "CE 0419") if not wrong else ("VX-7 230V", "IP20 6A", "CE 0419")
    for row, words in enumerate(lines):
        below = 0.058 * (row - 1) * (-1 if wrong else 1)
        spot = (centre[0] + below * across[0], centre[1] + below * across[1])
        canvas.stamp(canvas.label(words, spot, 0.032, angle), _BLACK, opacity=0.9)


def _gland(canvas: Canvas, centre: Point, turn: float, wrong: bool) -> None:
    """A nut of black plastic with the cable in it, or one of brass; the nut stands as it was tightened."""
    corners = np.arange(6) * np.pi / 3 + turn
    nut = np.stack([centre[0] + 0.14 * np.cos(corners), centre[1] + 0.14 * np.sin(corners)], axis=1)
    canvas.stamp(canvas.polygon(nut), _BRASS if wrong else (0.16, 0.16, 0.17), gloss=0.12)
    canvas.stamp(canvas.polygon(nut, soft=0.005), height=0.012)
    canvas.stamp(canvas.disc(centre, 0.09, soft=0.003), (0.22, 0.22, 0.23), height=0.01)
    canvas.stamp(canvas.disc(centre, 0.055, soft=0.002), (0.5, 0.5, 0.5), height=-0.006, gloss=0.02)
    canvas.stamp(canvas.disc(centre, 0.044, soft=0.003), (0.34, 0.34, 0.35), height=0.006)


def _rocker(canvas: Canvas, centre: Point, _: float, wrong: bool) -> None:
    """A switch that is off, or a red one that is on."""
    body: Colour = (0.66, 0.16, 0.13) if wrong else (0.14, 0.14, 0.15)
    canvas.stamp(canvas.box(centre, (0.13, 0.19), corner=0.008), body, height=0.006, gloss=0.15)
    pressed = -0.045 if wrong else 0.045
    half = canvas.box((centre[0], centre[1] + pressed), (0.122, 0.09), corner=0.005, soft=0.002)
    canvas.stamp(half, height=-0.008)
    canvas.tint(half, (0.7, 0.7, 0.7))
    canvas.stamp(canvas.box((centre[0], centre[1] - 0.05), (0.008, 0.04)), _WHITE, opacity=0.9)


def _fuse(canvas: Canvas, centre: Point, turn: float, wrong: bool) -> None:
    """The cap of a fuse holder with its slot, or a smaller one of another make."""
    radius = 0.045 if wrong else 0.058
    canvas.stamp(canvas.disc(centre, radius), (0.3, 0.3, 0.3) if wrong else (0.15, 0.15, 0.16), gloss=0.15)
    canvas.stamp(canvas.disc(centre, radius - 0.006, soft=0.005), height=0.012)
    canvas.stamp(canvas.box(centre, (1.5 * radius, 0.016), angle=turn), (0.04, 0.04, 0.04), height=-0.006, gloss=0.0)


_MOUNT = {
    "screw": _screw,
    "lamp": _lamp,
    "socket": _socket,
    "plate": _plate,
    "gland": _gland,
    "rocker": _rocker,
    "fuse": _fuse,
}
