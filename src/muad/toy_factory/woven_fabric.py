"""A twill of two yarns that fills the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from muad.toy_factory.camera import Stage
from muad.toy_factory.defects import Defect, Surface, damage
from muad.toy_factory.drawing import Canvas, cloud, linear

if TYPE_CHECKING:
    from jaxtyping import Float32

DEFECTS = ("scratch", "stain", "missing_part", "wrong_part", "contamination")
STAGE = Stage(turn=0.09, shift=0.01, zoom=1.24, tilt=0.03, ground=None)
SURFACE = Surface(
    scratch=((0.86, 0.85, 0.8), (0.13, 0.13, 0.16)),
    stain=((0.12, 0.1, 0.08), (0.42, 0.26, 0.13), (0.1, 0.13, 0.26)),
    debris=((0.08, 0.08, 0.08), (0.93, 0.92, 0.88), (0.7, 0.2, 0.18)),
    groove=0.004,
    spread=0.6,
)
_YARNS = 38
_WARP, _WEFT, _GAP = (0.34, 0.42, 0.55), (0.6, 0.6, 0.58), (0.1, 0.1, 0.12)


class _Fault(NamedTuple):
    """One wrong or missing piece of a yarn: which yarn, from where to where along it."""

    missing: bool
    yarn: int
    first: float
    last: float
    colour: tuple[float, float, float]
    thickness: float


def build(px: int, rng: np.random.Generator, defect: Defect | None) -> Canvas:
    """Weave one piece of cloth."""
    canvas = Canvas(px, _GAP, alpha=1.0)
    fault = _fault(defect) if defect and defect.kind in ("missing_part", "wrong_part") else None
    axis = (np.arange(px, dtype=np.float32) + 0.5) * (_YARNS / px)
    # Yarns never run quite straight: bend the grid by a fraction of a yarn.
    across = axis[None, :] + 0.16 * cloud(rng, px, (5, 16)) + rng.uniform(0, 4)
    along = axis[:, None] + 0.16 * cloud(rng, px, (5, 16)) + rng.uniform(0, 4)
    warp_at, weft_at = np.floor(across), np.floor(along)
    warp, weft = warp_at.astype(np.intp), weft_at.astype(np.intp)
    thick = 0.5 + 0.03 * rng.standard_normal((2, _YARNS + 8), np.float32)
    tone = 1.0 + 0.07 * rng.standard_normal((2, _YARNS + 8), np.float32)
    tone *= rng.uniform(0.92, 1.08, (2, 1)).astype(np.float32)

    warp_thick, weft_thick = thick[0][warp], thick[1][weft]
    struck = np.zeros((px, px), bool)
    if fault:
        struck = (weft == fault.yarn + 4) & (axis > fault.first * _YARNS) & (axis < fault.last * _YARNS)
        weft_thick[struck] = fault.thickness
    # Two over, two under: both yarns' heights follow the same wave, in opposite phase, and the higher one shows.
    quarter = float(np.pi / 2)
    warp_height = _round(across - warp_at, warp_thick) + 0.32 * np.cos(quarter * (along - warp_at))
    weft_height = _round(along - weft_at, weft_thick) - 0.32 * np.cos(quarter * (weft_at + 1 - across))
    if fault and fault.missing:
        weft_height[struck] = -1.0
    on_top = warp_height > weft_height
    height = np.maximum(np.maximum(warp_height, weft_height), -0.35)

    fibres = _fibres(rng, px)
    light = np.where(on_top, tone[0][warp] * (1.0 + fibres.T), tone[1][weft] * (1.0 + fibres))
    light *= np.clip(0.62 + 0.5 * height, 0.25, 1.1)
    canvas.albedo[:] = np.stack([linear(_WEFT), linear(_WARP)])[on_top.view(np.uint8)]
    if fault and not fault.missing:
        canvas.albedo[struck & ~on_top] = linear(fault.colour)
    canvas.albedo *= light[..., None]
    canvas.height[:] = height * (0.0055 * px)
    if fault:
        canvas.change[:] = struck
    if defect:
        damage(canvas, SURFACE, defect)
    return canvas


def _fault(defect: Defect) -> _Fault:
    """Where a weft yarn is missing, or replaced by a thicker one of another colour."""
    rng = defect.rng
    length = float(rng.choice([rng.uniform(0.2, 0.5), 1.0]))
    first = float(rng.uniform(0.16, 0.84 - length)) if length < 0.6 else 0.0
    colours = ((0.72, 0.36, 0.3), (0.2, 0.2, 0.22), (0.92, 0.9, 0.84), (0.45, 0.5, 0.36))
    return _Fault(
        missing=defect.kind == "missing_part",
        yarn=int(rng.integers(_YARNS // 5, _YARNS - _YARNS // 5)),
        first=first,
        last=first + length,
        colour=colours[int(rng.integers(len(colours)))],
        thickness=float(rng.uniform(0.5, 0.62)),
    )


def _round(
    offset: Float32[np.ndarray, "px px"], thickness: Float32[np.ndarray, "px px"]
) -> Float32[np.ndarray, "px px"]:
    """Height of a yarn's round section at an offset (0 to 1) across its lane; below zero beside the yarn."""
    section: Float32[np.ndarray, "px px"] = 0.6 - 1.1 * np.square((offset - 0.5) / thickness)
    return section


def _fibres(rng: np.random.Generator, px: int) -> Float32[np.ndarray, "px px"]:
    """Fine streaks along x: the fibres of a yarn, with thick and thin places."""
    streaks = rng.standard_normal((px, max(px // 8, 4)), np.float32)
    fibres: Float32[np.ndarray, "px px"] = 0.12 * cv2.resize(streaks, (px, px), interpolation=cv2.INTER_LINEAR)
    return fibres
