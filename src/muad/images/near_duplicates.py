"""Which images show the same picture again: copied, saved anew, brightened, scaled or cut a little.

Photographs of parts of one kind are so alike that a short perceptual hash cannot tell them apart: of the 361 good
screws of MVTec AD, a quarter have a neighbour with the very same 64-bit hash. So there are two steps. A hash of 255
bits names a few candidates for each image, quickly; the pair is then laid one over the other, shift and scale
included, and must agree in fine detail, which two different parts seldom do.

Measured: of 361 good screws 1 pair is joined, of 80 metal plates 1, of 320 images of the toy factory 15 in 7 groups,
the largest of 3; of 380 magnetic tiles, where most tiles are there at several exposures, 234 in 88 groups, the largest
of 5. Copies saved anew (JPEG 60), cut by 2 % a side, brightened by 30 of 255 or halved are found in 92 to 100 % of all
cases, on screws, plates and the toy factory always. Parts held by a fixture under even light differ least from each
other, so expect some of them to be joined.

Ties and order are fixed: the same images in the same order give the same groups, on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import DataError
from muad.images.loading import read_ahead
from muad.images.reading import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, UInt8, UInt64

LIMIT_BITS = 76
"""Pairs whose hashes differ in more of their 255 bits are not looked at; copies cut by 2 % a side come to that."""
LIKENESS = 0.98
"""Least correlation of fine detail, after alignment, of two pictures of the same thing."""
NEIGHBOURS = 6
"""Candidates looked at for each image, nearest first."""

_HASH_PX, _HASH_SIDE = 64, 16
_DETAIL_PX = 128
_RIM_PX = 8  # left out of the comparison: alignment moves foreign pixels in
_LARGEST_SHEAR = 0.03  # a cut copy is moved and scaled, never turned; another part may fit well once turned
_TABLE = 2**24  # distances held in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What is kept of an image to recognise it by: 16 KiB.

    Attributes:
        bits: Signs of the 255 lowest frequencies of the image, brightness left out, and an idle bit.
        detail: The grey image at 128 px.
    """

    bits: UInt64[np.ndarray, " 4"]
    detail: UInt8[np.ndarray, "128 128"]


