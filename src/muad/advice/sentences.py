"""What to do next with a run, in a few sentences, from what is known of it: the most pressing first.

`advise` is a function of plain facts; `run_standing` gathers them from a run folder.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muad.decisions.conformal import coarsest_rate, coarsest_sure_rate, images_needed
from muad.decisions.limits import Rates
from muad.images.tiling import magnification, tiles_for
from muad.wording import expected_time

MOST_SENTENCES = 5
LEAST_PATCHES = 1.0
"""Defects should cover at least this many patches of the encoder."""
_EXAMPLE_RATES = (0.05, 0.005)  # where no rate was asked for yet
_BETWEEN = 0.01  # a rate worth naming on the way to the wanted one
_SEPARATES_BADLY, _SEPARATES = 0.9, 0.99  # image AUROC
_LEAST_TESTED = 5  # good and bad photographs each, for a word on how a product separates
_STILL_FALLING = 0.03  # of the loss, from the last fifth but one to the last
_LEAST_LINES = 10  # of a loss curve
_MUCH_LONGER = 4
_NAMED = 4
_FOLDS = 5
# Encoders that those of DINOv2 are better than, alone and side by side.
_SMALL = {"muad-tiny", "random-vit-tiny", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductStanding:
    """What is known of one product of a run.

    Attributes:
        name: Its name.
        trained: Good photographs it was trained on.
        calibrated: Good photographs its limits rest on.
        cross_fitted: Whether those it was trained on are among them.
        has_limits: Whether it has any.
        good: Good photographs it was tested on.
        bad: Defective ones.
        auroc: How well they are told apart; None if that was not tested.
        small_patches: Size that a fifth of its defects, or of what was found, stays below, in patches of the encoder;
            None if not known.
        photo_px: Height and width of its photographs; None if not known.
    """

    name: str
    trained: int = 0
    calibrated: int = 0
    cross_fitted: bool = False
    has_limits: bool = False
    good: int = 0
    bad: int = 0
    auroc: float | None = None
    small_patches: float | None = None
    photo_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStanding:
    """What is known of a run.

    Attributes:
        run: Its folder.
        products: Its products.
        data: Where its training data are; None if not known.
        rates: What its limits are to keep; None if it was never calibrated.
        steps: Length of the training; 0 where there was none, as of imported weights.
        losses: The loss from line to line of each training, the first step first.
        seconds_per_step: What a step took; None if not known.
        per_product: One detector each, so that every product has all the steps.
        authors_steps: Steps the authors of the method spend on a product.
        encoder: Name of the frozen encoder; None of a detector without one.
        view_px: Height and width of what the detector sees.
        tiles: Rows and columns photographs are cut into.
        tile_overlap: Share of a tile that its neighbour has too.
        predicted: Photographs just predicted.
        unknown: Those among them that look like no product of the run.
    """

    run: Path
    products: tuple[ProductStanding, ...]
    data: str | None = None
    rates: Rates | None = None
    steps: int = 0
    losses: tuple[tuple[float, ...], ...] = ()
    seconds_per_step: float | None = None
    per_product: bool = False
    authors_steps: float = 0.0
    encoder: str | None = None
    view_px: tuple[int, int] = (0, 0)
    tiles: tuple[int, int] = (1, 1)
    tile_overlap: float = 0.2
    predicted: int = 0
    unknown: int = 0


def advise(standing: RunStanding) -> tuple[str, ...]:
    """At most MOST_SENTENCES sentences on what to do next, the most pressing first; none if nothing presses."""
    found = (
        _on_unknown(standing),
        _on_missing_limits(standing),
        _on_separation(standing),
        _on_tiles(standing),
        _on_length(standing),
        _on_cross_fitting(standing),
        _on_rates(standing),
        _on_tests(standing),
    )
    return tuple(sentence for sentence in found if sentence)[:MOST_SENTENCES]


def _on_unknown(standing: RunStanding) -> str:
    if not standing.unknown:
        return ""
    return (
        f"{standing.unknown} of {standing.predicted} photographs look like no product of this run. If it is a new "
        "product, train again with good photographs of it; if a known one, light, camera or position have changed: "
        "restore them, or train again with photographs taken as they are now."
    )


def _on_missing_limits(standing: RunStanding) -> str:
    without = [product for product in standing.products if not product.has_limits]
    if not without:
        return ""
    rates = _EXAMPLE_RATES if standing.rates is None else (standing.rates.review_rate, standing.rates.false_alarm_rate)
    needs = ", ".join(_need(without, rate, standing.rates) for rate in dict.fromkeys(rates))
    return (
        f"No limits for {_names(without)}, so nothing is passed or rejected there. Collect good photographs that were "
        f"not trained on, in folders named like the product: {needs}. {_calibrate(standing)}"
    )


def _on_separation(standing: RunStanding) -> str:
    tested = [product for product in standing.products if _is_tested(product)]
    bad = sorted((p for p in tested if (p.auroc or 0.0) < _SEPARATES_BADLY), key=lambda product: product.auroc or 0.0)
    if not bad:
        return ""
    which = _list(f"{product.name} (image AUROC {product.auroc:.2f})" for product in bad)
    other = (
        f", or another encoder than {standing.encoder} (--encoder dinov2-reg-base)"
        if standing.encoder is not None and set(standing.encoder.split(" + ")) <= _SMALL
        else ""
    )
    settled = any(len(curve) >= _LEAST_LINES for curve in standing.losses) and still_falling(standing.losses) is None
    longer = "; longer training hardly helps, the loss no longer falls" if settled else ""
    return (
        f"Good and defective parts of {which} are badly told apart. Look at their hardest images in the report: where "
        f"a person sees the defect, more good photographs taken more alike help{other}{longer}."
    )


def _on_tiles(standing: RunStanding) -> str:
    small = [p for p in standing.products if p.small_patches is not None and 0 < p.small_patches < LEAST_PATCHES]
    if not small:
        return ""
    worst = min(small, key=lambda product: product.small_patches or 0.0)
    sizes = _list(f"{product.name} ({product.small_patches:.2g} patches)" for product in small)
    text = f"The smaller defects of {sizes} are below what the detector tells apart"
    tiles = None
    if worst.photo_px is not None and worst.small_patches is not None:
        now = math.prod(magnification(count, standing.tile_overlap) for count in standing.tiles)
        tiles = tiles_for(
            worst.photo_px, standing.view_px, now * LEAST_PATCHES / worst.small_patches, standing.tile_overlap
        )
    if tiles is None or math.prod(tiles) <= math.prod(standing.tiles):
        return f"{text}, and these photographs hold no more detail: photograph closer, or with more pixels."
    return (
        f"{text}: cut the photographs into tiles, which take {math.prod(tiles)} times as long. "
        f"{_train(standing)} --set images.tiles=[{tiles[0]},{tiles[1]}]"
    )


def _on_length(standing: RunStanding) -> str:
    drop = still_falling(standing.losses)
    known = [product.auroc for product in standing.products if _is_tested(product) and product.auroc is not None]
    shared = 1 if standing.per_product else max(1, len(standing.products))
    authors = standing.authors_steps * shared
    good_enough = len(known) == len(standing.products) and min(known, default=0.0) >= _SEPARATES
    if drop is None or not standing.steps or standing.steps >= authors or good_enough:
        return ""
    steps = min(_MUCH_LONGER * standing.steps, math.ceil(authors / 100) * 100)
    seconds = _seconds(standing, steps)
    time = f" take about {expected_time(seconds)} here" if seconds else ""
    return (
        f"Train longer: the loss still fell by {100 * drop:.0f} % over the last fifth of {standing.steps} steps, "
        f"{standing.steps / shared:.0f} for each product where the authors take {standing.authors_steps:.0f}. "
        f"{steps} steps{time}: {_train(standing)} --steps {steps}"
    )


def _on_cross_fitting(standing: RunStanding) -> str:
    """What the photographs that were trained on would add to the limits."""
    rates = standing.rates
    if rates is None or not standing.steps:
        return ""
    short = [
        product
        for product in standing.products
        if product.calibrated < rates.images_for(rates.false_alarm_rate)
        and not product.cross_fitted
        and product.trained >= _FOLDS
    ]
    if not short:
        return ""
    then = _rates(
        max(rates.false_alarm_rate, _carried(product.calibrated + product.trained, rates)) for product in short
    )
    seconds = _FOLDS * _seconds(standing, standing.steps)
    time = f", about {expected_time(seconds)} here" if seconds else ""
    return (
        f"Without new photographs: let those that {_names(short)} {_were(short)} trained on count for the limits too, "
        f"which then keep false alarms to {then}; it trains {_FOLDS} more "
        f"detectors{time}. muad calibrate {shlex.quote(str(standing.run))} --cross-fit {_FOLDS}"
    )


def _seconds(standing: RunStanding, steps: int) -> float:
    """What trainings of so many steps take here, of all products together; 0 if not known."""
    return (standing.seconds_per_step or 0.0) * steps * (len(standing.products) if standing.per_product else 1)


def _on_rates(standing: RunStanding) -> str:
    """How far the present photographs carry, and what the wanted rate needs."""
    if standing.rates is None:
        return ""
    wanted, rates = standing.rates.false_alarm_rate, standing.rates
    short = [p for p in standing.products if p.has_limits and 0 < p.calibrated < rates.images_for(wanted)]
    if not short:
        return ""
    carried = [_carried(product.calibrated, rates) for product in short]
    on_the_way = (_BETWEEN,) if wanted < _BETWEEN < min(carried) else ()
    needs = ", ".join(_need(short, rate, rates) for rate in (*on_the_way, wanted))
    least = _rates(carried)
    return (
        f"The {_range(product.calibrated for product in short)} good photographs of {_names(short)} keep false alarms "
        f"to {least} at best. Collect {needs}. {_calibrate(standing)}"
    )


def _on_tests(standing: RunStanding) -> str:
    untested = [product for product in standing.products if not product.bad]
    if not untested:
        return ""
    return (
        f"No defective parts of {_names(untested)} were tested, so how many are found is not known: put some into "
        f"PRODUCT/bad/. muad evaluate {shlex.quote(str(standing.run))} DATA"
    )


def still_falling(curves: Iterable[Sequence[float]]) -> float | None:
    """By which part the loss fell from the last fifth but one to the last, over all trainings; None if it did not.

    A fall counts where it is more than noise: twice its standard error, and 3 %.

    Args:
        curves: Losses of each training, at equal distances.
    """
    before, last = [], []
    for curve in curves:
        if len(curve) < _LEAST_LINES:
            return None
        fifth = max(2, len(curve) // 5)
        before += [value / curve[-1] for value in curve[-2 * fifth : -fifth]] if curve[-1] > 0 else []
        last += [value / curve[-1] for value in curve[-fifth:]] if curve[-1] > 0 else []
    if not last:
        return None
    error = math.sqrt((np.var(before, ddof=1) + np.var(last, ddof=1)) / len(last))
    fall = float(np.mean(before) - np.mean(last))
    part = fall / float(np.mean(before))
    return part if fall > 2 * error and part >= _STILL_FALLING else None


def _need(products: Sequence[ProductStanding], rate: float, rates: Rates | None) -> str:
    """Good photographs it takes to keep a rate, with what products still lack of it."""
    needed = images_needed(rate) if rates is None else rates.images_for(rate)
    known = any(product.calibrated for product in products)
    more = f" ({_range(max(0, needed - product.calibrated) for product in products)} more)" if known else ""
    return f"{needed} of each{more} for {_percent(rate)}"


def _carried(count: int, rates: Rates) -> float:
    """The least rate so many good photographs can keep."""
    return coarsest_sure_rate(count, rates.confidence) if rates.sure else coarsest_rate(count)


def _rates(values: Iterable[float]) -> str:
    """A rate, or from which to which they are."""
    low, *_, high = sorted(values) * 2
    return _percent(low) if _percent(low) == _percent(high) else f"{_percent(low)} to {_percent(high)}"


def _is_tested(product: ProductStanding) -> bool:
    return product.auroc is not None and min(product.good, product.bad) >= _LEAST_TESTED


def _names(products: Sequence[ProductStanding]) -> str:
    return _list(product.name for product in products)


def _list(entries: Iterable[object]) -> str:
    """A few of them, and how many more there are."""
    texts = [str(entry) for entry in entries]
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def _were(products: Sequence[ProductStanding]) -> str:
    return "was" if len(products) == 1 else "were"


def _range(values: Iterable[int]) -> str:
    """A number, or from which to which they are."""
    known = sorted(values)
    return str(known[0]) if known[0] == known[-1] else f"{known[0]} to {known[-1]}"


def _train(standing: RunStanding) -> str:
    """The command that trains such a run again."""
    data = "DATA" if standing.data is None else shlex.quote(standing.data)
    return f"muad train {data} --out NEW_RUN --recipe {shlex.quote(str(standing.run / 'config.toml'))}"


def _calibrate(standing: RunStanding) -> str:
    return f"muad calibrate {shlex.quote(str(standing.run))} GOOD"


def _percent(rate: float) -> str:
    return f"{100 * rate:.2g} %"
