"""Scores of images kept out and of cross-fitted ones: pooled, unless the pool would promise too much."""

import json

import numpy as np
import pytest

from muad.decisions.calibration_scores import REFUTED, Scored, pool
from muad.decisions.limit_setting import results_of
from muad.decisions.limits import Calibration, Rates, read_calibration


def _scored(values: np.ndarray, folds: int = 0) -> Scored:
    rising = tuple(sorted(values.tolist()))
    return Scored(
        scores=rising, map_peaks=rising, images=len(rising), data_hash="", source="photos", created="today", folds=folds
    )


def test_a_pool_holds_both_and_says_how_they_go_together() -> None:
    random = np.random.default_rng(1)
    kept, crossed = random.normal(size=20), random.normal(size=80)
    found = pool(_scored(kept), _scored(crossed, 5))
    assert found.scores == tuple(sorted([*kept, *crossed]))
    assert (found.kept_out, found.folds, found.images, found.refuted) == (20, 5, 100, False)
    assert found.agreement is not None
    assert found.agreement > REFUTED


def test_scores_that_lie_lower_than_those_kept_out_are_not_used_and_higher_ones_are() -> None:
    random = np.random.default_rng(1)
    kept, crossed = random.normal(size=20), random.normal(size=80)
    low, high = (pool(_scored(kept), _scored(crossed + shift, 5)) for shift in (-2, 2))
    assert (low.scores, low.folds, low.refuted) == (tuple(sorted(kept)), 0, True)
    assert (len(high.scores), high.refuted) == (100, False)


def test_either_may_be_missing() -> None:
    some = _scored(np.arange(5.0), 5)
    assert pool(None, some).scores == some.scores
    assert (pool(None, some).kept_out, pool(None, some).agreement) == (0, None)
    assert pool(some, None).kept_out == 5
    assert pool(None, None).scores == ()


def test_sentences_say_what_is_proven_and_what_is_assumed(tmp_path) -> None:
    random = np.random.default_rng(1)
    calibration = Calibration(
        muad="1",
        weights="w",
        limits_digest="",
        rates=Rates(),
        good={"bolt": _scored(random.normal(size=24))},
        cross_fit={"bolt": _scored(random.normal(size=96), 5)},
    )
    result = results_of(calibration, ["bolt"])["bolt"]
    assert (result.count, result.kept_out, result.folds) == (120, 24, 5)
    assert (result.reject.carried, result.reject.proven, result.reject.more_images) == (1 / 121, 1 / 25, 79)
    # Those kept out carry 5 % by themselves, so that stays proven.
    assert (result.review.carried, result.review.proven, result.review.assumed) == (0.05, 0.05, False)
    assert result.review.value == max(calibration.good["bolt"].scores)
    said = list(result.sentences())
    assert said[0].startswith("cross-fitted: 96 of 120 good images were scored by 5 detectors that had not seen them")
    assert "at most 0.826 % of good parts (the coarsest limit, 0.5 % is wanted" in said[2]
    assert "on average over draws of 24 calibration images, at most 5 % of good parts" in said[1]
    assert "without that assumption at most 4 %, for this draw at most 11.7 % in the long run" in said[2]
    (tmp_path / "calibration.json").write_text(json.dumps(calibration.to_json()))
    assert read_calibration(tmp_path) == calibration


def test_with_no_image_kept_out_nothing_is_proven() -> None:
    calibration = Calibration(
        muad="1", weights="w", limits_digest="", rates=Rates(), good={}, cross_fit={"bolt": _scored(np.arange(30.0), 3)}
    )
    result = results_of(calibration, ["bolt"])["bolt"]
    assert (result.review.value, result.review.proven, result.review.bound) == (29.0, None, None)
    assert any("which no image was kept out to test" in text for text in result.sentences())
    assert any("nothing is proven without that assumption" in text for text in result.sentences())


@pytest.mark.parametrize("count", [10, 48, 120])
def test_a_pooled_limit_is_never_below_that_of_the_images_kept_out_at_the_same_place(count: int) -> None:
    random = np.random.default_rng(count)
    kept, crossed = random.normal(size=count // 5), random.normal(size=count)
    pooled = pool(_scored(kept), _scored(crossed, 5)).scores
    assert all(pooled[-place] >= np.sort(kept)[-place] for place in range(1, len(kept) + 1))


def test_a_reject_limit_is_never_below_the_review_limit() -> None:
    kept, crossed = np.r_[np.full(18, 0.0), 10.0], np.linspace(0, 1, 3000)
    calibration = Calibration(
        muad="1",
        weights="w",
        limits_digest="",
        rates=Rates(),
        good={"bolt": _scored(kept)},
        cross_fit={"bolt": _scored(crossed, 5)},
    )
    result = results_of(calibration, ["bolt"])["bolt"]
    assert (result.review.value, result.reject.value, result.reject.assumed) == (10.0, 10.0, True)
