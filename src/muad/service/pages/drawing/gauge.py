"""A score against its limits, on a line: where it passes, where a person looks, where it is rejected."""

from __future__ import annotations

from collections.abc import Callable

from muad.service.pages.drawing.frame import box, figure, number, segment, words
from muad.service.pages.language import Language

_WIDTH = 320.0


def gauge(score: float | None, review: float | None, reject: float | None, t: Language, *, small: bool = False) -> str:
    """The score on a scale that is the same for all parts with these limits; beyond its ends an arrow shows where.

    Args:
        score: Of the part, or None.
        review: The lower limit, or None.
        reject: The upper limit, or None.
        t: Language of its words.
        small: Without words, for a row of a list.
    """
    limits = [limit for limit in (review, reject) if limit is not None]
    if score is None or not limits:
        return ""
    low, high = _scale(min(limits), max(limits))
    height, top = (18.0, 5.0) if small else (68.0, 26.0)
    tall = 8.0 if small else 16.0

    def x(value: float) -> float:
        return 4 + (_WIDTH - 8) * (min(max(value, low), high) - low) / (high - low)

    ends = [x(review if review is not None else limits[0]), x(reject if reject is not None else limits[-1])]
    if review is None:
        ends[0] = ends[1]
    drawn = [
        box(4, top, ends[0] - 4, tall, "zone-pass"),
        box(ends[0], top, ends[1] - ends[0], tall, "zone-review"),
    ]
    drawn.append(box(ends[1], top, _WIDTH - 4 - ends[1], tall, "zone-review" if reject is None else "zone-reject"))
    for limit, kind in ((review, "limit review"), (reject, "limit")):
        if limit is not None:
            drawn.append(segment(x(limit), top - 3, x(limit), top + tall + 3, kind))
    drawn.append(_marker(x(score), top, tall, beyond=(score > high) - (score < low), small=small))
    if not small:
        drawn += _limit_words(review, reject, x, top + tall + 16, t)
        middle = min(max(x(score), 24.0), _WIDTH - 24)
        drawn.append(words(middle, top - 12, t.figure(score), anchor="middle", kind="strong"))
    label = t("part.gauge", score=t.figure(score), review=t.figure(review), reject=t.figure(reject))
    return figure(drawn, _WIDTH, height, label, "figure gauge")


def _scale(lower: float, upper: float) -> tuple[float, float]:
    """Ends of the scale: as far beyond the limits as they lie apart, and never less than a part of their size."""
    room = max(1.2 * (upper - lower), 0.3 * abs(upper), 1e-9)
    return lower - room, upper + room


def _limit_words(
    review: float | None, reject: float | None, x: Callable[[float], float], y: float, t: Language
) -> list[str]:
    drawn = []
    both = review is not None and reject is not None
    for limit, key in ((review, "part.review_above"), (reject, "part.reject_above")):
        if limit is None:
            continue
        text = t(key, limit=t.figure(limit))
        lower = both and key == "part.review_above"
        place = min(x(limit), _WIDTH / 2 - 4) if lower else max(x(limit), _WIDTH / 2 + 4) if both else x(limit)
        anchor = "end" if lower else "start" if both else "middle"
        drawn.append(words(place, y, text, anchor=anchor, kind="soft-text"))
    return drawn


def _marker(x: float, top: float, tall: float, *, beyond: int, small: bool) -> str:
    """A pin on the line, or an arrow out of it."""
    size = 5.0 if small else 8.0
    middle = top + tall / 2
    if beyond:
        points = [(x, middle), (x - beyond * 1.6 * size, middle - size), (x - beyond * 1.6 * size, middle + size)]
    else:
        points = [(x, middle + 1), (x - size * 0.8, top - size * 0.9), (x + size * 0.8, top - size * 0.9)]
    path = "L".join(f"{number(px)} {number(py)}" for px, py in points)
    tail = "" if beyond else f'<path class="limit" d="M{number(x)} {number(top)}V{number(top + tall)}"/>'
    return f'{tail}<path class="marker" d="M{path}Z"/>'
