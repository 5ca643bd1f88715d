"""A pair of axes in an SVG drawing: data become places, ticks are round numbers, lines hold only points that show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

INK, FAINT = "#333333", "#999999"
TEXT_PX, SMALL_PX = 8.5, 7.5
_TICK_PX = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Axes at a place of the drawing, and what was drawn on them.

    Attributes:
        left: Of the area for data, in the units of the drawing, as all places are.
        top: Of that area.
        width: Of that area.
        height: Of that area.
        x_range: Values at its left and right end.
        y_range: Values at its lower and upper end.
        drawn: Elements so far.
    """

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    drawn: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Place of a value on the horizontal axis."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Place of a value on the vertical axis."""
        low, high = self.y_range
        return self.top + (high - value) / (high - low) * self.height

    def frame(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        title: str = "",
    ) -> None:
        """Both axes with ticks and names, and a title above."""
        left, bottom, middle = self.left, self.top + self.height, self.left + self.width / 2
        self.drawn.append(
            f'<path d="M{_n(left)} {_n(self.top)}V{_n(bottom)}H{_n(left + self.width)}" fill="none" '
            f'stroke="{FAINT}" stroke-width="0.8"/>'
        )
        for value in x_ticks:
            self.drawn.append(_line(self.x(value), bottom, self.x(value), bottom + _TICK_PX))
            self.drawn.append(text(self.x(value), bottom + 12, f"{value:g}", anchor="middle"))
        for value in y_ticks:
            self.drawn.append(_line(left - _TICK_PX, self.y(value), left, self.y(value)))
            self.drawn.append(text(left - 5.5, self.y(value) + 3, f"{value:g}", anchor="end"))
        self.drawn.append(text(middle, bottom + 25, x_label, anchor="middle"))
        x, y = left - 28, self.top + self.height / 2
        self.drawn.append(text(x, y, y_label, anchor="middle", turned=True))
        if title:
            self.drawn.append(text(middle, self.top - 5, title, anchor="middle"))

    def line(
        self, points: Iterable[tuple[float, float]], colour: str, width: float, dashes: str = "", fill: str = "none"
    ) -> None:
        """A line through points in the units of the data; those that fall onto their predecessor are left out."""
        places = [(_n(self.x(x)), _n(self.y(y))) for x, y in points]
        kept = [place for place, before in zip(places, [None, *places], strict=False) if place != before]
        path = "M" + "L".join(f"{x} {y}" for x, y in kept)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.drawn.append(f'<path d="{path}" fill="{fill}" stroke="{colour}" stroke-width="{width:g}"{dashed}/>')

    def bar(self, low: float, high: float, value: float, colour: str) -> None:
        """A bar from the lower end of the vertical axis to a value."""
        x, y = self.x(low), self.y(value)
        width, height = self.x(high) - x, self.top + self.height - y
        self.drawn.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{colour}" '
            'fill-opacity="0.75"/>'
        )

    def mark(self, x: float, y: float, colour: str, shape: str) -> None:
        """A point: a `circle` or a `square`."""
        self.drawn.append(marker(self.x(x), self.y(y), colour, shape))


def marker(x: float, y: float, colour: str, shape: str) -> str:
    """A `circle` or a `square` at a place of the drawing."""
    if shape == "circle":
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="2.7" fill="{colour}"/>'
    return f'<rect x="{_n(x - 2.5)}" y="{_n(y - 2.5)}" width="5" height="5" fill="{colour}"/>'


def text(x: float, y: float, words: str, *, anchor: str = "start", size: float = TEXT_PX, turned: bool = False) -> str:
    """Words with their base line at a place; `turned` reads upwards."""
    turn = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size:g}" text-anchor="{anchor}" fill="{INK}"{turn}>'
        f"{escape(words)}</text>"
    )


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many round numbers within a range, evenly spaced.

    Example:
        >>> round_ticks(0.0, 0.83, 5)
        [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}" stroke="{FAINT}" stroke-width="0.8"/>'


def _n(value: float) -> str:
    """A place to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
