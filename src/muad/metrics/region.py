"""How well anomaly maps find defects: AUROC, AP and best F1 over pixels, AUPRO over regions, AUPIMO over images.

All come from the same counts: `counting` holds the one sort, `ranking` and `overlap` the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from muad.errors import ConfigError
from muad.metrics.collection import ArrayMaps, LabelledMaps
from muad.metrics.counting import count_in_bands
from muad.metrics.inputs import MetricInputError, as_float, as_scores, as_truth, require_same_shape
from muad.metrics.overlap import aupimo, coarse_aupro, coarse_overlap, coarse_thresholds, exact_aupro
from muad.metrics.ranking import RankCounts, RankSums

AuproDefinition = Literal["exact", "thresholds_200"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMetrics:
    """Threshold-free quality of anomaly maps, in [0, 1]; None where undefined.

    Attributes:
        auroc: Chance that an anomalous pixel scores above a normal one, ties counted as half.
        average_precision: Precision averaged over the recall steps (no interpolation).
        f1_max: Largest F1 over all thresholds.
        f1_max_threshold: The lowest score at which it is reached; anomalous means score >= threshold.
        aupro: Mean share of each defect region found, averaged over false-positive rates up to the limit.
        aupimo: Mean share of each image's defect found, averaged over the logarithm of the false-positive rate on
            normal images, from 1e-5 to 1e-4.
        reasons: Why, for each metric (by its name here) that is None.
    """

    auroc: float | None = None
    average_precision: float | None = None
    f1_max: float | None = None
    f1_max_threshold: float | None = None
    aupro: float | None = None
    aupimo: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def pixel_metrics(
    maps: ArrayLike,
    masks: ArrayLike | None,
    *,
    fpr_limit: float = 0.3,
    aupro: AuproDefinition = "exact",
    threads: int | None = None,
) -> PixelMetrics:
    """All pixel metrics of a category from one sort, exact, ties included.

    The maps are read in chunks, so a memory-mapped array will do; a thread holds about 100 MB.

    Args:
        maps: Anomaly maps, shape (n, H, W); higher means more anomalous; any finite values. CPU tensors are accepted.
        masks: True (or 1) at anomalous pixels, of the maps' shape; None where the category has no masks.
        fpr_limit: Largest false-positive rate AUPRO looks at, in (0, 1].
        aupro: `exact`: every threshold, interpolated at the limit, as MVTec AD defines it. `thresholds_200`: as the
            authors of Dinomaly compute it, for comparison with their tables.
        threads: How many threads sort; all processors if None. The result does not depend on it.

    Returns:
        The metrics, with the reason for each that is undefined.

    Raises:
        ConfigError: A setting is outside what is allowed.
        MetricInputError: Shapes differ, masks are not two-valued, or a map is not finite.
    """
    _check_settings(fpr_limit, aupro, threads)
    values = as_scores(maps, "maps")
    if values.ndim != 3 or values[:1].size == 0:
        raise MetricInputError(f"maps must be of shape (n, H, W), none of them 0, got {values.shape}. Stack the maps.")
    if masks is None:
        return _undefined("there are no masks")
    truth = as_truth(masks, "masks")
    require_same_shape(values, "maps", truth, "masks")
    return pixel_metrics_of(ArrayMaps(values, truth), fpr_limit=fpr_limit, aupro=aupro, threads=threads)


def pixel_metrics_of(
    labelled: LabelledMaps,
    *,
    fpr_limit: float = 0.3,
    aupro: AuproDefinition = "exact",
    threads: int | None = None,
) -> PixelMetrics:
    """The same of maps that are not all in memory, which are looked at chunk by chunk, at least twice.

    Args:
        labelled: Maps and masks of a category.
        fpr_limit: As above.
        aupro: As above.
        threads: As above.

    Raises:
        ConfigError: A setting is outside what is allowed.
        MetricInputError: A map is not finite.
    """
    _check_settings(fpr_limit, aupro, threads)
    counts = labelled.anomalous_pixels
    if not counts.size:
        return _undefined("there are no masks")
    if not counts.any():
        return _undefined("no pixel is anomalous")
    if (counts == labelled.inspected_pixels).all():
        return _undefined("no pixel is normal")
    return _defined_metrics(labelled, fpr_limit=fpr_limit, definition=aupro, threads=threads)


def _check_settings(fpr_limit: float, aupro: AuproDefinition, threads: int | None) -> None:
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"fpr_limit must be in (0, 1], got {fpr_limit}. The usual limit is 0.3.")
    if aupro not in get_args(AuproDefinition):
        choices = " or ".join(get_args(AuproDefinition))
        raise ConfigError(f"aupro must be {choices}, got {aupro!r}. The MVTec AD definition is exact.")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}. Leave it out to use all processors.")


def _undefined(reason: str) -> PixelMetrics:
    """All metrics None, for one reason."""
    names = ("auroc", "average_precision", "f1_max", "f1_max_threshold", "aupro", "aupimo")
    return PixelMetrics(reasons=dict.fromkeys(names, reason))


def _defined_metrics(
    labelled: LabelledMaps, *, fpr_limit: float, definition: AuproDefinition, threads: int | None
) -> PixelMetrics:
    """The metrics where both anomalous and normal pixels occur, summed up over bands of scores, the highest first."""
    per_image, inspected = labelled.anomalous_pixels, labelled.inspected_pixels
    normal = int(inspected.sum() - per_image.sum())
    in_normal_images = int(inspected[per_image == 0].sum())
    ranks = RankSums(anomalous=int(per_image.sum()), normal=normal)
    dtype = as_float(labelled.maps(np.array([0]))).dtype
    coarse = definition == "thresholds_200"
    thresholds = coarse_thresholds(labelled.extremes(), dtype) if coarse else np.empty(0, dtype)
    rates, overlap = np.zeros(thresholds.size), np.zeros(thresholds.size)
    area = area_per_image = 0.0
    # The coarse thresholds ride along as further queries of the same pass.
    for anomalous, counts, places in count_in_bands(labelled, thresholds, threads):
        scores, own = anomalous.scores, slice(anomalous.scores.size)
        above, at_least = counts.above[own], counts.at_least[own]
        ranks.add(RankCounts(scores=scores, anomalous=anomalous.pixels, normal_above=above, normal_from=at_least))
        area += exact_aupro(above / normal, at_least / normal, anomalous.region_share, fpr_limit)
        rates[places] = counts.above[scores.size :] / normal
        overlap += coarse_overlap(thresholds, scores, anomalous.region_share)
        if in_normal_images:
            reached = counts.at_least_in_normal_images[own] / in_normal_images
            area_per_image += aupimo(reached, anomalous.image_share)
    coarse_area = coarse_aupro(rates, overlap, fpr_limit)
    reasons = {}
    if coarse and coarse_area is None:
        reasons["aupro"] = f"fewer than two of 200 thresholds, or none above 0, have a rate below {fpr_limit}"
    if not in_normal_images:
        reasons["aupimo"] = "every image has an anomalous pixel"
    found = ranks.metrics()
    return PixelMetrics(
        auroc=found.auroc,
        average_precision=found.average_precision,
        f1_max=found.f1_max,
        f1_max_threshold=found.f1_max_threshold,
        aupro=coarse_area if coarse else area,
        aupimo=area_per_image if in_normal_images else None,
        reasons=reasons,
    )
