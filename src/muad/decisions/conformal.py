"""Limits from scores of good images alone, with guarantees that hold for any detector and any shape of the scores.

n good images that were not trained on are scored. If a further good image is exchangeable with them (taken under the
same conditions, in no special order), its rank among the n + 1 is as likely to be one as another. From that alone:

- the p-value of a score is small for a good image only as often as it says;
- a limit at the k-th smallest score is exceeded by a good image with a probability of at most 1 - k / (n + 1), over
  the choice of the calibration images and the image (the marginal guarantee);
- for the calibration images at hand, the long-run share of good images above the limit is a Beta(n + 1 - k, k) variable
  at most, which bounds it with a stated confidence (the training-conditional guarantee).

Rules: a score equal to a limit is not above it. Equal calibration scores only make false alarms rarer than promised.
Rates are taken as the decimal fractions they are written as (0.005 is 1/200), and ranks are computed without rounding.

References:
    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005.
    Vovk, Conditional validity of inductive conformal predictors, ACML 2012, arXiv:1209.2673.
    Angelopoulos, Bates, A gentle introduction to conformal prediction, arXiv:2107.07511, sections 1 and 3.2.
    Bates, Candès, Lei, Romano, Sesia, Testing for outliers with conformal p-values, Annals of Statistics 2023,
    arXiv:2104.08279.
    Clopper, Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from muad.decisions.binomial import beta_quantile, binomial_at_most
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float


def p_values(scores: Float[np.ndarray, " m"], calibration: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """How usual each score is for a good image, in (0, 1]: (1 + number of calibration scores >= it) / (n + 1).

    For a good image, P(p-value <= a) <= a for every a.

    Example:
        >>> p_values(np.array([0.1, 0.35, 0.9]), np.array([0.2, 0.3, 0.4])).tolist()
        [1.0, 0.5, 0.25]
    """
    ascending = np.sort(calibration)
    at_or_above = len(ascending) - np.searchsorted(ascending, scores, side="left")
    return np.asarray((1 + at_or_above) / (len(ascending) + 1), dtype=np.float64)


def limit_rank(count: int, rate: float) -> int | None:
    """Which of `count` ascending calibration scores (from 1) is the limit that good images exceed at most at this rate.

    It is ceil((count + 1)(1 - rate)); None where that would be more than there are.

    Raises:
        ConfigError: The rate is not between 0 and 1.

    Example:
        >>> limit_rank(199, 0.005), limit_rank(198, 0.005)
        (199, None)
    """
    above = math.floor((count + 1) * _as_written(rate))
    return count + 1 - above if above >= 1 else None


def images_needed(rate: float) -> int:
    """The least number of calibration images for which there is a limit at this rate.

    Example:
        >>> images_needed(0.005), images_needed(0.05)
        (199, 19)
    """
    return math.ceil(1 / _as_written(rate)) - 1


def coarsest_rate(count: int) -> float:
    """The least rate that `count` calibration scores carry a limit at, which then is the largest of them.

    Raises:
        ConfigError: There are none.

    Example:
        >>> coarsest_rate(9), coarsest_rate(199)
        (0.1, 0.005)
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1 calibration image, got {count}.")
    return 1 / (count + 1)


def coarsest_sure_rate(count: int, confidence: float) -> float:
    """The least rate that the largest of `count` calibration scores keeps in the long run, with this confidence.

    Raises:
        ConfigError: There are none, or the confidence is not between 0 and 1.

    Example:
        >>> round(coarsest_sure_rate(59, 0.95), 4), round(coarsest_sure_rate(10, 0.95), 4)
        (0.0495, 0.2589)
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1 calibration image, got {count}.")
    return rate_bound(count, count, confidence)


def sure_rank(count: int, rate: float, confidence: float) -> int | None:
    """The lowest rank whose false-alarm rate is, with this confidence, at most `rate` in the long run.

    Higher than `limit_rank`: that one keeps the rate on average over calibration sets, this one in all but the share
    1 - confidence of them. None where the highest score is not high enough.

    Raises:
        ConfigError: Rate or confidence is not between 0 and 1.

    Example:
        >>> sure_rank(59, 0.05, 0.95), sure_rank(58, 0.05, 0.95)
        (59, None)
    """
    rate, doubt = float(_as_written(rate)), 1 - float(_as_written(confidence, "confidence"))
    # Of the images above the limit's true quantile, too few may have come: P(Binomial(n, rate) <= n - k) <= doubt.
    doubt *= 1 + 1e-12  # a chance that equals it is within it, however its last digit is rounded
    rarest, common = -1, count  # the first is within the doubt, the second is not
    while common - rarest > 1:
        middle = (rarest + common) // 2
        rarest, common = (middle, common) if binomial_at_most(middle, count, rate) <= doubt else (rarest, middle)
    return count - rarest if rarest >= 0 else None


def sure_images_needed(rate: float, confidence: float) -> int:
    """The least number of calibration images for which there is a limit by `sure_rank`.

    Example:
        >>> sure_images_needed(0.05, 0.95), sure_images_needed(0.005, 0.95)
        (59, 598)
    """
    doubt = 1 - float(_as_written(confidence, "confidence"))
    return math.ceil(math.log(doubt) / math.log1p(-float(_as_written(rate))))


def rate_bound(count: int, rank: int, confidence: float) -> float:
    """What the long-run false-alarm rate of a limit at this rank is at most, with this confidence.

    The confidence is over the choice of the `count` calibration images.

    Example:
        >>> round(rate_bound(199, 199, 0.95), 4)
        0.0149
    """
    return beta_quantile(float(_as_written(confidence, "confidence")), count + 1 - rank, rank)


def binomial_interval(events: int, trials: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a probability, of which `events` in `trials` were seen: never too narrow.

    Example:
        >>> [round(end, 3) for end in binomial_interval(0, 30, 0.95)]
        [0.0, 0.116]
    """
    if not 0 <= events <= trials or trials < 1:
        raise ConfigError(f"events must be from 0 to the number of trials, at least 1, got {events} of {trials}.")
    tail = (1 - float(_as_written(confidence, "confidence"))) / 2
    low = 0.0 if events == 0 else beta_quantile(tail, events, trials - events + 1)
    high = 1.0 if events == trials else beta_quantile(1 - tail, events + 1, trials - events)
    return low, high


def _as_written(value: float, name: str = "rate") -> Fraction:
    """A rate as the decimal fraction its digits say, so that 200 x 0.005 is 1 and not a little less."""
    if not 0 < value < 1:
        raise ConfigError(f"{name} must be above 0 and below 1, got {value}. Write 0.5 % as 0.005.")
    return Fraction(repr(float(value)))
