"""Proof that what was there before did not move: calibration images of the old products, scored before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from muad.calibration.image_scoring import ImageFigures, count_once, score_images
from muad.decisions.limits import CategoryLimits, Limits
from muad.runs.history import Movement, VerdictChange
from muad.runs.images import file_digest
from muad.runtime.predictor import Predictor

if TYPE_CHECKING:
    from muad.decisions.calibration_scores import Scored
    from muad.runs.images import RunImages

Notice = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """Calibration images of products, those that lie where they were and as they were.

    Attributes:
        images: By product.
        missing: By product, how many do not.
    """

    images: Mapping[str, Sequence[Path]]
    missing: Mapping[str, int]


def witnesses(known: RunImages, products: Sequence[str]) -> Witnesses:
    """The images that show whether products moved."""
    images: dict[str, list[Path]] = {}
    missing: dict[str, int] = {}
    for name in products:
        own = known.calibration.get(name, {})
        images[name] = [known.base / one for one, digest in own.items() if file_digest(known.base / one) == digest]
        missing[name] = len(own) - len(images[name])
    return Witnesses(images=images, missing=missing)


def figures_of(
    run: Path,
    images: Mapping[str, Sequence[Path]],
    what: str,
    *,
    device: str,
    encoder_weights: str | Path | None,
    progress: Progress,
    note: Notice,
) -> dict[str, ImageFigures]:
    """Scores and map peaks of images by product, as a run predicts them.

    Args:
        run: Run folder.
        images: By product.
        what: Is being done, for the progress.
        device: Where to compute.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        progress: Called with images scored and in all.
        note: Called with sentences the user should see.
    """
    if not any(images.values()):
        return {name: {} for name in images}
    predictor = Predictor(run, device=device, encoder_weights=encoder_weights)
    return score_images(predictor, images, _BATCH, lambda done, total: progress(what, done, total, None), note)


def movements(
    before: Mapping[str, ImageFigures],
    after: Mapping[str, ImageFigures],
    missing: Mapping[str, int],
    limits: Limits | None,
) -> dict[str, Movement]:
    """How far the scores of each product moved, and which verdicts changed; nothing is said of limits yet.

    Args:
        before: By product and image.
        after: The same images.
        missing: By product, images that could not be compared.
        limits: In force before.
    """
    found = {}
    for name, own in before.items():
        later = after.get(name, {})
        pairs = {path: (own[path][0], later[path][0]) for path in own if path in later}
        differences = [new - old for old, new in pairs.values()]
        largest = max(map(abs, differences), default=None)
        way = _way([old for old, _ in pairs.values()], None if limits is None else limits.categories.get(name))
        changes = []
        for path, scores in pairs.items():
            verdicts = [None if limits is None else limits.verdict(name, score) for score in scores]
            if verdicts[0] != verdicts[1]:
                changes.append(VerdictChange(image=str(path), before=str(verdicts[0]), after=str(verdicts[1])))
        found[name] = Movement(
            images=len(pairs),
            missing=missing.get(name, 0) + len(own) - len(pairs),
            lower=sum(difference < 0 for difference in differences),
            higher=sum(difference > 0 for difference in differences),
            largest=largest,
            part=None if largest is None or way is None else largest / way,
            changes=tuple(changes),
        )
    return found


def rescored(
    figures: Mapping[str, ImageFigures], products: Sequence[str], images: RunImages, source: str, note: Notice
) -> dict[str, Scored]:
    """Scores of some products as limits are set from, those that show the same counted once; only where there are any.

    Args:
        figures: By product and image.
        products: Which.
        images: Of the run, with what shows the same; paths are whole.
        source: Where the images are, for people.
        note: Called with sentences the user should see.
    """
    chosen = {name: figures[name] for name in products if figures.get(name)}
    alike = {name: [[Path(one) for one in group] for group in own] for name, own in (images.alike or {}).items()}
    return count_once(chosen, alike, Path(source), f"calibration share of {source}", note=note)


def is_moved(movement: Movement, bound: float) -> bool:
    """Whether scores moved by more than a part of the way to the limit; where there is no such way, at all."""
    if movement.part is None:
        return bool(movement.largest)
    return movement.part > bound


def _way(scores: Sequence[float], limits: CategoryLimits | None) -> float | None:
    """From the usual score of good images to the farthest limit; without one, to their largest score."""
    if not scores:
        return None
    last = None if limits is None else limits.review if limits.reject is None else limits.reject
    way = (max(scores) if last is None else last) - median(scores)
    return way if way > 0 else None
