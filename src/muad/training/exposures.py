"""In which light each normal photograph is remembered, so that the score does not follow the light.

Gains are factors on the light. A detector may look at every photograph at each of them, or at each photograph once,
every second one in another light: which one in which is a matter of seed, product and file name alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from muad.training.sampling import name_seed

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.images.senses import Sense
    from muad.types import Record

ExposureLooks = Literal["every", "one"]


def exposures_in_turn(
    records: Sequence[Record], gains: Sequence[float], looks: ExposureLooks, seed: int, turns: int = 1
) -> list[tuple[tuple[float, ...], ...]]:
    """For each image, for each angle it is turned to, the gains at which it is looked at; 1 is as photographed.

    With `one`, half of a category's images are looked at as they are and the others at the gains in turn, in an order
    drawn by seed and file name; at its next angle an image takes what is next.

    Args:
        records: Images, of one or many categories.
        gains: Factors on the light beside 1.
        looks: `every`: each image at 1 and at every gain; `one`: each at one of them.
        seed: Of the order.
        turns: At how many angles each image is looked at.
    """
    if looks == "every" or not gains:
        return [((1.0, *gains),) * turns for _ in records]
    cycle = [light for gain in gains for light in (1.0, gain)]
    places: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        places[record.category].append(place)
    planned: list[tuple[tuple[float, ...], ...]] = [()] * len(records)
    for category, own in places.items():
        drawn = sorted(own, key=lambda place: (name_seed(seed, category, records[place].path.name), place))
        for rank, place in enumerate(drawn):
            planned[place] = tuple((cycle[(rank + turn) % len(cycle)],) for turn in range(turns))
    return planned


def exposed(
    image: UInt8[np.ndarray, "*shape c"], gain: float, senses: Sequence[Sense] = ("colour",)
) -> UInt8[np.ndarray, "*shape c"]:
    """An image as a camera would have taken it with so many times the light: what is brighter than white is white.

    Depth and infrared pictures are not lit and stay as they are.

    Args:
        image: Three channels of each sense.
        gain: Factor on the light.
        senses: What the channels show, in their order.
    """
    if gain == 1:
        return image
    table = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
    brighter = image.copy()
    for place, sense in enumerate(senses):
        if sense == "colour":
            channels = slice(3 * place, 3 * place + 3)
            brighter[..., channels] = table[image[..., channels]]
    return brighter
