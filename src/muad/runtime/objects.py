"""What a run says of a part that several photographs show: one score, one verdict, every view beside it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from muad.decisions.limits import CategoryLimits
from muad.decisions.object_scores import USUAL_SCORE, ObjectScore, object_scores
from muad.errors import ConfigError
from muad.recognition import UNKNOWN_PRODUCT
from muad.runtime.looking import Photograph

if TYPE_CHECKING:
    from muad.decisions.object_limits import ObjectLimits, ObjectVerdict
    from muad.runtime.looking import Channels, ImageLike
    from muad.runtime.prediction import ImagePrediction
    from muad.runtime.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedObject:
    """The photographs of one part.

    Attributes:
        name: What it is called; None where it has no name.
        views: Name of the view and its photograph, in the order they are judged in; at least one.
        category: What it is; None where that is not known.
    """

    name: str | None = None
    views: Sequence[tuple[str, ImageLike | Photograph]]
    category: str | None = None

    def __post_init__(self) -> None:
        if not self.views:
            raise ConfigError(f"object must have at least one view, got none of {self.name or 'an object'}.")


@dataclass(frozen=True, kw_only=True)
class ObjectPrediction:
    """What a run says of one part.

    Attributes:
        name: What it is called, or None.
        category: What it is: the one given, or the one that all views which say something agree on.
        views: Name of the view and its prediction, by the limits of single photographs, in the order given.
        score: The one that counts; of an incomplete part what it is at least. None if no view could be read.
        scores: Of all views by `mean_top` and by `max`.
        verdict: By the limits of parts: `pass`, `review`, `reject`, or `incomplete` where a view is missing that could
            still decide; `unknown product` where no category was given and none fits all views. None without limits of
            parts. Never `pass` where a view has reasons.
        p_value: How usual the score is for a good part, in (0, 1]; None of an incomplete one and without calibration.
        limits: Those it was judged by; None without.
        missing: Views that it must have and that are not there or cannot be read.
        unexpected: Views that it has and need not have; they count.
        repeated: Views of which there are several photographs; all count.
        reasons: Why it does not pass whatever its score, or cannot be judged.
        notice: What a person should know besides.
    """

    name: str | None
    category: str | None
    views: tuple[tuple[str, ImagePrediction], ...]
    score: float | None = None
    scores: Mapping[ObjectScore, float] = field(default_factory=dict)
    verdict: ObjectVerdict | None = None
    p_value: float | None = None
    limits: CategoryLimits | None = None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    notice: str | None = None

    @property
    def highest_view(self) -> str | None:
        """The view with the highest score of its own: where to look first."""
        scored = [(found.score, view) for view, found in self.views if found.score is not None]
        return max(scored, key=lambda one: one[0])[1] if scored else None

    def without_pictures(self) -> ObjectPrediction:
        """The same without images and maps, so that thousands can be kept."""
        bare = ((view, replace(found, image=None, anomaly_map=None, largest=None)) for view, found in self.views)
        return replace(self, views=tuple(bare))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, as in `objects.json`; of each view its photograph, score and verdict."""
        limits = self.limits or CategoryLimits()
        return {
            "object": self.name,
            "category": self.category,
            "score": self.score,
            "verdict": self.verdict,
            "reason": "; ".join(self.reasons) or None,
            "p_value": self.p_value,
            "review_above": limits.review,
            "reject_above": limits.reject,
            "highest_view": self.highest_view,
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "notice": self.notice,
            "scores": dict(self.scores),
            "views": [
                {
                    "view": view,
                    "path": None if found.path is None else found.path.as_posix(),
                    "score": found.score,
                    "verdict": found.verdict,
                    "error": found.error,
                }
                for view, found in self.views
            ],
        }


def stream_objects(
    predictor: Predictor, objects: Iterable[ViewedObject], batch_size: int, channels: Channels
) -> Iterator[ObjectPrediction]:
    """Verdicts on parts in order; photographs of several are judged in one batch.

    Args:
        predictor: What judges.
        objects: The parts.
        batch_size: Images per forward pass.
        channels: Order of the channels of arrays.

    Raises:
        ConfigError: Unknown or missing category, or another order of channels.
    """
    waiting: deque[ViewedObject] = deque()
    limits = predictor.object_limits
    expected = 0 if limits is None else max(map(len, limits.views.values()), default=0)

    def photographs() -> Iterator[Photograph]:
        for one in objects:
            waiting.append(one)
            for _, image in one.views:
                own = image if isinstance(image, Photograph) else Photograph(image)
                yield Photograph(own.image, own.category or one.category, len(one.views) + expected)

    found: list[ImagePrediction] = []
    for prediction in predictor.stream(photographs(), batch_size=batch_size, channels=channels):
        found.append(prediction)
        if len(found) == len(waiting[0].views):
            yield judge_object(predictor.object_limits, waiting.popleft(), found)
            found = []


