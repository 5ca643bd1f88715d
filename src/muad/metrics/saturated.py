"""Saturated per-region overlap: a defect counts as found once enough of it is, whatever else of it might be.

Where a part is missing, any of the places it could have taken may be marked. So each defect has an area that is enough;
finding more counts no further. With that area equal to the defect's own, this is AUPRO over defects.

References:
    Bergmann et al., Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and
    Localization, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.errors import ConfigError
from muad.metrics.inputs import MetricInputError, as_float, require_finite
from muad.metrics.overlap import exact_aupro
from muad.metrics.ranking import count_above

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from muad.metrics.collection import LabelledMaps

FPR_LIMIT = 0.05
"""Largest false-positive rate looked at, unless said: that of the authors' tables."""
_AT_ONCE = 16  # images whose pixels are sorted together


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedRegion:
    """A defect on a map.

    Attributes:
        mask: True at its pixels, at least one.
        enough: Pixels of it that are enough, at least one.
    """

    mask: Bool[np.ndarray, "H W"]
    enough: int


def saturated_overlap(
    labelled: LabelledMaps,
    regions: Mapping[int, Sequence[SaturatedRegion]],
    images: Sequence[int],
    *,
    fpr_limit: float = FPR_LIMIT,
) -> float | None:
    """Mean saturated overlap of the defects, averaged over false-positive rates from 0 to the limit; exact.

    Every distinct score is a threshold, and the curve is interpolated at the limit. A pixel is normal if it is of no
    defect.

    Args:
        labelled: Anomaly maps; what their masks say does not count.
        regions: The defects of each image that has any, by its number.
        images: Numbers of the images to look at.
        fpr_limit: Largest false-positive rate, in (0, 1].

    Returns:
        The area in [0, 1]; None without a defect or without a normal pixel.

    Raises:
        ConfigError: The limit is out of range.
        MetricInputError: A map is not finite, or a defect is empty or of another size.
    """
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"fpr_limit must be in (0, 1], got {fpr_limit}. The usual limit is {FPR_LIMIT}.")
    parts = [_shares(labelled, image, region) for image in images for region in regions.get(image, ())]
    found = [part for part in parts if part is not None]
    if not found:
        return None
    scores, places = np.unique(np.concatenate([part[0] for part in found]), return_inverse=True)
    shares = np.bincount(places, weights=np.concatenate([part[1] for part in found])) / len(found)
    above, at_least, normal = np.zeros(scores.size, np.int64), np.zeros(scores.size, np.int64), 0
    for begin in range(0, len(images), _AT_ONCE):
        ascending = _normal(labelled, regions, images[begin : begin + _AT_ONCE])
        higher, as_high = count_above(ascending, scores)
        above, at_least, normal = above + higher, at_least + as_high, normal + ascending.size
    if not normal:
        return None
    return exact_aupro(above / normal, at_least / normal, shares, fpr_limit)


def _shares(
    labelled: LabelledMaps, image: int, region: SaturatedRegion
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]] | None:
    """Distinct scores of a defect, ascending, and what each adds to its overlap; None where nothing was inspected."""
    anomaly_map = labelled.maps(np.array([image]))[0]
    if region.mask.shape != anomaly_map.shape or not region.mask.any() or region.enough < 1:
        raise MetricInputError(
            f"defects must have at least one pixel and one that is enough, on maps of {anomaly_map.shape}, got "
            f"{int(region.mask.sum())} and {region.enough} on {region.mask.shape}. Bring them to the maps' size."
        )
    values = as_float(anomaly_map[region.mask])
    if labelled.partial:
        values = values[~np.isnan(values)]
    if not values.size:
        return None
    require_finite(values, "maps")
    scores, counts = np.unique(values, return_counts=True)
    enough = min(region.enough, values.size)
    found = np.minimum(np.cumsum(counts[::-1])[::-1], enough) / enough  # at and above each score
    return scores, found - np.append(found[1:], 0)


def _normal(
    labelled: LabelledMaps, regions: Mapping[int, Sequence[SaturatedRegion]], images: Sequence[int]
) -> Float[np.ndarray, " m"]:
    """Scores of the normal pixels of some images, sorted."""
    maps = as_float(labelled.maps(np.array(images)))
    normal = np.ones(maps.shape, bool)
    for row, image in enumerate(images):
        for region in regions.get(image, ()):
            normal[row] &= ~region.mask
    values = maps[normal]
    if labelled.partial:
        values = values[~np.isnan(values)]
    require_finite(values, "maps")
    ascending: np.ndarray = np.sort(values)
    return ascending
