"""From quantities of good photographs to limits that few further good ones exceed.

All limits of a product are one: how far a photograph lies from the usual one, in the quantity in which it lies
farthest, each counted by how far good photographs spread to that side. Each good photograph is counted by what is usual
among the others, because a new one has no part in it either, and the rank of those distances sets the limit as it does
for scores (decisions/conformal.py). Photographs that repeat each other count once, with the farthest of them.

One odd photograph would set that distance for every quantity. So with 50 photographs or more no limit lies more than
twice as far as any good photograph does in that quantity. What this adds to the rate is not proven but measured
(docs/capture-proof.md): little of photographs of all sorts, nothing of those of a fixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.capture.limits import COARSEST_RATE, QUANTITIES, Bounds
from muad.decisions.conformal import images_needed, limit_rank

if TYPE_CHECKING:
    from jaxtyping import Float

    from muad.capture.quantities import Capture

_ENDS = (0.1, 0.5, 0.9)  # of a quantity in good photographs: its low end, what is usual, its high end
# Quantities are compared as logarithms, so that half and double are equally far: what is added to each before, how far
# its ends are taken to lie from the usual at least, and the distances below and above within which nobody wants to hear
# of it. A rough part looks noisier than a smooth one, so noise must be worse than that.
_SHARE = (0.03, math.log(2), math.log(2), math.log(2))
_SCALES: Mapping[str, tuple[float, float, float, float]] = {
    "structure": (1, 0.1, math.log(1.5), 0),
    "blank": _SHARE,
    "brightness": (4, 0.02, math.log(1.1), math.log(1.1)),
    "highlights": (4, 0.03, math.log(1.15), 0),
    "dark": _SHARE,
    "bright": _SHARE,
    "contrast": (0.02, 0.03, math.log(1.2), 0),
    "sharpness": (0, 0.03, math.log(1.15), 0),
    "grain": (0, 0.03, math.log(1.15), math.log(1.5)),
}
# Times as far as any good photograph lies, a limit is never farther: one odd photograph loosens only its own. Of fewer
# photographs than this the farthest says too little.
_REACH, _REACH_FROM = 2, 50
_MOST = {"brightness": 255.0, "blank": 1.0, "dark": 1.0, "bright": 1.0}
_NAMES = tuple(QUANTITIES)
_OFFSETS, _FLOORS, _LEAST_BELOW, _LEAST_ABOVE = np.array([_SCALES[name] for name in _NAMES]).T
_LOW_IS_FAULT, _HIGH_IS_FAULT = (
    np.array([words[side] is not None for words in QUANTITIES.values()]) for side in (0, 1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Limits of a product, and what they come from.

    Attributes:
        photographs: How many.
        independent: How many of them, those that repeat each other counted once.
        rate: Share of good photographs that may be flagged: the one asked for or, with fewer photographs than that
            needs, the least they support.
        bounds: By quantity.
        seen: Least, median and greatest value of each quantity.
    """

    photographs: int
    independent: int
    rate: float
    bounds: Mapping[str, Bounds]
    seen: Mapping[str, tuple[float, float, float]]


def learn_limits(captured: Sequence[Capture], groups: Sequence[Sequence[int]], rate: float) -> Learned | None:
    """Limits of one product; None if there are too few photographs for any.

    Args:
        captured: Of good photographs.
        groups: Indices of those that repeat each other.
        rate: Share of good photographs that may be flagged.
    """
    repeated = {place for group in groups for place in group}
    units = [list(group) for group in groups] + [[place] for place in range(len(captured)) if place not in repeated]
    supported = max(rate, 1 / (len(units) + 1))
    if len(units) < least_photographs():
        return None
    values = np.array([[getattr(each, name) for name in _NAMES] for each in captured])
    places = np.log(values + _OFFSETS)
    distances = [_distance(places[unit], _usual(np.delete(places, unit, axis=0))) for unit in units]
    rank = limit_rank(len(units), rate) or len(units)
    reach = _REACH if len(units) >= _REACH_FROM else math.inf
    low, high = _ends(places, float(np.sort(distances)[rank - 1]), reach)
    seen = np.quantile(values, [0, 0.5, 1], axis=0).T
    return Learned(
        photographs=len(captured),
        independent=len(units),
        rate=supported,
        bounds={name: _bounds(place, low[place], high[place]) for place, name in enumerate(_NAMES)},
        seen={name: (each[0], each[1], each[2]) for name, each in zip(_NAMES, seen.tolist(), strict=True)},
    )


def least_photographs() -> int:
    """How many photographs of a product it takes to have limits."""
    return images_needed(COARSEST_RATE)


_Usual = tuple["Float[np.ndarray, ' q']", "Float[np.ndarray, ' q']", "Float[np.ndarray, ' q']"]


def _usual(places: Float[np.ndarray, "n q"]) -> _Usual:
    """What is usual, and how far good photographs spread below and above it."""
    low, middle, high = np.quantile(places, _ENDS, axis=0)
    return middle, np.maximum(middle - low, _FLOORS), np.maximum(high - middle, _FLOORS)


def _distance(places: Float[np.ndarray, "m q"], usual: _Usual) -> float:
    """How far the farthest of some photographs lies to a side that is a fault."""
    middle, below, above = usual
    low = np.where(_LOW_IS_FAULT, (middle - places) / below, 0)
    high = np.where(_HIGH_IS_FAULT, (places - middle) / above, 0)
    return float(max(low.max(), high.max(), 0))


def _ends(
    places: Float[np.ndarray, "n q"], distance: float, reach: float
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """The values at that distance on both sides, or nearer where good photographs times the reach are."""
    middle, below, above = _usual(places)
    down = np.minimum(distance * below, reach * np.maximum(middle - places.min(axis=0), below))
    up = np.minimum(distance * above, reach * np.maximum(places.max(axis=0) - middle, above))
    low = np.exp(middle - np.maximum(down, _LEAST_BELOW)) - _OFFSETS
    high = np.exp(middle + np.maximum(up, _LEAST_ABOVE)) - _OFFSETS
    return low, high


def _bounds(place: int, low: float, high: float) -> Bounds:
    """Both limits, where passing them is a fault and possible; rounded outwards, which flags nothing more."""
    most = _MOST.get(_NAMES[place], math.inf)
    return Bounds(
        at_least=_rounded(low, math.floor) if _LOW_IS_FAULT[place] and low > 0 else None,
        at_most=_rounded(high, math.ceil) if _HIGH_IS_FAULT[place] and high < most else None,
    )


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """Four digits of it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{towards(value / unit) * unit:.4g}")
