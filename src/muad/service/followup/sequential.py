"""Whether values have changed since they were learned, judged after every part, with a stated rate of false alarms.

Three steps, each exact:

1. *A rank.* A value is ranked among those of the reference, equal ones in a random order (`rank`). As long as the value
   and the reference are exchangeable, ranks of one part after another are independent and uniform on (0, 1), whatever
   the values are: these are smoothed conformal p-values. That needs the reference to grow with every part; against a
   reference that stands still, its own chance would be taken for a change. So it grows (`Reference`), until it is so
   large that its chance no longer counts.
2. *Evidence.* A bet on the rank, whose mean is 1 while nothing has changed. Betted on are Lehmann's alternatives: the
   value is distributed as the largest (or the smallest) of k usual ones. One more bets on both ends.
3. *A sum over all beginnings.* The statistic of Shiryaev and Roberts, R = (R + 1) * evidence, adds up the bets that
   were begun with every part so far; the mean over the alternatives is what is compared with a threshold.

Whether the very first parts differ from the reference is another question: against a small one only they can tell,
since it fills with what has changed. `SinceTheStart` bets on that alone, on how a rank is distributed among the
reference and the changed values before it together. It is a martingale that begins with 1, and reaches c with a
probability of at most 1 / c, however long the line runs (Ville).

The mean of R after t parts is t if nothing has changed. So R reaches a threshold c within t parts with a probability of
at most t / c (Doob), and the mean number of parts until it does is at least c. When the bet of the winning alternative
began is the estimate of when the change did (the last restart of Page's CUSUM).

References:
    Vovk, Nouretdinov, Gammerman, Testing exchangeability on-line, ICML 2003.
    Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, Retrain or not retrain: conformal test martingales for
    change-point detection, COPA 2021, arXiv:2102.10439.
    Shin, Ramdas, Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2022,
    arXiv:2203.03532.
    Pollak, Optimal detection of a change in distribution, Annals of Statistics 1985.
    Page, Continuous inspection schemes, Biometrika 1954.
    Lehmann, The power of rank tests, Annals of Mathematical Statistics 1953.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Direction = Literal["higher", "lower", "wider"]
ORDERS = (1.5, 2.0, 4.0, 10.0, 30.0)
"""Of so many usual values the changed one is like the largest; 2 is about half a deviation, 10 one and a half."""
LARGEST_REFERENCE = 2_000
"""Values up to which a reference grows; its own chance is then far below the smallest change that is betted on."""
_ORDERS = np.array(ORDERS)
_LEAST, _MOST = 1e-12, 1 - 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What is betted on.

    Attributes:
        direction: Whether values are higher or lower than they were, or lie further out on both sides.
        order: Of so many usual values the changed one is like the largest or smallest; 1 for `wider`.
    """

    direction: Direction
    order: float = 1.0


HIGHER = tuple(Alternative(direction="higher", order=order) for order in ORDERS)
BOTH_SIDES = (
    *HIGHER,
    *(Alternative(direction="lower", order=order) for order in ORDERS),
    Alternative(direction="wider"),
)


def evidence(
    ranks: Float[np.ndarray, "*parts"], alternatives: Sequence[Alternative]
) -> Float[np.ndarray, "*parts alternatives"]:
    """What each bet makes of one: the density of the rank under the alternative, whose mean is 1 without a change.

    Args:
        ranks: Within (0, 1).
        alternatives: What is betted on.

    Example:
        >>> evidence(np.array([0.25]), HIGHER[1:2]).tolist()
        [[0.5]]
    """
    constant, below, above = _exponents(tuple(alternatives))
    ranks = np.clip(ranks, _LEAST, _MOST)[..., None]
    return np.asarray(np.exp(constant + below * np.log(ranks) + above * np.log1p(-ranks)), np.float64)


