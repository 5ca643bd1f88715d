"""Scores that limits are set from: of images the detector has not seen, and of images that its like had not seen.

In K-fold cross-fitting every training image is scored by a detector that was trained like the run's, but without it.
Together with the images kept out of training all good photographs then count. What holds of a limit from such a pool,
for the one detector that is deployed:

- *Without any assumption* only the images kept out of training count, of which there are m. A limit at the j-th largest
  of the pool is at least the j-th largest of those m, so a good image exceeds it with a probability of at most
  j / (m + 1). This is the guarantee of split calibration, at the same place from the top.
- *If* detectors that were trained on a part of the images score new good parts as the deployed one does, or higher, the
  whole pool of n counts, and it is at most j / (n + 1). The deployed detector was trained on more images, which seldom
  raises scores of good parts; but no theorem says so. So it is tested: where the pool's scores lie lower than those of
  the m images the deployed detector scored itself, which is the side on which more good parts would be stopped than
  promised, they are not used.

So a rate that the images kept out carry by themselves is set from them alone, and stays proven; the pool serves the
rates for which they are too few.

The bounds of Barber et al. for CV+ and of Vovk for cross-conformal predictors need the K detectors at prediction, where
an image is compared with every fold by the detector of that fold: K times the cost, for 2 j / (n + 1) and more. A mean
of the K p-values needs the same factor of two (Vovk and Wang). For a few dozen images that proves less than the images
kept out do alone, so a run keeps its one detector.

References:
    Barber, Candès, Ramdas, Tibshirani, Predictive inference with the jackknife+, Annals of Statistics 2021,
    arXiv:1905.02928.
    Vovk, Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 2015, arXiv:1208.0806.
    Vovk, Wang, Combining p-values via averaging, Biometrika 2020, arXiv:1212.4966.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muad.decisions.object_scores import ObjectScore
from muad.decisions.rank_test import chance_of_lying_lower

REFUTED = 0.01
"""Chance, if nothing is wrong, of the difference that keeps cross-fitted scores out of the limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of some images of one category.

    Attributes:
        scores: Of the images, rising; of those that show the same picture or object the largest alone.
        map_peaks: The largest value of each image's anomaly map, rising; one for each score.
        images: How many were scored; more than there are scores where some show the same.
        data_hash: Tells whether images are still the same.
        source: Where they were.
        created: When they were scored.
        folds: Detectors that scored them, each those it had not seen; 0 where the run's own did.
    """

    scores: tuple[float, ...]
    map_peaks: tuple[float, ...]
    images: int
    data_hash: str
    source: str
    created: str
    folds: int = 0

    @property
    def count(self) -> int:
        """How many different images."""
        return len(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScored:
    """Scores of some good parts of one category, each of several views.

    Attributes:
        views: Those that every one of them has, sorted.
        scores: Of the parts, by how the views' are made one.
    """

    views: tuple[str, ...]
    scores: Mapping[ObjectScore, Scored]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The scores that limits of a category are set from.

    Attributes:
        scores: Rising.
        map_peaks: Rising; one for each score.
        images: Scored for them; those that show the same count once.
        own_scores: Those of them that the run's own detector gave, rising.
        own_peaks: The map peaks of those.
        folds: Detectors the others come from; 0 where there are none.
        agreement: Chance that the others lie so low or lower beside those kept out, if nothing is wrong; None where it
            cannot be compared.
        refuted: Whether that is so small that the others were left out.
    """

    scores: tuple[float, ...] = ()
    map_peaks: tuple[float, ...] = ()
    images: int = 0
    own_scores: tuple[float, ...] = ()
    own_peaks: tuple[float, ...] = ()
    folds: int = 0
    agreement: float | None = None
    refuted: bool = False

    @property
    def kept_out(self) -> int:
        """Scores that the run's own detector gave."""
        return len(self.own_scores)


def pool(kept_out: Scored | None, cross_fitted: Scored | None) -> Pool:
    """The scores of one category together, unless those of cross-fitting lie lower than they may.

    Args:
        kept_out: Of images kept out of training, by the run's own detector.
        cross_fitted: Of training images, by detectors that had not seen them.
    """
    if cross_fitted is None or not cross_fitted.count:
        return _alone(kept_out)
    if kept_out is None or not kept_out.count:
        return Pool(
            scores=cross_fitted.scores,
            map_peaks=cross_fitted.map_peaks,
            images=cross_fitted.images,
            folds=cross_fitted.folds,
        )
    agreement = chance_of_lying_lower(cross_fitted.scores, kept_out.scores)
    if agreement < REFUTED:
        return _alone(kept_out, agreement)
    return Pool(
        scores=tuple(sorted(kept_out.scores + cross_fitted.scores)),
        map_peaks=tuple(sorted(kept_out.map_peaks + cross_fitted.map_peaks)),
        images=kept_out.images + cross_fitted.images,
        own_scores=kept_out.scores,
        own_peaks=kept_out.map_peaks,
        folds=cross_fitted.folds,
        agreement=agreement,
    )


def _alone(kept_out: Scored | None, agreement: float | None = None) -> Pool:
    if kept_out is None:
        return Pool()
    return Pool(
        scores=kept_out.scores,
        map_peaks=kept_out.map_peaks,
        images=kept_out.images,
        own_scores=kept_out.scores,
        own_peaks=kept_out.map_peaks,
        agreement=agreement,
        refuted=agreement is not None,
    )
