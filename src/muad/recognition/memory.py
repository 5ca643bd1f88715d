"""What is remembered of one product, and how far a photograph lies from it.

Three distances, each plain and in the same unit for every product:

- as a whole: the mean of the three nearest remembered class and mean tokens, which tell what kind of thing is shown;
- place by place: nine in ten patches have a remembered patch at least this near. A bad part differs from good ones in
  few places, something else differs nearly everywhere;
- in colour: half of the places have a remembered place at least this near. The encoder looks past colour and light.

The distance is their geometric mean: what is near in one way must be very far in another to be far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from muad.recognition.appearance import Appearance

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_NEAREST = 3
_PATCHES, _COLOURS = 2048, 4096  # remembered of a product at most, spread over its photographs
_TURNED = 2  # copies whose patches are remembered: as it is, and turned once
_PATCH_QUANTILE, _COLOUR_QUANTILE = 0.9, 0.5
_LEAST = 0.02  # no distance counts as less: equal photographs, and shades nobody sees
_AT_ONCE = 16


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
        return np.concatenate([self._distances(seen[at : at + _AT_ONCE]) for at in range(0, len(seen), _AT_ONCE)])

    def own_distances(self, seen: Appearance) -> Float[np.ndarray, " n"]:
        """Of the remembered photographs, as they are, each to the others."""
        count = len(self)
        return np.concatenate(
            [
                self._distances(seen[at : at + _AT_ONCE], np.eye(count, dtype=bool)[at : at + _AT_ONCE])
                for at in range(0, count, _AT_ONCE)
            ]
        )

    def _distances(self, seen: Appearance, hidden: Bool[np.ndarray, "b n"] | None = None) -> Float[np.ndarray, " b"]:
        """Of some photographs; to each of them, some of the remembered ones may be hidden."""
        # [photograph, place, remembered photograph]: the square of the distance to the nearest part of each.
        copies = self.whole.reshape(-1, 1, self.whole.shape[2])
        whole = _nearest_squares(seen.whole[:, None], copies).reshape(len(seen), *self.whole.shape[:2])
        patches = _nearest_squares(seen.patches, self.patches)
        colours = _nearest_squares(seen.colours, self.colours)
        if hidden is not None:
            whole[hidden] = np.inf
            for squares in (patches, colours):
                squares.swapaxes(1, 2)[hidden] = np.inf
        near = whole.reshape(len(seen), -1)
        count = min(_NEAREST, (len(self) - (hidden is not None)) * self.whole.shape[1])
        parts = (
            np.sqrt(np.partition(near, count - 1, axis=1)[:, :count]).mean(axis=1),
            np.quantile(np.sqrt(patches.min(axis=-1)), _PATCH_QUANTILE, axis=1),
            np.quantile(np.sqrt(colours.min(axis=-1)), _COLOUR_QUANTILE, axis=1) + _LEAST,
        )
        return np.asarray(np.exp(np.mean([np.log(np.maximum(part, _LEAST)) for part in parts], axis=0)))


def _nearest_squares(
    given: Float[np.ndarray, "b m d"], remembered: Float[np.ndarray, "n p d"]
) -> Float[np.ndarray, "b m n"]:
    """Squared Euclidean distances of all to the nearest part of each remembered photograph."""
    flat, known = given.reshape(-1, given.shape[-1]), remembered.reshape(-1, remembered.shape[-1])
    # |x - y|^2 - |x|^2 as one matrix product, so that the large table is gone over but twice.
    one = np.ones((len(flat), 1), np.float32)
    table = np.concatenate([flat, one], axis=1) @ np.concatenate([-2 * known, (known**2).sum(1)[:, None]], axis=1).T
    nearest = table.reshape(*given.shape[:2], *remembered.shape[:2]).min(axis=-1)
    return np.asarray(np.maximum(nearest + (given**2).sum(-1)[:, :, None], 0))


def _some(parts: Float[np.ndarray, "n m w"], count: int, random: np.random.Generator) -> Float[np.ndarray, "n k w"]:
    """As many of each photograph's as asked for, or all."""
    if parts.shape[1] <= count:
        return parts
    return np.stack([own[random.choice(len(own), count, replace=False)] for own in parts])
