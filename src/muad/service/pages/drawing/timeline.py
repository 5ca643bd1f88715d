"""What changes over time: quantiles of the scores against the calibration's, and shares of the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from muad.reporting.axes import Axes, round_ticks
from muad.service.pages.drawing.frame import box, draw_grid, draw_ticks, figure, line_through, number, segment
from muad.service.pages.language import Language

WIDTH = 1200.0
_LEFT, _RIGHT = 58.0, 1184.0
QUANTILES = (0.5, 0.9, 0.99)
"""Which quantiles of the scores are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A stretch of time and what came in it.

    Attributes:
        begin: Its start, on the station's clocks.
        end: Where the next one starts.
        count: Parts with a score.
        quantiles: Of their scores, as in `QUANTILES`; empty without scores.
        verdicts: How many ended with which verdict.
    """

    begin: datetime
    end: datetime
    count: int
    quantiles: tuple[float, ...]
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A drift signal on the time line.

    Attributes:
        number: As it is listed beside the figure.
        began: When what it shows began.
        ended: When it ended, or None.
    """

    number: int
    began: datetime
    ended: datetime | None


def score_timeline(
    slots: Sequence[Slot],
    calibration: Sequence[float],
    limits: tuple[float | None, float | None],
    signals: Sequence[Signal],
    t: Language,
) -> str:
    """Quantiles of each stretch as lines, those of the calibration as fine lines across, both limits, drift signals.

    Args:
        slots: In order of time, at least one.
        calibration: Quantiles of the calibration scores, as in `QUANTILES`; empty without.
        limits: Review and reject, or None.
        signals: Drift signals within the time.
        t: Language of its words.
    """
    values = [value for slot in slots for value in slot.quantiles] + list(calibration)
    values += [limit for limit in limits if limit is not None]
    if not values:
        return ""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 1e-6)
    axes = _axes(slots, 26, 250, (low - room, high + room))
    ticks = round_ticks(*axes.y_range, 5)
    draw_grid(axes, ticks, t.tick, t("part.score"))
    if calibration:
        top, bottom = axes.y(calibration[-1]), axes.y(calibration[0])
        axes.drawn.append(box(_LEFT, top, _RIGHT - _LEFT, bottom - top, "band", t("trends.band")))
    for limit, kind in zip(limits, ("limit review", "limit"), strict=True):
        if limit is not None:
            axes.drawn.append(segment(_LEFT, axes.y(limit), _RIGHT, axes.y(limit), kind))
    _draw_signals(axes, signals, slots)
    for index, kind in enumerate(("q50", "q90", "q99")):
        for run in _runs(slots):
            points = [(_middle(slot), slot.quantiles[index]) for slot in run]
            axes.drawn.append(line_through(axes, points, f"line {kind}"))
            axes.drawn.extend(_dot(axes, x, y, kind) for x, y in points)
    draw_ticks(axes, _time_ticks(slots, t))
    return figure(axes.drawn, WIDTH, 284, t("trends.quantiles"))


def verdict_timeline(slots: Sequence[Slot], kinds: Mapping[str, str], t: Language) -> str:
    """Shares of the verdicts as stacked bars from the bottom: passed parts first.

    Args:
        slots: In order of time, at least one.
        kinds: Class of each verdict, in the order of stacking.
        t: Language of its words.
    """
    axes = _axes(slots, 26, 150, (0, 1))
    draw_grid(axes, (0, 0.5, 1), t.percent, t("trends.share"))
    for slot in slots:
        total = sum(slot.verdicts.values())
        left, right = axes.x(slot.begin.timestamp()), axes.x(slot.end.timestamp())
        base = 0.0
        for verdict, kind in kinds.items():
            share = slot.verdicts.get(verdict, 0) / total if total else 0
            if share:
                told = f"{t('verdict.' + kind)}: {slot.verdicts[verdict]} / {total}"
                tall = axes.y(base) - axes.y(base + share)
                axes.drawn.append(box(left + 0.5, axes.y(base + share), right - left - 1, tall, f"share-{kind}", told))
                base += share
    draw_ticks(axes, _time_ticks(slots, t))
    return figure(axes.drawn, WIDTH, 184, t("trends.shares"))


