"""Ranking metrics against scikit-learn, pair counting and numbers recorded from the authors' code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from muad.errors import MuadError
from muad.metrics.ranking import rank_metrics

TIED_RANKINGS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda samples: len({label for label, _ in samples}) == 2
)
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def best_f1_by_search(labels: np.ndarray, scores: np.ndarray) -> float:
    return max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))


def test_metrics_agree_with_scikit_learn_on_distinct_scores():
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.3
    scores = rng.normal(size=500) + labels
    metrics = rank_metrics(labels, scores)
    assert metrics.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert metrics.f1_max == pytest.approx(best_f1_by_search(labels, scores), abs=1e-12)
    assert metrics.reason is None


@PROPERTY
@given(TIED_RANKINGS)
def test_metrics_agree_with_scikit_learn_on_ties(samples):
    labels, scores = (np.array(column) for column in zip(*samples, strict=True))
    metrics = rank_metrics(labels, scores.astype(np.float32))
    assert metrics.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert metrics.f1_max == pytest.approx(best_f1_by_search(labels, scores), abs=1e-12)


@PROPERTY
@given(TIED_RANKINGS)
def test_auroc_is_the_share_of_pairs_in_order(samples):
    anomalous = [score for label, score in samples if label]
    normal = [score for label, score in samples if not label]
    in_order = sum((a > n) + 0.5 * (a == n) for a in anomalous for n in normal)
    labels, scores = (list(column) for column in zip(*samples, strict=True))
    assert rank_metrics(labels, scores).auroc == pytest.approx(in_order / (len(anomalous) * len(normal)), abs=1e-12)


@PROPERTY
@given(TIED_RANKINGS, st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_of_samples(samples, random):
    shuffled = samples.copy()
    random.shuffle(shuffled)
    before, after = (rank_metrics(*map(list, zip(*order, strict=True))) for order in (samples, shuffled))
    assert before == after


@PROPERTY
@given(TIED_RANKINGS, st.sampled_from([1e-6, 20.0, 1e6]), st.sampled_from([0.0, -5.0, 300.0]))
def test_metrics_are_invariant_to_monotone_rescaling(samples, factor, shift):
    labels, scores = (np.array(column) for column in zip(*samples, strict=True))
    before, after = rank_metrics(labels, scores), rank_metrics(labels, np.cbrt(scores) * factor + shift)
    assert (after.auroc, after.average_precision, after.f1_max) == (
        before.auroc,
        before.average_precision,
        before.f1_max,
    )


@PROPERTY
@given(TIED_RANKINGS)
def test_f1_is_reached_at_its_threshold_and_at_no_lower_score(samples):
    labels, scores = (np.array(column) for column in zip(*samples, strict=True))
    metrics = rank_metrics(labels, scores)
    assert f1_score(labels, scores >= metrics.f1_max_threshold) == pytest.approx(metrics.f1_max, abs=1e-12)
    for lower in scores[scores < metrics.f1_max_threshold]:
        assert f1_score(labels, scores >= lower) < metrics.f1_max


def test_scores_far_above_one_do_not_saturate():
    assert rank_metrics([0, 0, 1, 1], [20.0, 100.0, 150.0, 200.0]).auroc == 1.0


def test_perfect_and_reversed_rankings_are_one_and_zero():
    perfect, reversed_ = rank_metrics([0, 0, 1], [1, 2, 3]), rank_metrics([1, 0, 0], [1, 2, 3])
    assert (perfect.auroc, perfect.average_precision, perfect.f1_max) == (1.0, 1.0, 1.0)
    assert reversed_.auroc == 0.0
    assert reversed_.average_precision == pytest.approx(1 / 3)


def test_equal_scores_give_chance_level():
    metrics = rank_metrics([0, 1, 0, 1, 0], [7.0] * 5)
    assert (metrics.auroc, metrics.average_precision, metrics.f1_max_threshold) == (0.5, 0.4, 7.0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [([0, 0, 0], "all 3 labels are normal"), ([1, 1], "all 2 labels are anomalous"), ([], "there are no samples")],
)
def test_a_single_label_gives_none_and_the_reason(labels, said):
    metrics = rank_metrics(labels, np.arange(len(labels)))
    assert metrics.reason == said
    assert metrics.auroc is metrics.average_precision is metrics.f1_max is metrics.f1_max_threshold is None


def test_tensors_half_precision_and_integers_are_ranked_alike():
    labels, scores = [0, 1, 0, 1], [1, 2, 3, 4]
    expected = rank_metrics(labels, scores)
    assert rank_metrics(torch.tensor(labels).bool(), torch.tensor(scores, dtype=torch.float16)) == expected
    assert rank_metrics(np.array(labels, dtype=np.uint8), np.array(scores, dtype=np.uint8)) == expected


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused(wrong):
    with pytest.raises(ValueError, match=r"scores must be finite, got -?(nan|inf)") as caught:
        rank_metrics([0, 1], [0.5, wrong])
    assert isinstance(caught.value, MuadError)


@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        ([0, 1], [0.1, 0.2, 0.3], r"labels and scores must be of one shape, got \(2,\) and \(3,\)"),
        ([[0, 1]], [[0.1, 0.2]], r"labels must be one-dimensional, got shape \(1, 2\)"),
        ([0, 2], [0.1, 0.2], "labels must be boolean or 0 and 1, got 2"),
        (["normal", "anomalous"], [0.1, 0.2], "labels must be boolean, got dtype"),
        ([0, 1], ["a", "b"], "scores must be real numbers, got dtype"),
    ],
)
def test_input_that_cannot_be_ranked_is_refused_by_name(labels, scores, said):
    with pytest.raises(ValueError, match=said):
        rank_metrics(labels, scores)


def test_recorded_ranking_of_the_authors_is_reproduced():
    anomalous = [2.6285, 2.6705, 2.9845002, 2.7759998, 2.7395, 2.7935002, 2.9992499, 2.7049999]
    anomalous += [2.586, 3.2599998, 2.6915002, 2.7657499, 2.7020001, 2.8487499]
    normal = [2.6912501, 2.72575, 2.6570001, 2.6835001, 2.65625, 2.7167499, 2.6389999, 2.5964999, 2.6150002, 2.60375]
    metrics = rank_metrics([1] * 14 + [0] * 10, np.array(anomalous + normal, dtype=np.float32))
    assert metrics.auroc == pytest.approx(0.8071428571428572, abs=1e-12)
    assert metrics.average_precision == pytest.approx(0.8915001665001665, abs=1e-12)
    # The authors add 1e-7 to the denominator of F1.
    assert metrics.f1_max == pytest.approx(0.8148147648834049, abs=1e-6)
