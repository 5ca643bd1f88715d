"""From scores to limits: exact order statistics, and words where a number would be invented."""

import tomllib
from dataclasses import replace

import pytest

from muad.decisions.calibration_scores import Scored
from muad.decisions.limit_setting import limits_text, results_of
from muad.decisions.limits import Calibration, CategoryLimits, Rates

USUAL = Rates(false_alarm_rate=0.005, review_rate=0.05, confidence=0.95, sure=False)


def _scored(scores: list[float]) -> Scored:
    rising = tuple(sorted(scores))
    return Scored(
        scores=rising,
        map_peaks=tuple(10 * score for score in rising),
        images=len(rising),
        data_hash="sha256:0",
        source="photos",
        created="today",
    )


def _calibration(rates: Rates = USUAL, bad: list[float] | None = None, **good: list[float]) -> Calibration:
    return Calibration(
        muad="1",
        weights="w",
        limits_digest="",
        rates=rates,
        good={name: _scored(scores) for name, scores in good.items()},
        bad={} if bad is None else {"bolt": _scored(bad)},
    )


HUNDREDTHS = [number / 100 for number in range(1, 200)]  # 199 of them


def test_limits_are_order_statistics_of_the_scores() -> None:
    result = results_of(_calibration(bolt=HUNDREDTHS), ["bolt"])["bolt"]
    assert result.review.value == HUNDREDTHS[189]  # ceil(200 x 0.95) = 190th
    assert result.reject.value == HUNDREDTHS[198]
    assert result.map == pytest.approx(10 * HUNDREDTHS[198])
    assert 0.05 < (result.review.bound or 0) < 0.09
    assert 0.005 < (result.reject.bound or 0) < 0.02


def test_too_few_images_give_the_coarsest_limit_they_carry_and_its_name() -> None:
    results = results_of(_calibration(bolt=HUNDREDTHS[:40]), ["bolt", "nut"])
    bolt, nut = results["bolt"], results["nut"]
    assert (bolt.review.value, bolt.review.more_images) == (HUNDREDTHS[38], 0)
    assert (bolt.reject.value, bolt.reject.carried, bolt.reject.more_images) == (HUNDREDTHS[39], 1 / 41, 159)
    assert bolt.reject.is_coarser
    assert bolt.reject.bound == pytest.approx(1 - 0.05 ** (1 / 40))
    assert bolt.map == pytest.approx(10 * HUNDREDTHS[39])
    assert (nut.count, nut.review.value, nut.reject.value, nut.map) == (0, None, None, None)
    assert (nut.review.more_images, nut.reject.more_images) == (19, 199)
    text = limits_text(_calibration(bolt=HUNDREDTHS[:40]), results)
    assert tomllib.loads(text)["categories"] == {
        "bolt": {"review": 0.39, "review_rate": 0.05, "reject": 0.4, "reject_rate": 1 / 41, "map": bolt.map},
        "nut": {},
    }
    assert "  # coarser than the 0.005 wanted" in text
    assert "at most 2.44 % of good parts (the coarsest limit, 0.5 % is wanted and needs 159 more images)" in text
    assert "# no reject limit: 199 more good images are needed for a rate of 0.5 % (0 of 199)" in text


@pytest.mark.parametrize(("count", "has_reject"), [(1, False), (10, False), (18, False), (19, True), (198, True)])
def test_a_limit_that_stops_more_than_may_be_reviewed_never_rejects(count: int, has_reject: bool) -> None:
    result = results_of(_calibration(bolt=HUNDREDTHS[:count]), ["bolt"])["bolt"]
    assert result.review.value is not None
    assert (result.reject.value is not None) == has_reject
    assert result.review.is_coarser != has_reject
    said = list(result.sentences())[1]
    if not has_reject:
        assert "would reject more than the 5 % that may be taken off the line, so what is above the review" in said
        assert f"{19 - count} more good images give one, and {199 - count} more good images are needed" in said


