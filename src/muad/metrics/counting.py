"""The one sort behind all pixel metrics: anomalous pixels sorted once, normal pixels counted against them.

Only about two pixels in a hundred are anomalous, and every curve changes only at their scores. The normal pixels are
sorted chunk by chunk, in threads (numpy lets go of the interpreter while it sorts), and forgotten once counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from muad.metrics.inputs import as_float, require_finite
from muad.metrics.ranking import count_above

if TYPE_CHECKING:
    from muad.metrics.collection import LabelledMaps

# 256 maps of 256x256, 64 MiB a thread in float32. Larger chunks need fewer searches but more memory.
_CHUNK_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalousPixels:
    """All anomalous pixels of a category, one entry per distinct score, ascending.

    Attributes:
        scores: The distinct scores.
        pixels: How many pixels have that score.
        region_share: What those pixels add to the mean share of each region found; sums to 1.
        image_share: What they add to the mean share of each image's defect found; sums to 1.
    """

    scores: Float[np.ndarray, " k"]
    pixels: Int[np.ndarray, " k"]
    region_share: Float[np.ndarray, " k"]
    image_share: Float[np.ndarray, " k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalCounts:
    """How many normal pixels stand above each query.

    Attributes:
        above: Normal pixels of all images that score higher.
        at_least: Those that score as high or higher.
        at_least_in_normal_images: The same, over images without any anomalous pixel.
    """

    above: Int[np.ndarray, " k"]
    at_least: Int[np.ndarray, " k"]
    at_least_in_normal_images: Int[np.ndarray, " k"]


def collect_anomalous(labelled: LabelledMaps) -> AnomalousPixels:
    """The anomalous pixels, sorted, with their weights in the mean over regions and over images.

    Regions are 8-connected, in each image by itself.

    Args:
        labelled: Maps and masks; at least one pixel is anomalous.
    """
    scores, regions, region_sizes, image_sizes, regions_per_image = [], [], [], [], []
    regions_before = 0
    for anomalous_map, mask in _images_with_defect(labelled):
        pixels = np.flatnonzero(mask)
        regions_here, numbered = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        region = numbered.reshape(-1)[pixels] - 1
        scores.append(as_float(anomalous_map.reshape(-1)[pixels]))
        regions.append(region + regions_before)
        region_sizes.append(np.bincount(region))
        image_sizes.append(pixels.size)
        regions_per_image.append(regions_here - 1)  # OpenCV counts the background as one.
        regions_before += regions_here - 1
    unsorted = np.concatenate(scores)
    require_finite(unsorted, "maps")
    order = np.argsort(unsorted)
    ascending, region_of = unsorted[order], np.concatenate(regions)[order]
    starts = np.concatenate([[0], np.flatnonzero(ascending[1:] != ascending[:-1]) + 1])
    weight_by_region = 1 / (np.concatenate(region_sizes) * regions_before)
    weight_by_image = 1 / (np.array(image_sizes) * len(image_sizes))
    weight_by_image = np.repeat(weight_by_image, regions_per_image)
    return AnomalousPixels(
        scores=ascending[starts],
        pixels=np.diff(starts, append=ascending.size),
        region_share=np.add.reduceat(weight_by_region[region_of], starts),
        image_share=np.add.reduceat(weight_by_image[region_of], starts),
    )


def count_normal(labelled: LabelledMaps, queries: Float[np.ndarray, " k"], threads: int | None) -> NormalCounts:
    """How many normal pixels score above each query, exactly.

    Args:
        labelled: Maps and masks.
        queries: Finite scores of the maps' float type, sorted for speed.
        threads: How many threads sort; all processors if None.
    """
    threads = threads or os.cpu_count() or 1
    above = np.zeros(queries.size, dtype=np.int64)
    at_least = {True: above.copy(), False: above.copy()}
    chunks = list(_chunks(labelled.anomalous_pixels > 0, labelled.size[0] * labelled.size[1], threads))
    with ThreadPoolExecutor(threads) as pool:
        counted = pool.map(partial(_count_chunk, labelled, queries), *zip(*chunks, strict=True))
        for (_, has_defect), (chunk_above, chunk_at_least) in zip(chunks, counted, strict=True):
            above += chunk_above
            at_least[has_defect] += chunk_at_least
    return NormalCounts(
        above=above, at_least=at_least[True] + at_least[False], at_least_in_normal_images=at_least[False]
    )


def _images_with_defect(labelled: LabelledMaps) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Map and mask of every image with an anomalous pixel, in order."""
    images = np.flatnonzero(labelled.anomalous_pixels)
    size = max(1, _CHUNK_PIXELS // (4 * labelled.size[0] * labelled.size[1]))
    for start in range(0, images.size, size):
        chunk = images[start : start + size]
        yield from zip(labelled.maps(chunk), labelled.masks(chunk), strict=True)


def _chunks(
    with_defect: Bool[np.ndarray, " n"], image_pixels: int, threads: int
) -> Iterator[tuple[Int[np.ndarray, " m"], bool]]:
    """Images to sort together and whether they have a defect; no chunk mixes the two kinds."""
    per_thread = -(-with_defect.size // threads)
    size = max(1, min(_CHUNK_PIXELS // image_pixels, per_thread))
    for has_defect in (True, False):
        images = np.flatnonzero(with_defect == has_defect)
        for start in range(0, images.size, size):
            yield images[start : start + size], has_defect


def _count_chunk(
    labelled: LabelledMaps, queries: Float[np.ndarray, " k"], images: Int[np.ndarray, " m"], has_defect: bool
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The counts over some images."""
    values = as_float(labelled.maps(images))
    anomalous = 0
    if has_defect:
        where = labelled.masks(images)
        anomalous = int(np.count_nonzero(where))
        # Below every query they are never counted; cheaper than cutting them out.
        values[where] = -np.inf
    ascending = values.reshape(-1)
    ascending.sort()
    if anomalous < ascending.size:
        # Sorted, so that the ends tell: NaN goes last, and the lowest normal value follows the anomalous pixels.
        require_finite(ascending[[anomalous, -1]], "maps")
    return count_above(ascending, queries)