def judge_object(limits: ObjectLimits | None, one: ViewedObject, found: Sequence[ImagePrediction]) -> ObjectPrediction:
    """The verdict on a part from the predictions of its views.

    Args:
        limits: Of parts; None without any.
        one: The part.
        found: Predictions of its views, in their order, with the largest values of their maps.
    """
    views = tuple(zip((view for view, _ in one.views), found, strict=True))
    category, disagreement = _category(one, found)
    expected = () if limits is None or category is None else limits.views.get(category, ())
    read = [(view, own) for view, own in views if own.score is not None and own.largest is not None]
    there = Counter(view for view, _ in read)
    missing = tuple(view for view in (expected or sorted({view for view, _ in views})) if view not in there)
    scores: dict[ObjectScore, float] = {}
    if read:
        scores = object_scores(
            [own.score for _, own in read if own.score is not None],
            [own.largest for _, own in read if own.largest is not None],
            len(read) + len(missing),
        )
    score = scores.get(USUAL_SCORE if limits is None else limits.rules.score)
    unexpected = tuple(sorted(view for view in there if expected and view not in expected))
    repeated = tuple(sorted(view for view, count in there.items() if count > 1))
    reasons = [*_missing_reasons(missing, views), *disagreement]
    reasons += [f"view {view}: {own.reason}" for view, own in views if own.reason is not None]
    strange = [view for view, own in views if own.verdict == UNKNOWN_PRODUCT]
    reasons += [f"view {view}: looks like no known product" for view in strange]
    verdict: ObjectVerdict | None = None
    if disagreement or (category is None and strange):
        verdict = UNKNOWN_PRODUCT
    elif limits is not None and score is not None:
        verdict = limits.verdict(category, score, is_complete=not missing)
    elif limits is not None and (category is None or category in limits.categories):
        verdict = "incomplete"
    if verdict == "pass" and reasons:
        verdict = "review"
    known = limits is not None and score is not None and not missing
    return ObjectPrediction(
        name=one.name,
        category=category,
        views=views,
        score=score,
        scores=scores,
        verdict=verdict,
        p_value=limits.p_value(category, score) if known and limits is not None and score is not None else None,
        limits=None if limits is None or category is None else limits.categories.get(category),
        missing=missing,
        unexpected=unexpected,
        repeated=repeated,
        reasons=tuple(reasons),
        notice=_notice(views, unexpected, repeated),
    )


def _category(one: ViewedObject, found: Sequence[ImagePrediction]) -> tuple[str | None, list[str]]:
    """What a part is, and what its views disagree on."""
    if one.category is not None:
        return one.category, []
    names = sorted({own.category for own in found if own.category is not None})
    if len(names) > 1:
        return None, [f"its views look like different products: {', '.join(names)}"]
    return (names[0] if names else None), []


def _missing_reasons(missing: Sequence[str], views: Sequence[tuple[str, ImagePrediction]]) -> list[str]:
    faults = {view: own.error for view, own in views if own.error is not None}
    absent = [view for view in missing if view not in faults]
    said = [f"no photograph of view {', '.join(absent)}"] if absent else []
    return said + [f"view {view} cannot be read: {error}" for view, error in faults.items()]


def _notice(
    views: Sequence[tuple[str, ImagePrediction]], unexpected: Sequence[str], repeated: Sequence[str]
) -> str | None:
    """What is told beside the verdict: views that say something else by themselves, and views out of place."""
    said = [f"view {view} by itself: {own.verdict}" for view, own in views if own.verdict in ("review", "reject")]
    if unexpected:
        said.append(f"not among the views of this product: {', '.join(unexpected)}")
    if repeated:
        said.append(f"several photographs of view {', '.join(repeated)}, which all count")
    return "; ".join(said) or None
