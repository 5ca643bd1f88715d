"""The band below a photograph: verdict, product, score against its limits, where and why, and the scale of colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from muad.decisions.regions import dash, outline
from muad.overlays.colours import draw_overlay
from muad.overlays.text import draw_text, text_width, wrapped

if TYPE_CHECKING:
    from jaxtyping import UInt8

_GROUND, _INK, _SOFT = (24, 26, 29), (245, 246, 247), (176, 182, 188)
_GREY = 120  # what the colours of the scale lie on
VERDICT_COLOURS = {  # told apart by the colour-blind too
    "pass": (0, 114, 178),
    "review": (230, 159, 0),
    "reject": (213, 94, 0),
    "unknown product": (170, 80, 150),
}
"""What a verdict is written on."""
NO_VERDICT_COLOUR = (96, 102, 108)
_SMALLEST_PX = 13  # of letters
_WIDEST = 60  # of a photograph's side (the root of its area) in letters: as large as on a page when it fills a screen
_NARROWEST = 30  # letters side by side, below which the band is wider than the photograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What is written below a photograph.

    Attributes:
        verdict: Or None without one.
        product: What it shows, or None.
        score: Of the image.
        review: Limit above which it is reviewed, or None.
        reject: Limit above which it is rejected, or None.
        notes: Sentences on what is unusual.
        place: Where the map is highest, in words.
        scale: Map values drawn as nothing and as fully anomalous.
        map_limit: The limit of the map between them, or None.
        outlined: Whether regions above the map limit are outlined.
        dashed: Whether the highest place is, below the map limit.
    """

    verdict: str | None
    product: str | None
    score: float
    review: float | None
    reject: float | None
    notes: Sequence[str]
    place: str
    scale: tuple[float, float]
    map_limit: float | None
    outlined: bool
    dashed: bool


def with_band(picture: UInt8[np.ndarray, "H W 3"], caption: Caption) -> UInt8[np.ndarray, "h w 3"]:
    """The picture, pixel for pixel at the top left, with a band of text below it.

    The band is wider than a small picture, so that it can be read.
    """
    height, width = picture.shape[:2]
    size = max(_SMALLEST_PX, round(math.sqrt(height * width) / _WIDEST))
    margin, wide = round(size * 0.7), max(width, _NARROWEST * size)
    lines = [_score_line(caption), *caption.notes, caption.place]
    text = [part for line in lines for part in wrapped(line, size, wide - 2 * margin)]
    pitch = round(size * 1.4)
    head, foot = round(size * 2.1), round(size * 2.4)
    legend = _legend(caption)
    folded = bool(legend) and _scale_width(caption, size) + _legend_width(legend, size) > wide - 2 * margin
    band = Image.new("RGB", (wide, head + pitch * len(text) + foot + pitch * folded), _GROUND)
    draw = ImageDraw.Draw(band)
    _draw_head(draw, caption, size, margin, wide)
    y = head + size
    for line in text:
        draw_text(draw, (margin, y), line, size, _INK)
        y += pitch
    y += round(size * 0.4)
    x = _draw_scale(band, draw, caption, size, (margin, y))
    if folded:
        x, y = margin, y + pitch
    _draw_legend(draw, legend, size, (x, y))
    canvas = np.full((height + band.height, wide, 3), _GROUND, np.uint8)
    canvas[:height, :width] = picture
    canvas[height:] = np.asarray(band)
    return canvas


def _draw_head(draw: ImageDraw.ImageDraw, caption: Caption, size: int, margin: int, wide: int) -> None:
    """The verdict on its colour, and the product."""
    verdict = caption.verdict or "no verdict"
    large = round(size * 1.15)
    end = margin + round(text_width(verdict.upper(), large, bold=True)) + size
    draw.rectangle(
        (margin, round(size * 0.4), end, round(size * 2.0)), fill=VERDICT_COLOURS.get(verdict, NO_VERDICT_COLOUR)
    )
    draw_text(draw, (margin + size / 2, size * 1.6), verdict.upper(), large, (255, 255, 255), bold=True)
    product = caption.product or "product not known"
    room = wide - margin - (end + size * 0.7)
    if text_width(product, large) > room:  # a name wider than the picture ends in dots
        fits = (product[:n] + "…" for n in range(len(product) - 1, 0, -1))
        product = next((short for short in fits if text_width(short, large) <= room), "…")
    draw_text(draw, (end + size * 0.7, size * 1.6), product, large, _INK)


def _score_line(caption: Caption) -> str:
    limits = [
        f"{name} above {value:.4g}"
        for name, value in (("review", caption.review), ("reject", caption.reject))
        if value is not None
    ]
    return f"score {caption.score:.4g}: {', '.join(limits) or 'no limits'}"


def _scale_width(caption: Caption, size: int) -> float:
    return size * 9 + 2.2 * size + sum(text_width(f"{value:.3g}", size) for value in caption.scale)


def _draw_scale(
    band: Image.Image, draw: ImageDraw.ImageDraw, caption: Caption, size: int, at: tuple[int, int]
) -> float:
    """The colours from nothing to fully anomalous with their map values; returns where they end."""
    (x, y), (low, high) = at, caption.scale
    draw_text(draw, (x, y), f"{low:.3g}", size, _SOFT)
    left = round(x + text_width(f"{low:.3g}", size) + size * 0.4)
    wide, tall = size * 9, round(size * 0.8)
    ramp = np.broadcast_to(np.linspace(0, 1, wide, dtype=np.float32), (tall, wide))
    bar = draw_overlay(np.full((tall, wide, 3), _GREY, np.uint8), ramp, (0.0, 1.0))
    band.paste(Image.fromarray(bar), (left, y - tall + 1))
    if caption.map_limit is not None and low < caption.map_limit < high:
        tick = left + round(wide * (caption.map_limit - low) / (high - low))
        draw.line((tick, y - tall - size // 4, tick, y + size // 4), fill=_INK, width=max(1, size // 10))
    right = left + wide + size * 0.4
    draw_text(draw, (right, y), f"{high:.3g}", size, _SOFT)
    return right + text_width(f"{high:.3g}", size) + size * 1.4


def _legend(caption: Caption) -> list[tuple[str, str]]:
    limit = "the map limit" if caption.map_limit is None else f"map limit {caption.map_limit:.3g}"
    shown = [("outline", f"above {limit}")] if caption.outlined else []
    return [*shown, ("dash", f"highest, below {limit}")] if caption.dashed else shown


def _legend_width(legend: Sequence[tuple[str, str]], size: int) -> float:
    return sum(text_width(words, size) + size * 3.4 for _, words in legend)


def _draw_legend(
    draw: ImageDraw.ImageDraw, legend: Sequence[tuple[str, str]], size: int, at: tuple[float, float]
) -> None:
    """What the outlines mean."""
    x, y = at
    for kind, words in legend:
        sample = np.full((size, size * 2, 3), _GROUND, np.uint8)
        line = np.array([(x, size // 2) for x in range(size * 2)], np.int32)
        thickness = max(1, size // 7)
        (outline if kind == "outline" else dash)(sample, [line], thickness)
        draw._image.paste(Image.fromarray(sample), (round(x), round(y - size * 0.85)))
        draw_text(draw, (x + size * 2.4, y), words, size, _SOFT)
        x += text_width(words, size) + size * 3.4
