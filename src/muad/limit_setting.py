"""From stored scores to limits, and the sentences that say what they promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from muad.limits import Calibration, Rates, Scored
from muad.metrics.conformal import (
    binomial_interval,
    images_needed,
    limit_rank,
    rate_bound,
    sure_images_needed,
    sure_rank,
)

NOT_COVERED = (
    "The promise is for good parts photographed like the calibration images: same light, camera, lens, position, "
    "supplier. After a change, calibrate again on new photographs. It says nothing of how many defects are found."
)

_HEAD = """\
# Limits of this run, set by `muad calibrate` from scores of good images it was not trained on (calibration.json).
#
# Edit them freely: every prediction reads this file anew, nothing is trained. A score above `reject` is rejected, one
# above `review` is for a person to look at, everything else passes. A line left out is a limit that is not there.
# `map` is the middle of the colours of overlays and decides nothing. Calibrating again writes a new file.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit, or what is missing for it.

    Attributes:
        rate: Part of good images that may be above it.
        value: The limit; None with too few images.
        bound: What that part is at most in the long run, with the stated confidence; None without a limit.
        more_images: How many more good images it needs; 0 where it is there.
    """

    rate: float
    value: float | None
    bound: float | None
    more_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """How many of the images given as bad are not above a limit.

    Attributes:
        passed: Those that would pass.
        not_rejected: Those that would pass or go to review; None without a reject limit.
        count: Images given as bad.
        passed_interval: Clopper-Pearson interval of the part that passes.
        not_rejected_interval: The same for `not_rejected`.
    """

    passed: int
    not_rejected: int | None
    count: int
    passed_interval: tuple[float, float]
    not_rejected_interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryResult:
    """What calibration gave for one category.

    Attributes:
        count: Good images it rests on.
        review: The lower limit.
        reject: The upper one.
        map: The map value that good images exceed anywhere as rarely; None with too few images.
        misses: Of the images given as bad; None if none were given, or if there is no limit.
        rates: What the limits are to keep.
    """

    count: int
    review: Limit
    reject: Limit
    map: float | None
    misses: Misses | None
    rates: Rates

    def sentences(self) -> Iterator[str]:
        """What the limits promise, in plain words."""
        for name, limit in (("review", self.review), ("reject", self.reject)):
            yield _sentence(name, limit, self.count, self.rates)
        if self.misses is not None:
            yield _misses_sentence(self.misses, self.rates.confidence)


def results_of(calibration: Calibration, categories: Sequence[str]) -> dict[str, CategoryResult]:
    """Limits of every category of the run, those without calibration images included."""
    results = {}
    for category in categories:
        good, rates = calibration.good.get(category), calibration.rates
        scores, map_peaks = ((), ()) if good is None else (good.scores, good.map_peaks)
        review = _limit(scores, rates.review_rate, rates)
        reject = _limit(scores, rates.false_alarm_rate, rates)
        peaks = [_limit(map_peaks, rate, rates).value for rate in (rates.false_alarm_rate, rates.review_rate)]
        results[category] = CategoryResult(
            count=len(scores),
            review=review,
            reject=reject,
            map=next((peak for peak in peaks if peak is not None), None),
            misses=_misses(calibration.bad.get(category), review, reject, rates.confidence),
            rates=rates,
        )
    return results


def summary(results: Mapping[str, CategoryResult], path: Path) -> Iterator[str]:
    """Two lines on which limits there are, and what the others need."""
    review = [name for name, result in results.items() if result.review.value is not None]
    reject = [name for name, result in results.items() if result.reject.value is not None]
    yield (
        f"limits, and what they promise, are in {path}: review for {', '.join(review) or 'no category'}, reject for "
        f"{', '.join(reject) or 'no category'}"
    )
    for name, kind in (("review", "review_rate"), ("reject", "false_alarm_rate")):
        limits = {category: getattr(result, name) for category, result in results.items()}
        missing = [f"{category} {limit.more_images}" for category, limit in limits.items() if limit.value is None]
        if missing:
            rate = getattr(next(iter(results.values())).rates, kind)
            yield f"good images a {name} limit still needs at a rate of {_percent(rate)}: {', '.join(missing)}"


def limits_text(calibration: Calibration, results: Mapping[str, CategoryResult]) -> str:
    """The text of `limits.toml`."""
    rates = calibration.rates
    lines = [
        f"false_alarm_rate = {rates.false_alarm_rate!r}  # part of good parts that may be rejected",
        f"review_rate = {rates.review_rate!r}  # part of good parts that may be reviewed or rejected",
        f"confidence = {rates.confidence!r}",
        f"sure = {str(rates.sure).lower()}  # whether the rates hold with the confidence, or on average",
    ]
    for category, result in results.items():
        good = calibration.good.get(category)
        came = "" if good is None else f": {good.source}, scored {good.created}"
        lines += ["", tomli_w.dumps({"categories": {category: {}}}).strip(), f"# {result.count} good images{came}"]
        for name, limit in (("review", result.review), ("reject", result.reject)):
            if limit.value is not None:
                lines.append(f"{name} = {limit.value!r}")
            lines.append(f"# {_sentence(name, limit, result.count, rates)}")
        if result.map is not None:
            lines.append(f"map = {result.map!r}")
    return _HEAD + "\n".join(lines) + "\n"


def _limit(scores: Sequence[float], rate: float, rates: Rates) -> Limit:
    count = len(scores)
    if rates.sure:
        rank, needed = sure_rank(count, rate, rates.confidence), sure_images_needed(rate, rates.confidence)
    else:
        rank, needed = limit_rank(count, rate), images_needed(rate)
    if rank is None:
        return Limit(rate=rate, value=None, bound=None, more_images=needed - count)
    return Limit(rate=rate, value=scores[rank - 1], bound=rate_bound(count, rank, rates.confidence), more_images=0)


def _misses(bad: Scored | None, review: Limit, reject: Limit, confidence: float) -> Misses | None:
    lowest = review.value if review.value is not None else reject.value
    if bad is None or not bad.count or lowest is None:
        return None
    passed = sum(score <= lowest for score in bad.scores)
    not_rejected = None if reject.value is None else sum(score <= reject.value for score in bad.scores)
    return Misses(
        passed=passed,
        not_rejected=not_rejected,
        count=bad.count,
        passed_interval=binomial_interval(passed, bad.count, confidence),
        not_rejected_interval=None if not_rejected is None else binomial_interval(not_rejected, bad.count, confidence),
    )


def _sentence(name: str, limit: Limit, count: int, rates: Rates) -> str:
    of = f"a rate of {_percent(limit.rate)}"
    if limit.value is None or limit.bound is None:
        sure = f" with {_percent(rates.confidence)} confidence" if rates.sure else ""
        return (
            f"no {name} limit: {limit.more_images} more good images are needed for {of}{sure} "
            f"({count} of {count + limit.more_images})"
        )
    if rates.sure:
        return (
            f"{name} above {limit.value:.6g}: with {_percent(rates.confidence)} confidence at most "
            f"{_percent(limit.rate)} of good parts in the long run"
        )
    return (
        f"{name} above {limit.value:.6g}: on average over draws of {count} calibration images, at most "
        f"{_percent(limit.rate)} of good parts; for this draw, at most {_percent(limit.bound)} in the long run, with "
        f"{_percent(rates.confidence)} confidence"
    )


def _misses_sentence(misses: Misses, confidence: float) -> str:
    def part(events: int, interval: tuple[float, float]) -> str:
        low, high = interval
        return f"{events} of {misses.count} ({_percent(confidence)} interval {_percent(low)} to {_percent(high)})"

    text = f"bad images that pass: {part(misses.passed, misses.passed_interval)}"
    if misses.not_rejected is None or misses.not_rejected_interval is None:
        return text
    return f"{text}; that pass or go to review: {part(misses.not_rejected, misses.not_rejected_interval)}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"
