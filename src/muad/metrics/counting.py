"""The one sort behind all pixel metrics: anomalous pixels sorted once, normal pixels counted against them.

Only about two pixels in a hundred are anomalous, and every curve changes only at their scores. The normal pixels are
sorted chunk by chunk, in threads (numpy lets go of the interpreter while it sorts), and forgotten once counted.

Where even the anomalous pixels are many, the scores are cut into bands, and one band is looked at after the other: more
looks at the maps, but no more memory, and each pixel is still sorted once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from muad.metrics.inputs import as_float, require_finite
from muad.metrics.memory import return_freed_memory
from muad.metrics.ranking import count_above
from muad.threads import usable_cores

if TYPE_CHECKING:
    from muad.metrics.collection import LabelledMaps

# 256 maps of 256x256, 64 MiB a thread in float32. Larger chunks need fewer searches but more memory.
_CHUNK_PIXELS = 1 << 24
# Anomalous pixels held at a time, at about 100 bytes each.
_BAND_PIXELS = 1 << 21
# Of these, how many are sampled to choose the bands by.
_SAMPLE = 1 << 16
# Scores looked up at a time, so that what the search returns stays small.
_QUERIES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Scores from `low` up to, but without, `high`."""

    low: float
    high: float

    @property
    def is_everything(self) -> bool:
        """Whether no score lies outside."""
        return self.low == -np.inf and self.high == np.inf

    def holds(self, scores: Float[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
        """Which scores lie in it; NaN never does."""
        inside: np.ndarray = scores >= self.low
        inside &= scores < self.high
        return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalousPixels:
    """The anomalous pixels of a band, one entry per distinct score, ascending.

    Attributes:
        scores: The distinct scores.
        pixels: How many pixels have that score.
        region_share: What those pixels add to the mean share of each region found; sums to 1 over all bands.
        image_share: What they add to the mean share of each image's defect found; sums to 1 over all bands.
    """

    scores: Float[np.ndarray, " k"]
    pixels: Int[np.ndarray, " k"]
    region_share: Float[np.ndarray, " k"]
    image_share: Float[np.ndarray, " k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalCounts:
    """How many normal pixels stand above each query of a band, those of higher bands included.

    Attributes:
        above: Normal pixels of all images that score higher.
        at_least: Those that score as high or higher.
        at_least_in_normal_images: The same, over images without any anomalous pixel.
    """

    above: Int[np.ndarray, " k"]
    at_least: Int[np.ndarray, " k"]
    at_least_in_normal_images: Int[np.ndarray, " k"]


def count_in_bands(
    labelled: LabelledMaps, thresholds: Float[np.ndarray, " t"], threads: int | None
) -> Iterator[tuple[AnomalousPixels, NormalCounts, Int[np.ndarray, " s"]]]:
    """Everything the metrics are made of, exactly, one band of scores after the other, the highest first.

    Args:
        labelled: Maps and masks; at least one pixel is anomalous.
        thresholds: Further scores to count at, of the maps' float type.
        threads: How many threads sort; all processors if None.

    Yields:
        The anomalous pixels; counts at their scores, then at the thresholds of the band; places of these thresholds.
    """
    threads = threads or usable_cores().threads
    higher, higher_in_normal_images = 0, 0
    with ThreadPoolExecutor(threads) as pool:  # one for all bands: new threads would take new memory
        for band in score_bands(labelled):
            anomalous = collect_anomalous(labelled, band)
            return_freed_memory()  # what collecting left would lie beside what counting takes
            places = np.flatnonzero(band.holds(thresholds))
            counter = _NormalCounter(labelled, np.concatenate([anomalous.scores, thresholds[places]]), band)
            for _ in pool.map(counter.count, _chunks(labelled, threads)):
                pass  # raises what a chunk has raised
            in_normal_images = counter.at_least[False] + higher_in_normal_images
            counts = NormalCounts(
                above=counter.above + higher,
                at_least=counter.at_least[True] + counter.at_least[False] + higher,
                at_least_in_normal_images=in_normal_images,
            )
            higher += counter.total[True] + counter.total[False]
            higher_in_normal_images += counter.total[False]
            del counter
            yield anomalous, counts, places
            del anomalous, counts


def score_bands(labelled: LabelledMaps) -> list[Band]:
    """Bands of few enough anomalous pixels, the highest scores first; each holds at least one.

    Args:
        labelled: Maps and masks; at least one pixel is anomalous.
    """
    total = int(labelled.anomalous_pixels.sum())
    wanted = -(-total // _BAND_PIXELS)
    edges: list[float] = []
    if wanted > 1:
        require_finite(np.array(labelled.extremes()), "maps")
        sample = _every_so_many(labelled, max(1, total // _SAMPLE))
        cuts = sample[[len(sample) * part // wanted for part in range(1, wanted)]]
        edges = [float(edge) for edge in np.unique(cuts[cuts > sample[0]])]
    limits = [-np.inf, *edges, np.inf]
    return [Band(low=low, high=high) for low, high in reversed(list(pairwise(limits)))]


def collect_anomalous(labelled: LabelledMaps, band: Band) -> AnomalousPixels:
    """The anomalous pixels of a band, sorted, with their weights in the mean over regions and over images.

    Regions are 8-connected, in each image by itself.

    Args:
        labelled: Maps and masks.
        band: One of `score_bands`.
    """
    scores, regions, region_sizes, image_sizes, regions_per_image = [], [], [], [], []
    regions_before = 0
    for anomaly_map, mask in _with_defect(labelled):
        pixels = np.flatnonzero(mask)
        regions_here, numbered = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        region = numbered.reshape(-1)[pixels] - 1
        found = as_float(anomaly_map.reshape(-1)[pixels])
        inside = slice(None) if band.is_everything else band.holds(found)
        scores.append(found[inside])
        regions.append(region[inside] + np.int32(regions_before))
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


def _every_so_many(labelled: LabelledMaps, stride: int) -> Float[np.ndarray, " m"]:
    """Scores of every so many-th anomalous pixel, counted through all images, sorted."""
    sample, begin = [], 0
    for anomaly_map, mask in _with_defect(labelled):
        scores = anomaly_map[mask]
        sample.append(as_float(scores[begin::stride]))
        begin = (begin - scores.size) % stride
    return np.sort(np.concatenate(sample))


def _with_defect(labelled: LabelledMaps) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Map and mask of every image with an anomalous pixel, in order."""
    images = np.flatnonzero(labelled.anomalous_pixels)
    size = max(1, _CHUNK_PIXELS // (4 * labelled.size[0] * labelled.size[1]))
    for start in range(0, images.size, size):
        chunk = images[start : start + size]
        yield from zip(labelled.maps(chunk), labelled.masks(chunk), strict=True)


def _chunks(labelled: LabelledMaps, threads: int) -> Iterator[tuple[Int[np.ndarray, " m"], bool]]:
    """Images to sort together and whether they have a defect; no chunk mixes the two kinds."""
    with_defect = labelled.anomalous_pixels > 0
    per_thread = -(-with_defect.size // threads)
    size = max(1, min(_CHUNK_PIXELS // (labelled.size[0] * labelled.size[1]), per_thread))
    for has_defect in (True, False):
        images = np.flatnonzero(with_defect == has_defect)
        for start in range(0, images.size, size):
            yield images[start : start + size], has_defect


class _NormalCounter:
    """Adds up, chunk by chunk and from several threads, how many normal pixels of a band stand above each query."""

    def __init__(self, labelled: LabelledMaps, queries: Float[np.ndarray, " k"], band: Band) -> None:
        self.labelled, self.queries, self.band = labelled, queries, band
        self.above = np.zeros(queries.size, dtype=np.int64)
        self.at_least = {True: self.above.copy(), False: self.above.copy()}  # by whether the image has a defect
        self.total = {True: 0, False: 0}
        self._adding = Lock()

    def count(self, chunk: tuple[Int[np.ndarray, " m"], bool]) -> None:
        """Add the counts of some images."""
        images, has_defect = chunk
        values = as_float(self.labelled.maps(images))
        anomalous = 0
        if has_defect:
            where = self.labelled.masks(images)
            anomalous = int(np.count_nonzero(where))
            # Below every query, or in no band, they are never counted; cheaper than cutting them out.
            values[where] = -np.inf if self.band.is_everything and not self.labelled.partial else np.nan
        if self.labelled.partial and self.band.is_everything:
            ascending, anomalous = values[~np.isnan(values)], 0
        elif self.band.is_everything:
            ascending = values.reshape(-1)
        else:
            ascending, anomalous = values[self.band.holds(values)], 0
        del values
        ascending.sort()
        if anomalous < ascending.size:
            # Sorted, so that the ends tell: NaN goes last, and the lowest normal value follows the anomalous pixels.
            require_finite(ascending[[anomalous, -1]], "maps")
        for start in range(0, self.queries.size, _QUERIES):
            some = slice(start, start + _QUERIES)
            above, at_least = count_above(ascending, self.queries[some])
            with self._adding:
                self.above[some] += above
                self.at_least[has_defect][some] += at_least
        with self._adding:
            self.total[has_defect] += ascending.size - anomalous