@cache
def _exponents(alternatives: tuple[Alternative, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every alternative is a beta density: the log of its factor, the exponents of the rank and of one minus it."""
    orders = np.array([1 / math.pi if one.direction == "wider" else one.order for one in alternatives])
    ends = {"higher": (1.0, 0.0), "lower": (0.0, 1.0)}
    powers = [
        (-0.5, -0.5) if one.direction == "wider" else tuple((one.order - 1) * end for end in ends[one.direction])
        for one in alternatives
    ]
    below, above = np.array(powers).T
    return np.log(orders), below, above


def share_evidence(allowed: float, likely: Sequence[float]) -> Float[np.ndarray, "2 likely"]:
    """Bets on events that may come in a share of the parts: of a part without it, and of a part with it.

    The mean is at most 1 whatever the true share is, if it is at most the allowed one.

    Args:
        allowed: Share within (0, 1).
        likely: The shares that are betted on, all above the allowed one and below 1.

    Example:
        >>> share_evidence(0.1, [0.4]).round(4).tolist()
        [[0.6667], [4.0]]
    """
    betted = np.asarray(likely, np.float64)
    return np.stack([(1 - betted) / (1 - allowed), betted / allowed])


def first_evidence(
    ranks: Float[np.ndarray, "*lines"] | float, begun_with: int, added: int
) -> Float[np.ndarray, "*lines alternatives"]:
    """Bets on a rank if the values have been different from the first part on, upwards or downwards.

    Of the values it is ranked among, those the reference began with are usual ones and the others changed ones. The
    bets are the density of the rank among such a mixture.

    Args:
        ranks: Within (0, 1), of one part or of one each of several lines.
        begun_with: Values of the reference before the first part, at least one.
        added: Parts it has grown by.
    """
    usual = begun_with / (begun_with + added)
    ranks = np.clip(np.asarray(ranks, np.float64), _LEAST, _MOST)
    places = np.stack([ranks, 1 - ranks], axis=-1)[..., None]
    # Where that rank lies among the usual values alone: Newton's method from above, where the sum is convex.
    alone = np.minimum(places / usual, 1.0)
    if added:
        alone = np.minimum(alone, (places / (1 - usual)) ** (1 / _ORDERS))
    for _ in range(8):
        changed = (1 - usual) * alone ** (_ORDERS - 1)
        alone = np.maximum(alone - ((usual + changed) * alone - places) / (usual + _ORDERS * changed), _LEAST)
    density = _ORDERS * alone ** (_ORDERS - 1)
    bets = density / (usual + (1 - usual) * density)
    return np.asarray(bets.reshape(*ranks.shape, -1), np.float64)


def likely_shares(allowed: float) -> tuple[float, ...]:
    """Shares to bet on: from somewhat more than allowed to nearly all."""
    return tuple(allowed + (1 - allowed) * step for step in (0.05, 0.15, 0.4, 0.8))


def tie_break(seed: str, stream: str, inspection: str) -> float:
    """The random order of equal values, in [0, 1): the same for the same part, so that a test can be computed again.

    Args:
        seed: Of the station, kept with it.
        stream: Which test.
        inspection: Which part.

    Example:
        >>> tie_break("a", "bolt", "1") == tie_break("a", "bolt", "1")
        True
    """
    digest = hashlib.sha256(f"{seed}\n{stream}\n{inspection}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


class Reference:
    """Values that later ones are ranked among.

    Args:
        values: Known before the first part, such as calibration scores.
        largest: Up to how many it grows; those it begins with are kept in any case.
    """

    def __init__(self, values: Sequence[float] = (), largest: int = LARGEST_REFERENCE) -> None:
        self._begun_with = sorted(values)
        self._sorted = list(self._begun_with)
        self._added: list[tuple[float, float]] = []
        self._largest = largest

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def values(self) -> tuple[float, ...]:
        """All of them, rising."""
        return tuple(self._sorted)

    def rank(self, value: float, order: float, at: float = 0.0) -> float:
        """Where a value lies among those before it, in (0, 1); then it is one of them.

        Args:
            value: Of the part.
            order: Where it stands among equal values, in [0, 1).
            at: When it was, for `forget_since`.
        """
        found = self.place(value, order)
        if len(self._sorted) < self._largest:
            insort(self._sorted, value)
            self._added.append((at, value))
        return found

    def place(self, value: float, order: float) -> float:
        """Where a value lies among those before it, in (0, 1); nothing is added.

        Args:
            value: Of the part.
            order: Where it stands among equal values, in [0, 1).
        """
        below, up_to = bisect_left(self._sorted, value), bisect_right(self._sorted, value)
        return (below + order * (up_to - below + 1)) / (len(self._sorted) + 1)

    def forget_since(self, at: float) -> None:
        """Take out what was added at that time or later, because it belongs to what has changed."""
        self._added = [one for one in self._added if one[0] < at]
        self._sorted = sorted([*self._begun_with, *(value for _, value in self._added)])


class ShiryaevRoberts:
    """The statistic over all beginnings, and where the bet of each alternative was begun best.

    Args:
        bets: How many alternatives there are.

    Attributes:
        parts: How many it has seen.
    """

    def __init__(self, bets: int) -> None:
        self._sums = np.zeros(bets)
        self._best = np.zeros(bets)
        self._began = np.zeros(bets)
        self._since = np.zeros(bets, np.int64)
        self.parts = 0

    @property
    def statistic(self) -> float:
        """What is compared with the threshold."""
        return float(self._sums.mean())

    @property
    def leading(self) -> int:
        """Which alternative explains the values best."""
        return int(self._sums.argmax())

    @property
    def began(self) -> float:
        """When the change began, if the leading alternative is true: the time of the first part it explains."""
        return float(self._began[self.leading])

    @property
    def parts_since(self) -> int:
        """How many parts have come since then, that one included."""
        return int(self._since[self.leading])

    def step(self, bets: Float[np.ndarray, " bets"], at: float) -> float:
        """Take one part into account; returns the statistic.

        Args:
            bets: Its evidence, one for each alternative.
            at: When it was.
        """
        self.parts += 1
        self._sums = np.minimum((self._sums + 1) * bets, 1e250)
        anew = self._best <= 1
        self._began = np.where(anew, at, self._began)
        self._since = np.where(anew, 1, self._since + 1)
        self._best = np.minimum(np.where(anew, 1.0, self._best) * bets, 1e250)
        return self.statistic


class SinceTheStart:
    """Whether parts have differed from the reference from the first one on.

    Args:
        begun_with: Values of the reference before the first part, at least one.
        largest: Up to how many values the reference grows; no bet is made from then on.
    """

    def __init__(self, begun_with: int, largest: int = LARGEST_REFERENCE) -> None:
        self._begun_with, self._largest = begun_with, largest
        self._logs = np.zeros(2 * len(ORDERS))
        self.parts = 0

    @property
    def statistic(self) -> float:
        """What is compared with one over the false-alarm rate."""
        return float(np.exp(np.minimum(self._logs, 500)).mean())

    @property
    def direction(self) -> Direction:
        """Whether values are higher or lower than the reference."""
        return "higher" if self._logs.argmax() < len(ORDERS) else "lower"

    def step(self, rank: float) -> float:
        """Take one part into account; returns the statistic."""
        if self._begun_with + self.parts < self._largest:
            self._logs += np.log(np.maximum(first_evidence(rank, self._begun_with, self.parts), _LEAST))
            self.parts += 1
        return self.statistic


def threshold(parts: float, false_alarm_rate: float, tests: int = 1) -> float:
    """What the statistic must reach so that false alarms are as rare as stated.

    Args:
        parts: Of that many parts,
        false_alarm_rate: this is at most the chance of any false alarm,
        tests: in any of that many tests together.

    Example:
        >>> threshold(10_000, 0.05)
        200000.0
    """
    return tests * parts / false_alarm_rate