def appearance(image: UInt8[np.ndarray, "H W 3"]) -> Appearance:
    """The appearance of an image; its aspect ratio is not part of it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_PX, _HASH_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    signs = cv2.dct(small)[:_HASH_SIDE, :_HASH_SIDE].ravel() > 0
    signs[0] = False  # the mean brightness
    detail = cv2.resize(grey, (_DETAIL_PX, _DETAIL_PX), interpolation=cv2.INTER_AREA)
    return Appearance(bits=np.packbits(signs).view(np.uint64), detail=detail)


def read_appearances(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Appearance | None]:
    """Appearances of image files in order; None for those that cannot be read."""

    def read(path: Path) -> Appearance | None:
        try:
            return appearance(read_image(path))
        except DataError:
            return None

    found = []
    for seen in read_ahead(read, paths):
        found.append(seen)
        progress(len(found), len(paths))
    return found


def likeness(one: Appearance, other: Appearance) -> float:
    """Correlation of fine detail, -1 to 1, of two images laid over each other in the best way.

    Moving and scaling are tried, by maximising the enhanced correlation coefficient, and doing neither.

    References:
        Evangelidis and Psarakis, Parametric image alignment using enhanced correlation coefficient maximization,
        TPAMI 2008.
    """
    still, moving = one.detail.astype(np.float32), other.detail.astype(np.float32)
    as_they_are = _correlation(still, moving)
    warp = _alignment(still, moving)
    if warp is None:
        return as_they_are
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(moving, warp, (_DETAIL_PX, _DETAIL_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return max(as_they_are, _correlation(still, moved))


def near_duplicate_groups(
    appearances: Sequence[Appearance | None], likenesses: dict[tuple[int, int], float] | None = None
) -> list[tuple[int, ...]]:
    """Indices of images that show the same picture, in groups of two or more; transitive.

    Each image is laid over its NEIGHBOURS nearest only, so that the time grows almost in proportion to the number.

    Args:
        appearances: As `read_appearances` gives them; None is like nothing.
        likenesses: What two appearances, by their `id`, were found to be, where some of them are asked about again;
            more are added.

    Returns:
        Groups in ascending order of their first member, members ascending.
    """
    known = np.flatnonzero([seen is not None for seen in appearances])
    if len(known) < 2:
        return []
    kept = [seen for seen in appearances if seen is not None]
    found = {} if likenesses is None else likenesses
    candidates = _candidates(np.stack([seen.bits for seen in kept]))
    keys = [(id(kept[low]), id(kept[high])) for low, high in candidates]
    new = [pair for pair, key in zip(candidates, keys, strict=True) if key not in found]
    for (low, high), value in zip(
        new, read_ahead(lambda pair: likeness(kept[pair[0]], kept[pair[1]]), new), strict=True
    ):
        found[id(kept[low]), id(kept[high])] = value
    pairs = [pair for pair, key in zip(candidates, keys, strict=True) if found[key] >= LIKENESS]
    return [tuple(known[list(group)].tolist()) for group in _joined(pairs)]


def _joined(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """What hangs together by pairs (low, high), in ascending order."""
    above: dict[int, int] = {}  # a smaller member of the same group; what is not in there is the smallest of its own

    def smallest(member: int) -> int:
        while member in above:
            member = above[member]
        return member

    for low, high in pairs:
        first, second = sorted((smallest(low), smallest(high)))
        if first != second:
            above[second] = first
        for member in (low, high):
            if member != first:
                above[member] = first  # shortens the way for those that come later
    groups: dict[int, list[int]] = {}
    for member in sorted({member for pair in pairs for member in pair}):
        groups.setdefault(smallest(member), []).append(member)
    return [tuple(groups[name]) for name in sorted(groups)]


def _candidates(bits: UInt64[np.ndarray, "n 4"]) -> list[tuple[int, int]]:
    """Pairs (low, high) where one is among the nearest neighbours of the other, within LIMIT_BITS."""
    count = len(bits)
    nearest = min(NEIGHBOURS, count - 1)
    signs = 2 * np.unpackbits(bits.view(np.uint8), axis=1).astype(np.float32) - 1
    pairs: set[tuple[int, int]] = set()
    step = max(1, _TABLE // count)
    for begin in range(0, count, step):
        # Of as many signs that agree as disagree, the product is zero: exact, and faster than counting bits.
        distances = ((_HASH_SIDE**2 - signs[begin : begin + step] @ signs.T) / 2).astype(np.int16)
        np.fill_diagonal(distances[:, begin:], _HASH_SIDE**2)  # nothing is its own neighbour
        limits = np.minimum(np.partition(distances, nearest - 1, axis=1)[:, nearest - 1], LIMIT_BITS)
        for row, own, limit in zip(range(begin, count), distances, limits, strict=False):
            near = np.flatnonzero(own <= limit)
            chosen = near[own[near].argsort(kind="stable")[:nearest]]  # of equally near ones, the first
            pairs.update((min(row, column), max(row, column)) for column in chosen.tolist())
    return sorted(pairs)


def _alignment(
    still: Float[np.ndarray, "128 128"], moving: Float[np.ndarray, "128 128"]
) -> Float[np.ndarray, "2 3"] | None:
    """How to move and scale one image onto the other; None where they cannot be brought together so."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(still, moving, start, cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:  # without contrast, or too unlike to converge
        return None
    if abs(warp[0, 1]) + abs(warp[1, 0]) > _LARGEST_SHEAR:
        return None
    return np.asarray(warp)


def _correlation(one: Float[np.ndarray, "128 128"], other: Float[np.ndarray, "128 128"]) -> float:
    """Of what is finer than about 6 px, within the rim."""
    rim = slice(_RIM_PX, -_RIM_PX)
    first, second = (
        (cv2.GaussianBlur(image, (0, 0), 1) - cv2.GaussianBlur(image, (0, 0), 3))[rim, rim] for image in (one, other)
    )
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / spread if spread > 0 else 0.0
