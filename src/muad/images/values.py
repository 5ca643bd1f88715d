"""Brightness of images with more than 8 bits: one window for a whole run, fixed at training.

A 12-bit camera fills a sixteenth of 16 bits, a thermal one some thousand levels of them. Stretching each image by
itself would hide what differs between images, and make a part look another beside a bright defect. So the window is
found once, from all training images, kept with the run, and used for every image it ever sees. 8-bit images stay as
they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muad.errors import DataError
from muad.images.loading import read_ahead
from muad.images.reading import has_pages, is_deep, open_header, read_values

_LOOKED_AT = 256  # images whose values are counted
_TAIL = 0.001  # share of pixels at each end that may be broken ones
_MARGIN = 0.1  # of the width, at each end: a defect may be brighter than any good part


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the headers of image files say.

    Attributes:
        deep: Files with more than 8 bits per channel.
        paged: Files with more than one page or frame.
        largest_px: Pixels of the largest image.
    """

    deep: tuple[Path, ...]
    paged: tuple[Path, ...]
    largest_px: int


def survey(paths: Iterable[Path]) -> Survey:
    """Look at the header of every file; those that cannot be read are left to whoever reads them."""
    deep, paged, largest_px = [], [], 0

    def look(path: Path) -> tuple[Path, bool, bool, int]:
        try:
            with open_header(path) as image:
                return path, is_deep(image), has_pages(path), image.width * image.height
        except DataError:
            return path, False, False, 0

    for path, is_of_depth, is_paged, pixels in read_ahead(look, paths):
        deep += [path] if is_of_depth else []
        paged += [path] if is_paged else []
        largest_px = max(largest_px, pixels)
    return Survey(deep=tuple(deep), paged=tuple(paged), largest_px=largest_px)


def find_value_range(paths: Sequence[Path]) -> tuple[float, float]:
    """The values of deep images that become black and white: their range, but for broken pixels, and a margin.

    Args:
        paths: Deep images; of many, an even choice is looked at.

    Raises:
        DataError: None of them can be read.
    """
    stride = max(1, len(paths) // _LOOKED_AT)
    ends, lowest = [], np.inf

    def look(path: Path) -> tuple[np.ndarray, float] | DataError:
        try:
            values = read_values(path)
        except DataError as error:
            return error
        return np.quantile(values, [_TAIL, 1 - _TAIL]), float(values.min())

    faults = []
    for found in read_ahead(look, paths[::stride], ahead=8):
        if isinstance(found, DataError):
            faults.append(found)
            continue
        ends.append(found[0])
        lowest = min(lowest, found[1])
    if not ends:
        raise faults[0]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    margin = _MARGIN * (high - low) or 1.0
    # Nothing is darker than no light: where no value is negative, none is expected.
    return (max(0.0, low - margin) if lowest >= 0 else low - margin), high + margin
