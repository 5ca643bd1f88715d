"""Axes of a figure of the pages: grid lines, ticks in the reader's language, elements with classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from muad.reporting.axes import Axes


def number(value: float) -> str:
    """A place to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def words(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    """Text with its base line at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<path class="{kind}" d="M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}"/>'


def box(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A rectangle; its title is shown when it is pointed at."""
    told = f"><title>{escape(title)}</title></rect>" if title else "/>"
    return (
        f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" width="{number(max(width, 0))}" '
        f'height="{number(max(height, 0))}"{told}'
    )


def line_through(axes: Axes, points: Iterable[tuple[float, float]], kind: str) -> str:
    """A line through points in the units of the data."""
    places = [f"{number(axes.x(x))} {number(axes.y(y))}" for x, y in points]
    return f'<path class="{kind}" d="M{"L".join(places)}"/>' if places else ""


def draw_grid(axes: Axes, y_ticks: Sequence[float], label: Callable[[float], str], y_label: str = "") -> None:
    """Horizontal lines at ticks with their values on the left, and what they count above."""
    for value in y_ticks:
        y = axes.y(value)
        axes.drawn.append(segment(axes.left, y, axes.left + axes.width, y, "grid"))
        axes.drawn.append(words(axes.left - 7, y + 4, label(value), anchor="end", kind="soft-text"))
    if y_label:
        axes.drawn.append(words(axes.left - 38, axes.top - 9, y_label, kind="soft-text"))


def draw_ticks(axes: Axes, ticks: Iterable[tuple[float, str]], x_label: str = "") -> None:
    """The lower axis with values below it."""
    bottom = axes.top + axes.height
    axes.drawn.append(segment(axes.left, bottom, axes.left + axes.width, bottom, "axis"))
    for value, text in ticks:
        axes.drawn.append(segment(axes.x(value), bottom, axes.x(value), bottom + 4, "axis"))
        axes.drawn.append(words(axes.x(value), bottom + 18, text, anchor="middle", kind="soft-text"))
    if x_label:
        axes.drawn.append(words(axes.left + axes.width, bottom + 36, x_label, anchor="end", kind="soft-text"))


def figure(elements: Iterable[str], width: float, height: float, label: str, kind: str = "figure") -> str:
    """An SVG element that is read out as its label."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {number(width)} {number(height)}" '
        f'role="img" aria-label="{escape(label, quote=True)}">{"".join(elements)}</svg>'
    )
