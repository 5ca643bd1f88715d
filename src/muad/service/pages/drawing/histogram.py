"""Scores of a product: good photographs of the calibration above the line, what came since below it, limits across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from muad.reporting.axes import Axes, round_ticks
from muad.service.pages.drawing.frame import box, draw_ticks, figure, number, segment, words
from muad.service.pages.language import Language

WIDTH, HEIGHT = 900.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 884.0, 58.0, 352.0
_BINS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a histogram shows of a product.

    Attributes:
        calibration: Scores of the good photographs that limits were set from.
        since: Scores of what came since, by what people said of it: `good`, `bad` or an empty text.
    """

    calibration: Sequence[float]
    since: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The figure, and the scale that a script needs to move handles on it.

    Attributes:
        svg: The figure.
        low: Score at the left end.
        high: Score at the right end.
        left: The left end, in units of the figure.
        right: The right end.
    """

    svg: str
    low: float
    high: float
    left: float = _LEFT
    right: float = _RIGHT


def histogram(scores: Scores, review: float | None, reject: float | None, t: Language) -> Histogram | None:
    """Both distributions on one scale, with a handle for each limit; None where there is nothing to show.

    Args:
        scores: What is shown.
        review: Where its handle stands; None stands at the right end.
        reject: The same.
        t: Language of its words.
    """
    since = [np.asarray(values, float) for values in scores.since.values()]
    good = np.asarray(scores.calibration, float)
    shown = np.concatenate([good, *since])
    marks = [limit for limit in (review, reject) if limit is not None]
    if not shown.size and not marks:
        return None
    low, high = _range(shown, marks)
    edges = np.linspace(low, high, _BINS + 1)
    above = np.histogram(np.clip(good, low, high), edges)[0]
    below = {name: np.histogram(np.clip(np.asarray(values, float), low, high), edges)[0]
             for name, values in scores.since.items()}  # fmt: skip
    most_above = max(int(above.max()), 1)
    most_below = max(int(sum(below.values(), np.zeros(_BINS, int)).max()), 1)
    middle = (_TOP + _BOTTOM) / 2
    axes = Axes(left=_LEFT, top=_TOP, width=_RIGHT - _LEFT, height=_BOTTOM - _TOP, x_range=(low, high), y_range=(0, 1))
    drawn = axes.drawn
    half = middle - _TOP - 6
    _draw_counts(drawn, t, half / most_above, half / most_below, middle, (most_above, most_below))
    for count, left, right in zip(above.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            tall = count / most_above * half
            drawn.append(_bar(axes, left, right, middle - tall, tall, "bar-good", t.counted("limits.good_here", count)))
    kinds = {"": "bar-since", "good": "bar-known-good", "bad": "bar-known-bad"}
    filled = np.zeros(_BINS)
    for name in ("bad", "good", ""):
        for index, count in enumerate(below.get(name, np.zeros(_BINS, int)).tolist()):
            if count:
                tall = count / most_below * half
                top = middle + filled[index] / most_below * half
                told = t.counted("limits.since_here", count)
                drawn.append(_bar(axes, edges[index], edges[index + 1], top, tall, kinds[name], told))
                filled[index] += count
    drawn.append(segment(_LEFT, middle, _RIGHT, middle, "axis"))
    ticks = round_ticks(low, high, 9)
    draw_ticks(axes, [(tick, t.tick(tick)) for tick in ticks], t("part.score"))
    for limit, name in ((review, "review"), (reject, "reject")):
        drawn.append(_handle(axes, limit, name, t))
    return Histogram(svg=figure(drawn, WIDTH, HEIGHT, t("limits.histogram")), low=low, high=high)


def _range(shown: np.ndarray, marks: Sequence[float]) -> tuple[float, float]:
    """Ends of the scale: all scores but a few far ones, which are counted at the end."""
    low = min([float(shown.min())] if shown.size else marks)
    high = float(np.quantile(shown, 0.995)) if shown.size else max(marks)
    low, high = min([low, *marks]), max([high, *marks])
    room = (high - low) * 0.06 or max(abs(high) * 0.1, 1e-6)
    return low - room, high + 2 * room


def _draw_counts(drawn: list[str], t: Language, up: float, down: float, middle: float, most: tuple[int, int]) -> None:
    """Lines at round counts, both ways from the middle."""
    for scale, sign, count in ((up, -1, most[0]), (down, 1, most[1])):
        for tick in round_ticks(0, max(count, 1), 3):
            if tick and tick == round(tick):
                y = middle + sign * tick * scale
                drawn.append(segment(_LEFT, y, _RIGHT, y, "grid"))
                drawn.append(words(_LEFT - 7, y + 4, t.whole(int(tick)), anchor="end", kind="soft-text"))
    drawn.append(words(_RIGHT, _TOP + 10, t("limits.above"), anchor="end", kind="soft-text"))
    drawn.append(words(_RIGHT, _BOTTOM - 6, t("limits.below"), anchor="end", kind="soft-text"))


def _bar(axes: Axes, left: float, right: float, top: float, tall: float, kind: str, title: str) -> str:
    return box(axes.x(left) + 0.5, top, axes.x(right) - axes.x(left) - 1, tall, kind, title)


def _handle(axes: Axes, limit: float | None, name: str, t: Language) -> str:
    """A limit that can be taken hold of: with the mouse, a finger, or the arrow keys."""
    low, high = axes.x_range
    value = high if limit is None else limit
    x, grip = axes.x(value), _TOP - 22 if name == "reject" else _TOP - 4
    kind = "limit review" if name == "review" else "limit"
    anchor, beside = ("start", x + 13) if name == "reject" else ("end", x - 13)
    said = t("limits.review") if name == "review" else t("limits.reject")
    return (
        f'<g class="handle" data-limit="{name}" role="slider" tabindex="0" aria-label="{said}" '
        f'aria-valuemin="{low:.6g}" aria-valuemax="{high:.6g}" aria-valuenow="{value:.6g}" '
        f'data-x="{number(x)}"{" data-none" if limit is None else ""}>'
        f'<path class="line-hit" d="M{number(x)} {number(grip)}V{number(_BOTTOM)}"/>'
        f'<path class="{kind}" d="M{number(x)} {number(grip)}V{number(_BOTTOM)}"/>'
        f'<circle class="grip" cx="{number(x)}" cy="{number(grip)}" r="9"/>'
        f"{words(beside, grip + 4, f'{said} {t.figure(limit)}', anchor=anchor)}</g>"
    )
