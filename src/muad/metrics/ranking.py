"""How well one score per sample ranks anomalous above normal: AUROC, average precision, best F1.

All three change only at scores of anomalous samples. So it is enough to know, for each distinct anomalous score, how
many normal samples lie above it and how many lie at it or above (`RankCounts`); everything else is arithmetic on
those counts. `region` fills the same counts for pixels, chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from muad.metrics.inputs import MetricInputError, as_float, as_scores, as_truth, require_finite, require_same_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class RankMetrics:
    """Threshold-free quality of a ranking, in [0, 1]; all None where only one label occurs.

    Attributes:
        auroc: Chance that an anomalous sample scores above a normal one, ties counted as half.
        average_precision: Precision averaged over the recall steps (no interpolation).
        f1_max: Largest F1 over all thresholds.
        f1_max_threshold: The lowest score at which it is reached; anomalous means score >= threshold.
        reason: Why the metrics are None, or None where they are defined.
    """

    auroc: float | None = None
    average_precision: float | None = None
    f1_max: float | None = None
    f1_max_threshold: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCounts:
    """Where the anomalous scores stand among the normal ones, one entry per distinct anomalous score, ascending.

    Attributes:
        scores: The distinct anomalous scores.
        anomalous: How many anomalous samples have exactly that score.
        normal_above: How many normal samples score higher.
        normal_from: How many normal samples score that high or higher.
    """

    scores: Float[np.ndarray, " k"]
    anomalous: Int[np.ndarray, " k"]
    normal_above: Int[np.ndarray, " k"]
    normal_from: Int[np.ndarray, " k"]


class RankSums:
    """The three metrics, summed up from counts that come in parts, the highest scores first.

    Args:
        anomalous: How many anomalous samples there are in all, at least one.
        normal: How many normal ones, at least one.
    """

    def __init__(self, *, anomalous: int, normal: int) -> None:
        self._anomalous, self._normal = anomalous, normal
        self._found, self._pairs_lost, self._precision = 0, 0.0, 0.0
        self._f1, self._threshold = -1.0, float("nan")

    def add(self, counts: RankCounts) -> None:
        """Take in counts, at least one, whose scores are all below those before."""
        found = self._found + np.cumsum(counts.anomalous[::-1])[::-1]
        pairs_lost = counts.anomalous * ((counts.normal_above + counts.normal_from) / 2)
        precision = found / (found + counts.normal_from)
        f1 = 2 * found / (self._anomalous + found + counts.normal_from)
        best = int(np.argmax(f1))
        if f1[best] >= self._f1:
            self._f1, self._threshold = float(f1[best]), float(counts.scores[best])
        self._pairs_lost += float(np.sum(pairs_lost / self._normal))
        self._precision += float(np.sum(counts.anomalous * precision))
        self._found = int(found[0])

    def metrics(self) -> RankMetrics:
        """The metrics of all counts taken in."""
        return RankMetrics(
            auroc=1 - self._pairs_lost / self._anomalous,
            average_precision=self._precision / self._anomalous,
            f1_max=self._f1,
            f1_max_threshold=self._threshold,
        )


def rank_metrics(labels: ArrayLike, scores: ArrayLike) -> RankMetrics:
    """Exact AUROC, average precision and best F1 of a ranking, ties included.

    Only the order of the scores matters, not their scale. AUROC and average precision agree with scikit-learn.

    Args:
        labels: True (or 1) for each anomalous sample, shape (n,).
        scores: Higher means more anomalous; any finite values, shape (n,). CPU tensors are accepted too.

    Returns:
        The metrics, or the reason why they are undefined.

    Raises:
        MetricInputError: Shapes differ, labels are not two-valued, or a score is not finite.

    Example:
        >>> rank_metrics([False, False, True, True], [0.1, 0.4, 0.35, 0.8]).auroc
        0.75
    """
    truth, values = as_truth(labels, "labels"), as_float(as_scores(scores, "scores"))
    if truth.ndim != 1:
        raise MetricInputError(f"labels must be one-dimensional, got shape {truth.shape}. Pass one label per sample.")
    require_same_shape(truth, "labels", values, "scores")
    require_finite(values, "scores")
    if truth.size == 0:
        return RankMetrics(reason="there are no samples")
    if truth.all() or not truth.any():
        return RankMetrics(reason=f"all {truth.size} labels are {'anomalous' if truth[0] else 'normal'}")
    distinct, anomalous = np.unique(values[truth], return_counts=True)
    normal_above, normal_from = count_above(np.sort(values[~truth]), distinct)
    sums = RankSums(anomalous=int(truth.sum()), normal=int((~truth).sum()))
    sums.add(RankCounts(scores=distinct, anomalous=anomalous, normal_above=normal_above, normal_from=normal_from))
    return sums.metrics()


def count_above(
    ascending: Float[np.ndarray, " m"], queries: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """How many values lie strictly above each query, and how many lie at it or above.

    Args:
        ascending: Sorted values.
        queries: Numbers of the same type, sorted for speed.
    """
    if not ascending.size:
        none = np.zeros(queries.size, dtype=np.int64)
        return none, none
    right = np.searchsorted(ascending, queries, side="right")
    above = ascending.size - right
    # A second search is due only where the value left of the insertion point equals the query. At 0 that wraps to the
    # largest value, which cannot equal a query below all of them.
    tied = np.flatnonzero(ascending[right - 1] == queries)
    from_here = above.copy()
    from_here[tied] = ascending.size - np.searchsorted(ascending, queries[tied], side="left")
    return above, from_here
