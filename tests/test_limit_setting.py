"""From scores to limits: exact order statistics, and words where a number would be invented."""

import tomllib

import pytest

from muad.limit_setting import limits_text, results_of
from muad.limits import Calibration, Rates, Scored

USUAL = Rates(false_alarm_rate=0.005, review_rate=0.05, confidence=0.95, sure=False)


def _scored(scores: list[float]) -> Scored:
    rising = tuple(sorted(scores))
    return Scored(
        scores=rising, map_peaks=tuple(10 * s for s in rising), data_hash="sha256:0", source="photos", created="today"
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


def test_too_few_images_give_the_number_that_is_missing_and_no_limit() -> None:
    results = results_of(_calibration(bolt=HUNDREDTHS[:40]), ["bolt", "nut"])
    bolt, nut = results["bolt"], results["nut"]
    assert (bolt.review.value, bolt.review.more_images) == (HUNDREDTHS[38], 0)
    assert (bolt.reject.value, bolt.reject.bound, bolt.reject.more_images) == (None, None, 159)
    assert bolt.map == pytest.approx(10 * HUNDREDTHS[38])  # at the review rate
    assert (nut.count, nut.review.more_images, nut.reject.more_images, nut.map) == (0, 19, 199, None)
    text = limits_text(_calibration(bolt=HUNDREDTHS[:40]), results)
    assert tomllib.loads(text)["categories"] == {"bolt": {"review": 0.39, "map": bolt.map}, "nut": {}}
    assert "# no reject limit: 159 more good images are needed for a rate of 0.5 % (40 of 199)" in text


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
    assert results_of(_calibration(bad=[1.0], bolt=[0.1]), ["bolt"])["bolt"].misses is None


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
