"""What is remembered of one product, and how far a photograph lies from it.

Three distances, each plain and in the same unit for every product:

- as a whole: the mean of the three nearest remembered class and mean tokens, which tell what kind of thing is shown;
- place by place: nine in ten patches have a remembered patch at least this near. A bad part differs from good ones in
  few places, something else differs nearly everywhere;
- in colour: half of the places have a remembered place at least this near. The encoder looks past colour and light.

The distance is their geometric mean: what is near in one way must be very far in another to be far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from muad.recognition.appearance import Appearance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float

_NEAREST = 3
_PATCHES, _COLOURS = 2048, 4096  # remembered of a product at most, spread over its photographs
_TURNED = 2  # copies whose patches are remembered: as it is, and turned once
_PATCH_QUANTILE, _COLOUR_QUANTILE = 0.9, 0.5
_LEAST = 0.02  # no distance counts as less: equal photographs, and shades nobody sees


@dataclass(frozen=True, slots=True)
class Memory:
    """Remembered photographs of one product, image by image, in half precision's numbers.

    Attributes:
        whole: Of every copy.
        patches: Some patch tokens of every photograph.
        colours: Colours of some places of every photograph.
    """

    whole: Float[np.ndarray, "n copies d"]
    patches: Float[np.ndarray, "n p w"]
    colours: Float[np.ndarray, "n q 4"]
    _halves: tuple[Float[np.ndarray, " parts"], ...] = field(init=False, repr=False)  # of their lengths, halved

    def __post_init__(self) -> None:
        flat = (part.reshape(-1, part.shape[-1]) for part in (self.whole, self.patches, self.colours))
        object.__setattr__(self, "_halves", tuple((part**2).sum(1) / 2 for part in flat))

    def __len__(self) -> int:
        return len(self.whole)

    @classmethod
    def of(cls, seen: Appearance, copies: int, seed: int = 0) -> Self:
        """What is kept of photographs.

        Args:
            seen: All copies of the first photograph, of the second, and so on.
            copies: How many of each; the first is the photograph as it is.
            seed: Of which patches and places are kept.
        """
        random, count = np.random.default_rng(seed), len(seen) // copies
        whole, patches, colours = (
            part.reshape(count, copies, *part.shape[1:]) for part in (seen.whole, seen.patches, seen.colours)
        )
        patches = patches[:, :_TURNED].reshape(count, -1, patches.shape[-1])
        colours = colours.reshape(count, -1, colours.shape[-1])
        kept = (_some(patches, _PATCHES // count, random), _some(colours, min(64, _COLOURS // count), random))
        return cls(*(part.astype(np.float16).astype(np.float32) for part in (whole, *kept)))

    def as_seen(self) -> Appearance:
        """The remembered photographs as if they were shown, in those of their parts that are kept."""
        return Appearance(self.whole[:, 0], self.patches, self.colours)

    def distances(self, seen: Appearance) -> Float[np.ndarray, " b"]:
        """Of photographs to this product."""
        return np.array([self._distance(one) for one in _each(seen)])

    def own_distances(self, seen: Appearance) -> Float[np.ndarray, " n"]:
        """Of the remembered photographs, as they are, each to the others."""
        parts = (self.whole, self.patches, self.colours)
        others = (type(self)(*(np.delete(part, place, axis=0) for part in parts)) for place in range(len(self)))
        return np.concatenate([rest.distances(one) for rest, one in zip(others, _each(seen), strict=True)])

    def _distance(self, one: Appearance) -> float:
        """Of one photograph: the geometric mean of its three distances."""
        count = min(_NEAREST, len(self._halves[0]))
        whole = _nearest(one.whole, self.whole, self._halves[0], count)
        patches = _nearest(one.patches[0], self.patches, self._halves[1])
        colours = _nearest(one.colours[0], self.colours, self._halves[2])
        parts = (
            float(whole.mean()),
            float(np.quantile(patches, _PATCH_QUANTILE)),
            float(np.quantile(colours, _COLOUR_QUANTILE)) + _LEAST,
        )
        return math.prod(max(part, _LEAST) for part in parts) ** (1 / len(parts))


def _each(seen: Appearance) -> Iterator[Appearance]:
    """One photograph after the other, so that a distance does not depend on what it is asked with."""
    return (seen[at : at + 1] for at in range(len(seen)))


def _nearest(
    given: Float[np.ndarray, "m d"],
    remembered: Float[np.ndarray, "n p d"],
    halves: Float[np.ndarray, " np"],
    count: int = 1,
) -> Float[np.ndarray, "m count"]:
    """Euclidean distances of each to the nearest of all that are remembered, from half the squares of their lengths."""
    table = given @ remembered.reshape(-1, remembered.shape[-1]).T
    np.subtract(halves, table, out=table)  # half the squared distance, but for what is given
    least = table.min(axis=1, keepdims=True) if count == 1 else np.partition(table, count - 1, axis=1)[:, :count]
    return np.asarray(np.sqrt(np.maximum(2 * least + (given**2).sum(axis=1, keepdims=True), 0)))


def _some(parts: Float[np.ndarray, "n m w"], count: int, random: np.random.Generator) -> Float[np.ndarray, "n k w"]:
    """As many of each photograph's as asked for, or all."""
    if parts.shape[1] <= count:
        return parts
    return np.stack([own[random.choice(len(own), count, replace=False)] for own in parts])
