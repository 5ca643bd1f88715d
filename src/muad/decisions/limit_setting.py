"""From stored scores to limits, and the file that holds them; what they promise is said in `limit_sentences`.

With fewer images than a rate needs, the limit is the largest score: it keeps the coarsest rate that the count carries,
1 / (n + 1), and is called so wherever it is shown. A reject limit is set so only where that rate is at most the review
rate: up to there the user has said that good parts may be taken off the line. One that is coarser never rejects a part,
it stops it for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tomli_w

from muad.decisions.calibration_scores import Pool, Scored
from muad.decisions.conformal import (
    binomial_interval,
    coarsest_rate,
    coarsest_sure_rate,
    limit_rank,
    rate_bound,
    sure_rank,
)
from muad.decisions.limit_sentences import limit_sentence, on_cross_fitting, sentences_of
from muad.decisions.limits import Calibration, CategoryLimits, Rates, read_calibration, read_limits, read_rates
from muad.decisions.object_limits import ObjectLimits, read_object_limits
from muad.errors import DataError
from muad.runs.folder import read_run

_HEAD = """\
# Limits of this run, set by `muad calibrate` from scores of good images it was not trained on (calibration.json).
#
# Edit them freely: every prediction reads this file anew, nothing is trained. A score above `reject` is rejected, one
# above `review` is for a person to look at, everything else passes. A line left out is a limit that is not there.
# `review_rate` and `reject_rate` of a category say what its limits keep: more than wanted where good images are too few
# for the wanted rate. `map` is the middle of the colours of overlays; neither decides anything. Calibrating again keeps
# the rates below unless it is given others, and puts the former file into the folder limits/.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit, or what is missing for it.

    Attributes:
        rate: Part of good images that may be above it, as wanted.
        value: The limit; None with too few images.
        carried: The part that it keeps: the one wanted, or a larger one with too few images for that; None without a
            limit, and where it was set by hand.
        proven: The part it keeps whatever holds of cross-fitting; `carried` where there was none, None where nothing is
            proven.
        bound: What that part is at most in the long run, with the stated confidence; None where nothing is proven.
        more_images: How many more good images the wanted rate needs; 0 where it is kept.
        count: Different good images it rests on.
        assumed: Whether some of them were cross-fitted.
        by_hand: Whether `limits.toml` says something else than calibration gave.
    """

    rate: float
    value: float | None
    carried: float | None
    proven: float | None
    bound: float | None
    more_images: int
    count: int
    assumed: bool = False
    by_hand: bool = False

    @property
    def is_coarser(self) -> bool:
        """Whether it is there and keeps a larger part than wanted."""
        return self.carried is not None and self.more_images > 0


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
        count: Different good images it rests on.
        kept_out: Those of them that the run's own detector scored; the others were cross-fitted.
        folds: Detectors that scored the others.
        agreement: How well both go together, see `Pool`.
        refuted: Whether cross-fitted scores were left out, because they lie too low.
        images: Good images that were scored; those that show the same picture or object count once.
        review: The lower limit.
        reject: The upper one.
        map: The map value that good images exceed anywhere as rarely; None with too few images.
        misses: Of the images given as bad; None if none were given, or if there is no limit.
        rates: What the limits are to keep.
        unit: What is counted: images, or parts that several images show.
    """

    count: int
    kept_out: int
    folds: int
    agreement: float | None
    refuted: bool
    images: int
    review: Limit
    reject: Limit
    map: float | None
    misses: Misses | None
    rates: Rates
    unit: Literal["image", "part"] = "image"

    def sentences(self) -> Iterator[str]:
        """What the limits promise, in plain words."""
        return sentences_of(self)


def results_of(
    calibration: Calibration, categories: Sequence[str], in_force: Mapping[str, CategoryLimits] | None = None
) -> dict[str, CategoryResult]:
    """Limits of every category of the run, those without calibration images included.

    Args:
        calibration: The scores, and the rates that are wanted.
        categories: Of the run.
        in_force: Limits as `limits.toml` has them; where they are others than calibration gives, they count as set by
            hand. None for those that calibration gives.
    """
    results, pools = {}, calibration.pools
    for category in categories:
        own, rates = pools.get(category, Pool()), calibration.rates
        review, reject = _limits(own.scores, own.own_scores, rates)
        lowest, highest = _limits(own.map_peaks, own.own_peaks, rates)
        peak = lowest.value if highest.value is None else highest.value
        if in_force is not None:
            edited = in_force.get(category, CategoryLimits())
            review, reject, peak = _as_edited(review, edited.review), _as_edited(reject, edited.reject), edited.map
        results[category] = CategoryResult(
            count=len(own.scores),
            kept_out=own.kept_out,
            folds=own.folds,
            agreement=own.agreement,
            refuted=own.refuted,
            images=own.images,
            review=review,
            reject=reject,
            map=peak,
            misses=_misses(calibration.bad.get(category), review, reject, rates.confidence),
            rates=rates,
        )
    return results


def object_results_of(calibration: Calibration, in_force: ObjectLimits | None = None) -> dict[str, CategoryResult]:
    """Limits of parts, of every category whose parts were scored; counted in parts.

    Args:
        calibration: The scores, and the rates that are wanted.
        in_force: Limits as `limits.toml` has them, and which score counts; None for those that calibration gives.
    """
    rules = calibration.object_rules if in_force is None else in_force.rules
    good = {name: own.scores[rules.score] for name, own in calibration.objects.items()}
    of_parts = replace(calibration, good=good, bad={}, cross_fit={})
    results = results_of(of_parts, sorted(good), None if in_force is None else in_force.categories)
    return {name: replace(result, map=None, unit="part") for name, result in results.items()}


