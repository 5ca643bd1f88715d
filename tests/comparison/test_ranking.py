"""The order of detectors, and how sure it is: the same draw of images for all."""

import numpy as np
import pytest

from muad.comparison.ranking import Ranking, rank
from muad.metrics.ranking import rank_metrics
from muad.runs.scores import ImageScore


def rows(scores: np.ndarray, labels: np.ndarray, category: str = "bolt") -> list[ImageScore]:
    return [
        ImageScore(
            path=f"{category}/{place}", category=category, is_anomalous=bool(label), defect_type=None, score=score
        )
        for place, (score, label) in enumerate(zip(scores.tolist(), labels.tolist(), strict=True))
    ]


@pytest.fixture
def labels() -> np.ndarray:
    return np.repeat([False, True], [30, 50])


def test_figures_are_the_auroc_and_the_interval_is_that_of_drawing_again(labels: np.ndarray) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=80).round(1) + labels
    found = rank({"one": [rows(scores, labels)]})
    assert found is not None
    assert found.best.auroc == pytest.approx(rank_metrics(labels, scores).auroc)
    good, bad = scores[~labels], scores[labels]
    again = [
        rank_metrics(labels, np.r_[random.choice(good, good.size), random.choice(bad, bad.size)]).auroc
        for _ in range(1500)
    ]
    assert (found.best.low, found.best.high) == pytest.approx(np.percentile(again, [2.5, 97.5]), abs=0.015)


def test_a_small_lead_on_the_same_images_is_surer_than_their_intervals(labels: np.ndarray) -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=80) + labels
    better = scores + 0.4 * labels
    found = rank({"worse": [rows(scores, labels)], "better": [rows(better, labels)]})
    assert found is not None
    assert [one.key for one in found.standings] == ["better", "worse"]
    assert found.best.low < found.standings[1].high
    assert found.ahead["better"]["worse"] > 0.99
    assert found.ahead["better"]["worse"] + found.ahead["worse"]["better"] == pytest.approx(1)
    assert found.not_told_apart == ()
    assert "That is clear" in " ".join(found.sentences({}))


def test_equal_detectors_are_not_told_apart_and_the_cheaper_is_named(labels: np.ndarray) -> None:
    scores = np.random.default_rng(2).normal(size=80) + labels
    found = rank({"a": [rows(scores, labels)], "b": [rows(2 * scores, labels)]})
    assert isinstance(found, Ranking)
    assert found.ahead["a"]["b"] == 0.5
    assert found.best.first == 0.5
    told = " ".join(found.sentences({"a": 0.2, "b": 0.05}))
    assert "do not tell it apart from b (ahead of it in 50 %)" in told
    assert "b takes least time for an image, 50 ms against 200 ms" in told


def test_seeds_that_differ_make_the_order_less_sure(labels: np.ndarray) -> None:
    random = np.random.default_rng(3)
    base = random.normal(size=80)
    steady = [rows(base + 1.2 * labels, labels)] * 3
    shaky = [rows(base + lead * labels, labels) for lead in (0.4, 1.3, 1.6)]
    found = rank({"steady": steady, "shaky": shaky})
    assert found is not None
    wide = {one.key: one.high - one.low for one in found.standings}
    assert wide["shaky"] > wide["steady"]


def test_only_products_with_both_labels_count(labels: np.ndarray) -> None:
    scores = np.random.default_rng(4).normal(size=80) + labels
    only_good = rows(np.zeros(5), np.zeros(5, bool), "nut")
    found = rank({"one": [[*rows(scores, labels), *only_good]]})
    assert found is not None
    assert found.categories == ("bolt",)
    assert found.images == 80
    assert rank({"one": [only_good]}) is None
    assert rank({}) is None
