"""What a photograph looks like, in numbers that can be compared: as a whole, place by place, and in its colours.

Nothing here needs torch: tokens come from the encoder (`features`), colours from the pixels that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, UInt8

SIDE_PX = 112
"""Height and width of a photograph in the recogniser's size."""
COPIES = 5
"""Of a remembered photograph: as it is, turned twice, darker, brighter."""
_PLACES = 8  # colours are told of 8 x 8 places: those of the encoder's patches


@dataclass(frozen=True, slots=True)
class Appearance:
    """Of some photographs in the recogniser's size.

    Attributes:
        whole: Class token and mean patch token, each of unit length.
        patches: Patch tokens, each of unit length.
        colours: Of every place the mean L*, a*, b*, and the deviation of L*, in hundredths.
    """

    whole: Float[np.ndarray, "b d"]
    patches: Float[np.ndarray, "b n w"]
    colours: Float[np.ndarray, "b m 4"]

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, rows: slice | Float[np.ndarray, " k"]) -> Self:
        return type(self)(self.whole[rows], self.patches[rows], self.colours[rows])

    @classmethod
    def of_tokens(
        cls, tokens: Float[np.ndarray, "b n w"], prefix: int, images: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> Self:
        """From the encoder's output.

        Args:
            tokens: Of its last block: class token, registers, patches.
            prefix: How many come before the patches.
            images: The same photographs.
        """
        patches = tokens[:, prefix:]
        whole = np.concatenate([_unit(tokens[:, 0]), _unit(patches.mean(axis=1))], axis=1)
        return cls(whole, _unit(patches), np.stack([colours_of(image) for image in images]))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Of the photographs of all parts, in their order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


def colours_of(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "m 4"]:
    """Colour and contrast of every place of a photograph in the recogniser's size."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    step = image.shape[0] // _PLACES
    places = lab.reshape(_PLACES, step, _PLACES, step, 3).swapaxes(1, 2).reshape(_PLACES**2, step * step, 3)
    return np.concatenate([places.mean(axis=1), places[:, :, :1].std(axis=1)], axis=1)


def shrink(image: UInt8[np.ndarray, "H W 3"], side_px: int = SIDE_PX) -> UInt8[np.ndarray, "h w 3"]:
    """The whole photograph in the recogniser's size; the aspect ratio is not kept, crop and tiles play no part."""
    return np.asarray(Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=3.0))


def copies_of(image: UInt8[np.ndarray, "H W 3"], seed: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    """A photograph as it is, turned by two angles, darker and brighter, each in the recogniser's size.

    Parts lie at other angles and lamps age: with copies, such photographs stay near without a looser limit.

    Args:
        image: The photograph.
        seed: Of the angles.
    """
    large = shrink(image, 2 * SIDE_PX)  # turned there, so that turning does not blur
    middle = (SIDE_PX - 0.5, SIDE_PX - 0.5)
    changed = [
        cv2.warpAffine(
            large, cv2.getRotationMatrix2D(middle, angle, 1), large.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101
        )
        for angle in np.random.default_rng(seed).uniform(0, 360, 2)
    ]
    changed += [np.clip(large * gain, 0, 255).astype(np.uint8) for gain in (0.8, 1.2)]
    return [shrink(image), *(shrink(copy) for copy in changed)]


def _unit(vectors: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b d"]:
    """The same directions, of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32)