def object_limits_in_force(run: Path) -> dict[str, CategoryResult]:
    """The limits of parts as `limits.toml` has them now; empty where there are none.

    Raises:
        ConfigError: `limits.toml` cannot be used.
        CheckpointError: `calibration.json` cannot be read.
    """
    limits, calibration = read_object_limits(run, ()), read_calibration(run)
    return {} if limits is None or calibration is None else object_results_of(calibration, limits)


def limits_in_force(run: Path) -> dict[str, CategoryResult]:
    """The limits of a run as `limits.toml` has them now, and what they promise; nothing is written.

    Raises:
        DataError: It has none.
        ConfigError: `limits.toml` cannot be used.
        CheckpointError: No run there, or `calibration.json` cannot be read.
    """
    categories = tuple(read_run(run).get("categories", ()))
    limits, calibration = read_limits(run, categories), read_calibration(run)
    if limits is None:
        raise DataError(f"run must have limits, got {run} without any. Set them: muad calibrate {run} GOOD_IMAGES")
    if calibration is None:
        calibration = Calibration(muad="", weights="", limits_digest="", rates=read_rates(run), good={})
    return results_of(calibration, categories or tuple(limits.categories), limits.categories)


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
        if (cross := calibration.cross_fit.get(category)) is not None and result.folds:
            came += f"{'; ' if came else ': '}{cross.source}, scored {cross.created}"
        lines += ["", tomli_w.dumps({"categories": {category: {}}}).strip(), f"# {_counted(result)} good images{came}"]
        lines += [f"# {sentence}" for sentence in on_cross_fitting(result)]
        lines += _limit_lines(result)
        if result.map is not None:
            lines.append(f"map = {result.map!r}")
    return _HEAD + "\n".join((*lines, *_object_lines(calibration))) + "\n"


def _object_lines(calibration: Calibration) -> Iterator[str]:
    """The table `[objects]`, where parts were scored."""
    if not calibration.objects:
        return
    rules = calibration.object_rules
    yield from ("", "# Parts that several photographs show: one score and one verdict each.", "[objects]")
    yield tomli_w.dumps({"grouping": rules.grouping}).strip() + "  # folder, a pattern of names, or manifest"
    yield f'score = "{rules.score}"  # mean_top: of the largest 1 % of all map values; max: of the views'
    for name, result in object_results_of(calibration).items():
        own = calibration.objects[name]
        scored = own.scores[rules.score]
        yield from ("", tomli_w.dumps({"objects": {"categories": {name: {}}}}).strip())
        yield f"# {_counted(result)} good parts: {scored.source}, scored {scored.created}"
        yield f"views = [{', '.join(tomli_w.dumps({'v': view}).strip()[4:] for view in own.views)}]"
        yield from _limit_lines(result)


def _limit_lines(result: CategoryResult) -> Iterator[str]:
    """Both limits, what they keep, and what they promise."""
    for name, limit in (("review", result.review), ("reject", result.reject)):
        if limit.value is not None:
            yield f"{name} = {limit.value!r}"
        if limit.carried is not None:
            coarser = f"  # coarser than the {limit.rate!r} wanted" if limit.is_coarser else ""
            yield f"{name}_rate = {limit.carried!r}{coarser}"
        yield f"# {limit_sentence(name, limit, result)}"


def _counted(result: CategoryResult) -> str:
    return str(result.count) if result.images == result.count else f"{result.images} (counted as {result.count})"


def _limits(scores: Sequence[float], own: Sequence[float], rates: Rates) -> tuple[Limit, Limit]:
    """The review and the reject limit; no reject limit where it would stop more than may be taken off the line."""
    review, reject = _limit(scores, own, rates.review_rate, rates), _limit(scores, own, rates.false_alarm_rate, rates)
    if reject.is_coarser and reject.count < rates.images_for(rates.review_rate):
        return review, replace(reject, value=None, carried=None, proven=None, bound=None)
    if review.value is not None and reject.value is not None:
        # Of unlike images the rarer limit may be the lower one; to raise it keeps both promises.
        reject = replace(reject, value=max(review.value, reject.value))
    return review, reject


def _limit(scores: Sequence[float], own: Sequence[float], rate: float, rates: Rates) -> Limit:
    """From the images kept out alone where they carry the rate, else from the pool.

    Args:
        scores: The pool, rising.
        own: Those of it that the run's own detector gave, rising.
        rate: The one that is wanted.
        rates: How it is to be kept.
    """
    needed = rates.images_for(rate)
    if len(own) >= needed:
        scores = own
    count, assumed = len(scores), len(scores) > len(own)
    if not count:
        return Limit(rate=rate, value=None, carried=None, proven=None, bound=None, more_images=needed, count=0)
    rank = sure_rank(count, rate, rates.confidence) if rates.sure else limit_rank(count, rate)
    coarsest = coarsest_sure_rate(count, rates.confidence) if rates.sure else coarsest_rate(count)
    carried = coarsest if rank is None else rate
    place = 1 if rank is None else count + 1 - rank  # from the largest
    bound = proven = None
    if place <= len(own):
        bound = rate_bound(len(own), len(own) + 1 - place, rates.confidence)
        proven = bound if rates.sure else place / (len(own) + 1)
    return Limit(
        rate=rate,
        value=scores[-place],
        carried=carried,
        proven=proven if assumed else carried,
        bound=bound,
        more_images=needed - count if rank is None else 0,
        count=count,
        assumed=assumed,
    )


def _as_edited(limit: Limit, value: float | None) -> Limit:
    """The limit as `limits.toml` has it: nothing is promised of a number that calibration did not give."""
    return (
        limit
        if value == limit.value
        else replace(limit, value=value, carried=None, proven=None, bound=None, assumed=False, by_hand=True)
    )


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