def _axes(slots: Sequence[Slot], top: float, bottom: float, y_range: tuple[float, float]) -> Axes:
    x_range = (slots[0].begin.timestamp(), slots[-1].end.timestamp())
    return Axes(left=_LEFT, top=top, width=_RIGHT - _LEFT, height=bottom - top, x_range=x_range, y_range=y_range)


def _middle(slot: Slot) -> float:
    return (slot.begin.timestamp() + slot.end.timestamp()) / 2


def _runs(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Neighbouring stretches with scores; a line does not cross a silence."""
    runs: list[list[Slot]] = [[]]
    for slot in slots:
        if slot.quantiles:
            runs[-1].append(slot)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _dot(axes: Axes, x: float, y: float, kind: str) -> str:
    return f'<circle class="dot {kind}" cx="{number(axes.x(x))}" cy="{number(axes.y(y))}" r="2.6"/>'


def _draw_signals(axes: Axes, signals: Sequence[Signal], slots: Sequence[Slot]) -> None:
    """Where a drift began, with its number; what it lasted is tinted."""
    first, last = slots[0].begin.timestamp(), slots[-1].end.timestamp()
    for signal in signals:
        began = max(signal.began.timestamp(), first)
        ended = min(last if signal.ended is None else signal.ended.timestamp(), last)
        if ended < first or began > last:
            continue
        x = axes.x(began)
        axes.drawn.append(box(x, axes.top, axes.x(ended) - x, axes.height, "signal-area"))
        axes.drawn.append(segment(x, axes.top - 4, x, axes.top + axes.height, "signal"))
        axes.drawn.append(
            f'<g class="flag"><circle class="signal-flag" cx="{number(x)}" cy="{number(axes.top - 8)}" r="8.5"/>'
            f'<text x="{number(x)}" y="{number(axes.top - 4)}" text-anchor="middle" class="flag-number">'
            f"{signal.number}</text></g>"
        )


def _time_ticks(slots: Sequence[Slot], t: Language) -> list[tuple[float, str]]:
    """At most nine times along the axis: hours within two days, days beyond."""
    begin, end = slots[0].begin, slots[-1].end
    hours = (end - begin) / timedelta(hours=1)
    within_days = hours <= 49
    step = next((size for size in (1, 2, 3, 4, 6, 8, 12, 24, 48, 96, 168, 336, 720, 1440, 4380) if hours / size <= 9),
                8760)  # fmt: skip
    if within_days and step < 24:
        at = begin.replace(minute=0, second=0, microsecond=0)
        at -= timedelta(hours=at.hour % step)
        form = "%H:%M"
    else:
        at, step, form = begin.replace(hour=0, minute=0, second=0, microsecond=0), max(step, 24), t("time.short_day")
    ticks = []
    while at <= end:
        if at >= begin:
            ticks.append((at.timestamp(), at.strftime(form)))
        at += timedelta(hours=step)
    ends = [(at.timestamp(), at.strftime("%H:%M")) for at in (begin, end)]
    return ticks if len(ticks) > 1 else ends


def even_slots(begin: datetime, end: datetime, most: int = 48) -> list[tuple[datetime, datetime]]:
    """At most so many equal stretches of whole hours or days that cover a time.

    Example:
        >>> from datetime import UTC
        >>> day = datetime(2026, 1, 31, tzinfo=UTC)
        >>> len(even_slots(day, day + timedelta(days=1)))
        48
    """
    span = end - begin
    sizes = [timedelta(minutes=size) for size in (5, 10, 15, 30, 60, 120, 180, 240, 360, 720)]
    sizes += [timedelta(days=days) for days in (1, 2, 7, 14, 28)]
    size = next((size for size in sizes if span / size <= most), sizes[-1])
    edges = [begin]
    while edges[-1] < end:
        edges.append(edges[-1] + size)
    return list(pairwise(edges))