def test_a_coarse_sure_limit_keeps_its_rate_with_the_confidence() -> None:
    sure = Rates(false_alarm_rate=0.005, review_rate=0.05, confidence=0.95, sure=True)
    review = results_of(_calibration(sure, bolt=HUNDREDTHS[:10]), ["bolt"])["bolt"].review
    assert (review.value, review.more_images) == (HUNDREDTHS[9], 49)
    assert review.carried == review.bound == pytest.approx(1 - 0.05**0.1)


def test_what_was_edited_by_hand_is_called_so() -> None:
    edited = {"bolt": CategoryLimits(review=1.5, map=3.0)}
    result = results_of(_calibration(bolt=HUNDREDTHS, bad=[1.2, 1.6]), ["bolt"], edited)["bolt"]
    assert (result.review.value, result.review.carried, result.review.by_hand) == (1.5, None, True)
    assert (result.reject.value, result.reject.by_hand, result.map) == (None, True, 3.0)
    assert result.misses is not None
    assert result.misses.passed == 1
    assert list(result.sentences())[:2] == [
        "review above 1.5: set by hand, so nothing is promised of it",
        "no reject limit: its line was taken out of limits.toml by hand",
    ]


def test_sure_limits_are_higher_and_keep_the_rate_with_the_confidence() -> None:
    sure = Rates(false_alarm_rate=0.02, review_rate=0.05, confidence=0.95, sure=True)
    usual = Rates(false_alarm_rate=0.02, review_rate=0.05, confidence=0.95, sure=False)
    one, other = (results_of(_calibration(rates, bolt=HUNDREDTHS), ["bolt"])["bolt"] for rates in (sure, usual))
    assert (one.review.value or 0) > (other.review.value or 9)
    assert (one.review.bound or 1) <= 0.05 < (other.review.bound or 0)
    assert any("with 95 % confidence at most 2 % of good parts in the long run" in text for text in one.sentences())


def test_misses_are_counted_with_their_interval_and_move_nothing() -> None:
    without = results_of(_calibration(bolt=HUNDREDTHS), ["bolt"])["bolt"]
    result = results_of(_calibration(bad=[0.1, 1.9, 1.95, 3.0, 4.0], bolt=HUNDREDTHS), ["bolt"])["bolt"]
    assert (result.review, result.reject) == (without.review, without.reject)
    assert result.misses is not None
    assert (result.misses.passed, result.misses.not_rejected, result.misses.count) == (2, 3, 5)
    low, high = result.misses.passed_interval
    assert low < 0.4 < high
    assert "bad images that pass: 2 of 5 (95 % interval 5.27 % to 85.3 %)" in list(result.sentences())[2]


def test_without_any_limit_nothing_is_said_of_misses() -> None:
    assert results_of(_calibration(bad=[1.0]), ["bolt"])["bolt"].misses is None


def test_names_that_toml_must_quote_are_read_back() -> None:
    names = ["a bolt", 'the "nut"', "Mütze.x"]
    calibration = _calibration(**dict.fromkeys(names, HUNDREDTHS))
    text = limits_text(calibration, results_of(calibration, names))
    assert list(tomllib.loads(text)["categories"]) == names


def test_a_limit_is_written_with_all_its_digits() -> None:
    scores = [0.1 + number * 1.1920929e-07 / 3 for number in range(20)]
    calibration = _calibration(bolt=scores)
    text = limits_text(calibration, results_of(calibration, ["bolt"]))
    assert tomllib.loads(text)["categories"]["bolt"]["review"] in scores


def test_images_that_show_the_same_are_said_to_count_once() -> None:
    calibration = _calibration(bolt=HUNDREDTHS[:20])
    calibration.good["bolt"] = replace(calibration.good["bolt"], images=23)
    results = results_of(calibration, ["bolt"])
    assert next(results["bolt"].sentences()).startswith("23 good images count as 20: of near-duplicates")
    assert "# 23 (counted as 20) good images: photos, scored today" in limits_text(calibration, results)
