"""The plots of a report as inline SVG: one calm style, Okabe and Ito's colours, still told apart in grey.

Good parts are blue and filled, defective ones orange and outlined; the limits are a dashed and a solid line.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from matplotlib.axes import Axes

GOOD, BAD, INK, FAINT = "#0072B2", "#D55E00", "#333333", "#999999"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "muad",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
_MOST_BINS = 40


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
    with rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        histogram, roc, precision = figure.subplots(1, 3, width_ratios=(2.1, 1, 1))
        _draw_histogram(histogram, labels, scores, review, reject)
        if labels.any() and not labels.all():
            _draw_curves(roc, precision, labels, scores, review, reject)
        else:
            for axes in (roc, precision):
                axes.set_axis_off()
            only = "defective" if labels.any() else "good"
            roc.text(0, 0.5, f"no curves: all images are {only}", color=INK)
        return _svg(figure)


def _draw_histogram(
    axes: Axes,
    labels: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    review: float | None,
    reject: float | None,
) -> None:
    marks = [limit for limit in (review, reject) if limit is not None]
    low, high = min([scores.min(), *marks]), max([scores.max(), *marks])
    bins = int(np.clip(2 * np.sqrt(len(scores)), 8, _MOST_BINS))
    edges = np.linspace(low, high, bins + 1).tolist() if high > low else [low - 0.5, low + 0.5]
    axes.hist(scores[~labels], edges, color=GOOD, alpha=0.75, label=f"good ({int((~labels).sum())})")
    if labels.any():
        axes.hist(
            scores[labels], edges, facecolor="#D55E0055", edgecolor=BAD, linewidth=1.0,
            label=f"defective ({int(labels.sum())})", histtype="stepfilled",
        )  # fmt: skip
    for limit, name, style in ((review, "review above", "--"), (reject, "reject above", "-")):
        if limit is not None:
            axes.axvline(limit, color=INK, linestyle=style, linewidth=1.2, label=f"{name} {limit:.4g}")
    axes.set_xlabel("score")
    axes.set_ylabel("images")
    axes.set_title(" ")  # the place of the legend, which may be wider than the axes
    legend = axes.legend(
        frameon=False, fontsize=7.5, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, columnspacing=1.0
    )
    legend.set_in_layout(False)


def _draw_curves(
    roc: Axes,
    precision: Axes,
    labels: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    review: float | None,
    reject: float | None,
) -> None:
    """Both curves over all thresholds, with the two limits marked where they lie."""
    false_alarms, found, precise = curves(labels, scores)
    roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    roc.plot(false_alarms, found, color=INK, linewidth=1.4)
    precision.step(found[1:], precise, where="pre", color=INK, linewidth=1.4)
    for limit, marker in ((review, "o"), (reject, "s")):
        if limit is None:
            continue
        above = scores > limit
        hits, alarms = int((above & labels).sum()), int((above & ~labels).sum())
        style: dict[str, Any] = {
            "color": BAD,
            "marker": marker,
            "markersize": 5,
            "linestyle": "none",
            "clip_on": False,
            "zorder": 5,
        }
        name = "reject" if marker == "s" else "review"
        roc.plot([alarms / (~labels).sum()], [hits / labels.sum()], label=name, **style)
        if hits + alarms:
            precision.plot([hits / labels.sum()], [hits / (hits + alarms)], **style)
    roc.set(xlabel="good parts stopped", ylabel="defective parts found", title="ROC")
    precision.set(xlabel="defective parts found", ylabel="truly defective", title="precision and recall")
    for axes in (roc, precision):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.title.set_fontsize(8.5)
    if review is not None or reject is not None:
        roc.legend(frameon=False, fontsize=7.5, loc="lower right")


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


def _svg(figure: Figure) -> str:
    """The figure without XML header, date and fixed size, so that it fits any column."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
