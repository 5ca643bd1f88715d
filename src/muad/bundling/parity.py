"""A bundle's networks held against torch in float32, on photographs of the run, before anything is written.

Differences are measured by the way from a category's usual score to its limit, and from the usual value of its maps to
the map limit (`muad.acceleration.deviation`); in float32 they may be a thousandth of it for scores and a hundredth for
maps. Every verdict must be the same but where the score is the limit, to that thousandth: a limit is the score of a
photograph that is compared here. Lower precisions are held to the limits they have everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muad.acceleration.deviation import MAX_MAP_PART, MAX_SCORE_PART, Compared, Scale, compared, judge, ways
from muad.bundles.manifest import GoldenLimits
from muad.bundling.forms import Form
from muad.errors import ConfigError, DataError
from muad.runtime.views import ImageMaps, ImageViews, Scorer, ViewScores, images_at_once, predict_images, view_image

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.decisions.limits import Limits
    from muad.images.preprocessing import Preprocessing

MAX_FP32_SCORE_PART = 0.001
"""Largest difference of a score in float32, as a part of the way from the usual score to the limit."""
MAX_FP32_MAP_PART = 0.01
"""The same of maps; distances near nothing are roots of rounding errors in PatchCore."""
_BATCH = 8


class ParityError(ConfigError):
    """A network is further from torch than it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far a network outside of torch is from it.

    Attributes:
        form: Of the network.
        images: Photographs compared.
        score_deviation: Largest difference of a score.
        map_deviation: Largest difference of a map.
        score_part: The former, as a part of the way from usual scores to the limit.
        map_part: The latter, likewise.
        verdicts: Photographs that have one.
        changed: Those of them whose verdict is another.
    """

    form: Form
    images: int
    score_deviation: float
    map_deviation: float
    score_part: float
    map_part: float
    verdicts: int
    changed: int

    def __str__(self) -> str:
        return (
            f"{self.form}: scores within {self.score_deviation:.1e} ({self.score_part:.1e} of the way to the "
            f"limit) and maps within {self.map_deviation:.1e} ({self.map_part:.1e}) of torch on {self.images} images, "
            f"{self.changed} of {self.verdicts} verdicts changed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What torch says of a photograph in float32.

    Attributes:
        category: What it shows; None where that is not known.
        views: As preprocessing made them.
        found: Maps and score.
        view_scores: Of each view.
    """

    category: str | None
    views: ImageViews
    found: ImageMaps
    view_scores: Float[np.ndarray, " v"]

    @property
    def golden(self) -> dict[str, np.ndarray]:
        """What a golden sample holds."""
        return {
            "pixels": np.ascontiguousarray(self.views.views),
            "maps": np.ascontiguousarray(self.found.maps, np.float32),
            "scores": np.asarray(self.view_scores, np.float32),
        }


Files = Sequence[tuple[str | None, Path]]


def expected_of(torch_scorer: Scorer, files: Files) -> Iterator[list[Expected]]:
    """What torch says of photographs, group by group.

    Args:
        torch_scorer: The detector in float32.
        files: Photographs with what they show.

    Raises:
        DataError: One cannot be read.
    """
    preprocessing = torch_scorer.preprocessing
    at_once = images_at_once(preprocessing, _BATCH)
    for begin in range(0, len(files), at_once):
        group = [(category, _views(preprocessing, path, category)) for category, path in files[begin : begin + at_once]]
        kept = _Remembering(torch_scorer)
        found = predict_images(kept, [views for _, views in group], _BATCH)
        scores, place = np.concatenate(kept.scores), 0
        made = []
        for (category, views), maps in zip(group, found, strict=True):
            own = scores[place : place + len(views.views)]
            place += len(views.views)
            made.append(Expected(category=category, views=views, found=maps, view_scores=own))
        yield made


def compare(scorer: Scorer, group: Sequence[Expected]) -> list[Compared]:
    """The same photographs by a network outside of torch."""
    found = predict_images(scorer, [image.views for image in group], _BATCH)
    return [
        compared(image.category, (image.found.score, image.found.maps), (own.score, own.maps))
        for image, own in zip(group, found, strict=True)
    ]


def parity_of(
    form: Form, images: Sequence[Compared], scales: Mapping[str | None, Scale], limits: Limits | None
) -> Parity:
    """What was found, in figures.

    Args:
        form: Of the network.
        images: All that were compared.
        scales: What differences are measured by, by category.
        limits: Of the run; None without any, and then there are no verdicts.
    """
    judgement = judge(images, scales)
    both = [] if limits is None else [
        (limits.verdict(image.category, image.expected), limits.verdict(image.category, image.score))
        for image in images
    ]  # fmt: skip
    both = [pair for pair in both if pair[0] is not None]
    return Parity(
        form=form,
        images=len(images),
        score_deviation=max(abs(image.score - image.expected) for image in images),
        map_deviation=judgement.map_deviation,
        score_part=judgement.score_part,
        map_part=judgement.map_part,
        verdicts=len(both),
        changed=sum(before != after for before, after in both),
    )


def require_parity(found: Parity, images: Sequence[Compared], scales: Mapping[str | None, Scale]) -> None:
    """Refuse a network that is too far from torch.

    Raises:
        ParityError: It is, with how far.
    """
    if found.form.precision == "fp32":
        most_score, most_map = MAX_FP32_SCORE_PART, MAX_FP32_MAP_PART
        same = judge(images, scales, tie_part=most_score).changed == 0
        near = found.score_part <= most_score and found.map_part <= most_map and same
        remedy = "Predict from the run folder instead, and report this with its config.toml."
    else:
        most_score, most_map = MAX_SCORE_PART, MAX_MAP_PART
        near, remedy = judge(images, scales).accepted, "Leave that precision out."
    if not near:
        raise ParityError(
            f"exported network must keep scores within {most_score:.1%} and maps within {most_map:.0%} of the way to "
            f"their limit, and every verdict, got {found}. {remedy}"
        )


def golden_limits(images: Sequence[Compared], scales: Mapping[str | None, Scale]) -> GoldenLimits:
    """How far a runtime may be off anywhere, in plain differences: what export allows of the narrowest category."""
    found = ways(images, scales).values()
    return GoldenLimits(
        map=MAX_FP32_MAP_PART * min(maps for _, maps in found),
        score=MAX_FP32_SCORE_PART * min(scores for scores, _ in found),
    )


def lower_limits(images: Sequence[Compared]) -> GoldenLimits:
    """The same of a lower precision: twice what it was off here, since another processor rounds otherwise."""
    return GoldenLimits(
        map=2 * max(image.map_deviation for image in images),
        score=2 * max(abs(image.score - image.expected) for image in images),
    )


class _Remembering:
    """A scorer whose views' scores are kept as well."""

    def __init__(self, scorer: Scorer) -> None:
        self.preprocessing = scorer.preprocessing
        self.scores: list[np.ndarray] = []
        self._scorer = scorer
        self.score_maps, self.expand_grids = scorer.score_maps, scorer.expand_grids

    def score_views(self, views: UInt8[np.ndarray, "b H W c"], categories: Sequence[str | None]) -> ViewScores:
        found = self._scorer.score_views(views, categories)
        self.scores.append(found.scores)
        return found


def _views(preprocessing: Preprocessing, path: Path, category: str | None) -> ImageViews:
    try:
        image: UInt8[np.ndarray, "H W 3"] = preprocessing.read(path)
    except DataError as error:
        raise DataError(f"photographs of the run must be readable to measure the bundle by them: {error}") from None
    return view_image(preprocessing, image, f"image {path}", category)
