"""What limits promise, in plain words, and which there are; their values are set in `limit_setting`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muad.decisions.limit_setting import CategoryResult, Limit, Misses

NOT_COVERED = (
    "The promise is for good parts photographed like the calibration images: same light, camera, lens, position, "
    "supplier. After a change, calibrate again on new photographs. It says nothing of how many defects are found."
)


def sentences_of(result: CategoryResult) -> Iterator[str]:
    """What the limits promise, in plain words."""
    if result.images > result.count and result.unit == "part":
        yield f"{result.images} good parts count as {result.count}: of parts that look the same only the largest counts"
    elif result.images > result.count:
        yield (
            f"{result.images} good images count as {result.count}: of near-duplicates, and of images of one object, "
            "only the largest score counts"
        )
    yield from on_cross_fitting(result)
    for name, limit in (("review", result.review), ("reject", result.reject)):
        yield limit_sentence(name, limit, result)
    if result.misses is not None:
        yield _misses_sentence(result.misses, result.rates.confidence)


def on_cross_fitting(result: CategoryResult) -> Iterator[str]:
    """Who scored the images, and what is assumed of it."""
    if result.refuted:
        yield (
            "cross-fitted scores are not used: they lie lower than those of the images kept out of training "
            f"(p = {result.agreement:.2g}), so limits from them would stop more good parts than they say"
        )
    if not result.folds:
        return
    said = (
        f"cross-fitted: {result.count - result.kept_out} of {result.count} good images were scored by {result.folds} "
        "detectors that had not seen them; limits that count them assume that those detectors score new good parts "
        "as this one does"
    )
    if result.agreement is None:
        yield f"{said}, which no image was kept out to test"
    else:
        yield (
            f"{said}; the {result.kept_out} images this one had not seen do not speak against it "
            f"(p = {result.agreement:.2g})"
        )


def summary(
    results: Mapping[str, CategoryResult], path: Path, of_parts: Mapping[str, CategoryResult] | None = None
) -> Iterator[str]:
    """A few lines on which limits there are, which are coarser than wanted, and what the others need.

    Args:
        results: Limits of photographs, by category.
        path: Where they are.
        of_parts: Limits of parts that several photographs show.
    """
    review = [name for name, result in results.items() if result.review.value is not None]
    reject = [name for name, result in results.items() if result.reject.value is not None]
    yield (
        f"limits, and what they promise, are in {path}: review for {', '.join(review) or 'no category'}, reject for "
        f"{', '.join(reject) or 'no category'}"
    )
    for name, wanted in (("review", "review_rate"), ("reject", "false_alarm_rate")):
        limits = {category: getattr(result, name) for category, result in results.items()}
        coarser = [
            f"{category} {_percent(limit.carried or 1)} ({limit.more_images} more)"
            for category, limit in limits.items()
            if limit.is_coarser
        ]
        missing = [
            f"{category} {limit.more_images}"
            for category, limit in limits.items()
            if limit.value is None and not limit.by_hand
        ]
        rate = _percent(getattr(next(iter(results.values())).rates, wanted)) if results else ""
        if coarser:
            yield f"{name} limits coarser than {rate} (good images that are missing for it): {', '.join(coarser)}"
        if missing:
            yield f"good images a {name} limit still needs at a rate of {rate}: {', '.join(missing)}"
    for name, result in (of_parts or {}).items():
        both = (("review", result.review.carried), ("reject", result.reject.carried))
        said = ", ".join(f"{kind} at {_percent(carried)}" for kind, carried in both if carried is not None)
        yield f"limits of whole parts of {name}, from {result.count} good ones: {said or 'none, there are too few'}"


def limit_sentence(name: str, limit: Limit, result: CategoryResult) -> str:
    """What one limit promises, or what is missing for it."""
    count, rates, units = limit.count, result.rates, f"{result.unit}s"
    if limit.by_hand:
        if limit.value is None:
            return f"no {name} limit: its line was taken out of limits.toml by hand"
        return f"{name} above {limit.value:.6g}: set by hand, so nothing is promised of it"
    sure = f" with {_percent(rates.confidence)} confidence" if rates.sure else ""
    if limit.carried is None or limit.value is None:
        needed = f"{limit.more_images} more good {units} are needed for a rate of {_percent(limit.rate)}{sure}"
        enough = rates.images_for(rates.review_rate) - count
        if not count or name == "review" or limit.more_images <= enough:
            return f"no {name} limit: {needed} ({count} of {count + limit.more_images})"
        return (
            f"no {name} limit: from {count} good {units} it would reject more than the {_percent(rates.review_rate)} "
            f"that may be taken off the line, so what is above the review limit is looked at; {enough} more good "
            f"{units} give one, and {needed}"
        )
    instead = ""
    if limit.is_coarser:
        instead = f" (the coarsest limit, {_percent(limit.rate)} is wanted and needs {limit.more_images} more {units})"
    above = f"{name} above {limit.value:.6g}:"
    long_run = ""
    if limit.bound is not None:
        long_run = f"at most {_percent(limit.bound)} in the long run, with {_percent(rates.confidence)} confidence"
    if limit.assumed:
        proven = "nothing is proven without that assumption"
        if limit.proven is not None:
            proven = f"without that assumption at most {_percent(limit.proven)}, for this draw {long_run}"
        return f"{above}{sure} at most {_percent(limit.carried)} of good parts{instead}; {proven}"
    if rates.sure:
        return f"{above}{sure} at most {_percent(limit.carried)} of good parts in the long run{instead}"
    return (
        f"{above} on average over draws of {count} calibration {units}, at most {_percent(limit.carried)} of good "
        f"parts{instead}; for this draw, {long_run}"
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
