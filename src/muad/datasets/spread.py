"""Some of many, evenly spread: every category, split and day of a sorted list has its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly_spread(items: Sequence[T], most: int) -> list[T]:
    """As many as asked for, the first and the last among them; all, if there are no more."""
    count = min(len(items), most)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, count)]
