"""The plots of a report as inline SVG: one calm style, Okabe and Ito's colours, still told apart in grey.

Good parts are blue and filled, defective ones orange and outlined; the limits are a dashed and a solid line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from muad.reporting.axes import FAINT, INK, SMALL_PX, Axes, marker, round_ticks, text

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

GOOD, BAD = "#0072B2", "#D55E00"
_WIDTH, _HEIGHT = 691, 180
_TOP, _BOTTOM = 22, 144
_MOST_BINS = 40
_LETTER = 0.54  # mean width of a letter, of its size


def category_plot(
    labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], review: float | None, reject: float | None
) -> str:
    """Histogram of the scores with both limits, ROC curve and precision-recall curve of one category, side by side.

    Curves are left out where only one label occurs.

    Args:
        labels: True for each anomalous image.
        scores: Their scores.
        review: The lower limit, or None.
        reject: The upper limit, or None.
    """
    drawn = _histogram(labels, scores, review, reject)
    if labels.any() and not labels.all():
        drawn += _curves(labels, scores, review, reject)
    else:
        only = "defective" if labels.any() else "good"
        drawn.append(text(392, (_TOP + _BOTTOM) / 2, f"no curves: all images are {only}"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="Scores and limits" font-family="sans-serif">{"".join(drawn)}</svg>'
    )


def _histogram(
    labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], review: float | None, reject: float | None
) -> list[str]:
    marks = [limit for limit in (review, reject) if limit is not None]
    low, high = min([scores.min(), *marks]), max([scores.max(), *marks])
    bins = int(np.clip(2 * np.sqrt(len(scores)), 8, _MOST_BINS))
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
    good, bad = (np.histogram(scores[chosen], edges)[0] for chosen in (~labels, labels))
    most, margin = max(int(good.max()), int(bad.max()), 1), float(edges[-1] - edges[0]) * 0.02
    x_range = (float(edges[0]) - margin, float(edges[-1]) + margin)
    axes = Axes(left=40, top=_TOP, width=314, height=_BOTTOM - _TOP, x_range=x_range, y_range=(0, most * 1.05))
    for count, left, right in zip(good.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            axes.bar(left, right, count, GOOD)
    if labels.any():
        steps = [(edge, count) for count, *ends in zip(bad, edges[:-1], edges[1:], strict=True) for edge in ends]
        outline = [(float(edges[0]), 0), *steps, (float(edges[-1]), 0)]
        axes.line(outline, BAD, 1.0, fill=f"{BAD}55")
    key = [("bar", f"good ({int((~labels).sum())})")]
    if labels.any():
        key.append(("outline", f"defective ({int(labels.sum())})"))
    for limit, name, dashes in ((review, "review above", "4.4 1.9"), (reject, "reject above", "")):
        if limit is not None:
            axes.line([(limit, 0), (limit, axes.y_range[1])], INK, 1.2, dashes)
            key.append((dashes or "solid", f"{name} {limit:.4g}"))
    y_ticks = [tick for tick in round_ticks(0, most * 1.05, 6) if tick == round(tick)]
    axes.frame("score", "images", round_ticks(*x_range, 7), y_ticks)
    return axes.drawn + _key(key)


def _key(entries: list[tuple[str, str]]) -> list[str]:
    """What the bars and lines mean, in a row above."""
    drawn, x, y = [], 30.0, 10.0
    for kind, words in entries:
        if kind in ("bar", "outline"):
            paint = f'fill="{GOOD}" fill-opacity="0.75"' if kind == "bar" else f'fill="{BAD}55" stroke="{BAD}"'
            drawn.append(f'<rect x="{x:.1f}" y="{y - 5.5:.1f}" width="15" height="5.5" {paint}/>')
        else:
            dashes = "" if kind == "solid" else f' stroke-dasharray="{kind}"'
            drawn.append(f'<path d="M{x:.1f} {y - 2.7:.1f}H{x + 15:.1f}" stroke="{INK}" stroke-width="1.2"{dashes}/>')
        drawn.append(text(x + 19, y, words, size=SMALL_PX))
        x += 19 + len(words) * SMALL_PX * _LETTER + 9
    return drawn


def _curves(
    labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], review: float | None, reject: float | None
) -> list[str]:
    """Both curves over all thresholds, with the two limits marked where they lie."""
    false_alarms, found, precise = curves(labels, scores)
    ends = (-0.02, 1.02)
    roc, precision = (
        Axes(left=left, top=_TOP, width=122, height=_BOTTOM - _TOP, x_range=ends, y_range=(-0.02, 1.04))
        for left in (401, 564)
    )
    half = (0, 0.5, 1)
    roc.frame("good parts stopped", "defective parts found", half, half, "ROC")
    precision.frame("defective parts found", "truly defective", half, half, "precision and recall")
    roc.line([(0, 0), (1, 1)], FAINT, 0.8, "0.8 1.4")
    roc.line(zip(false_alarms.tolist(), found.tolist(), strict=True), INK, 1.4)
    shares = found[1:].tolist()
    # The precision of a point holds from the point before up to it.
    steps = [(x, y) for before, here, y in zip([shares[0], *shares], shares, precise.tolist(), strict=False)
             for x in (before, here)]  # fmt: skip
    precision.line(steps, INK, 1.4)
    named = []
    for limit, name, shape in ((review, "review", "circle"), (reject, "reject", "square")):
        if limit is None:
            continue
        above = scores > limit
        hits, alarms = int((above & labels).sum()), int((above & ~labels).sum())
        roc.mark(alarms / (~labels).sum(), hits / labels.sum(), BAD, shape)
        if hits + alarms:
            precision.mark(hits / labels.sum(), hits / (hits + alarms), BAD, shape)
        named.append((name, shape))
    for line, (name, shape) in enumerate(reversed(named)):
        x, y = roc.left + roc.width - 38, _BOTTOM - 8 - 11 * line
        roc.drawn.extend([marker(x, y - 2.7, BAD, shape), text(x + 8, y, name, size=SMALL_PX)])
    return roc.drawn + precision.drawn


def curves(
    labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " j"]]:
    """False-alarm rate and share found from the origin on, and the precision of all but the origin.

    One point for each distinct score, falling, so that ties are one step.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    found, alarms = np.cumsum(labels[order])[last], np.cumsum(~labels[order])[last]
    start = np.zeros(1)
    return (
        np.concatenate([start, alarms / (~labels).sum()]),
        np.concatenate([start, found / labels.sum()]),
        found / (found + alarms),
    )
