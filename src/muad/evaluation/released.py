"""Figures that only the protocol of one data set has: kinds of defect or senses apart, F1 of pixels at a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.datasets.saturation import read_defects
from muad.metrics.collection import ChosenMaps
from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics_of
from muad.metrics.saturated import FPR_LIMIT, SaturatedRegion, saturated_overlap
from muad.metrics.segmentation import SIGMAS, segmentation_f1

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8

    from muad.images.preprocessing import Preprocessing
    from muad.metrics.collection import MapCollection
    from muad.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of a category.

    Attributes:
        records: Its images.
        scores: Of each.
        known: Places of those whose defects are known.
        kept: Maps and masks of these, in their order.
        framing: Brings a mask to where the maps are.
    """

    records: Sequence[Record]
    scores: Float[np.ndarray, " n"]
    known: Int[np.ndarray, " m"]
    kept: MapCollection
    framing: Preprocessing

    @property
    def known_records(self) -> list[Record]:
        """Images whose defects are known, in the order of their maps."""
        return [self.records[place] for place in self.known]


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Further figures of a category, and what the reader should know of them."""

    figures: Mapping[str, float | None]
    notes: tuple[str, ...] = field(default=())


def figures_of_kinds(measured: Measured) -> More:
    """Of every kind of defect beside the good images: AUROC of the image scores, saturated overlap; and their means.

    Defects are brought to the size of the maps; what is enough of one stays the same share of it.

    Raises:
        DataError: A mask or `defects_config.json` cannot be read.
    """
    regions: dict[int, list[SaturatedRegion]] = {}
    hidden = 0
    records = measured.known_records
    for number, record in enumerate(records):
        if record.mask_path is None or record.mask_kind != "regions":
            continue
        for defect in read_defects(record.mask_path):
            region = _on_map(measured, defect.mask.astype(np.uint8) * 255)
            if region is None:
                hidden += 1
                continue
            pixels = int(np.count_nonzero(defect.mask))
            share = defect.saturation.area(pixels) / pixels
            enough = max(1, round(share * int(np.count_nonzero(region))))
            regions.setdefault(number, []).append(SaturatedRegion(mask=region, enough=enough))
    kinds = sorted({record.defect_type for record in measured.records if record.defect_type is not None})
    labels = np.array([record.is_anomalous for record in measured.records])
    auroc: dict[str, float | None] = {}
    overlap: dict[str, float | None] = {}
    for kind in kinds:
        shown = [n for n, record in enumerate(measured.records) if record.defect_type in (None, kind)]
        chosen = [n for n, record in enumerate(records) if record.defect_type in (None, kind)]
        name = kind.removesuffix("_anomalies")
        auroc[f"image_auroc_{name}"] = rank_metrics(labels[shown], measured.scores[shown]).auroc
        overlap[f"pixel_spro_{name}"] = saturated_overlap(measured.kept, regions, chosen)
    figures = {**auroc, "image_auroc_of_kinds": _mean(auroc), **overlap, "pixel_spro": _mean(overlap)}
    notes = [f"pixel_spro: saturated overlap, averaged over false-positive rates up to {FPR_LIMIT}"]
    if hidden:
        notes.append(f"pixel_spro leaves out {hidden} defects that lie where the crop cuts off")
    return More(figures=figures, notes=tuple(notes))


def figures_at_limit(measured: Measured, limit: float | None) -> More:
    """F1 of the pixels at a limit from the validation images, of all images and of those of each light.

    Args:
        measured: Of a category.
        limit: From the maps of its validation images; None without any.
    """
    if limit is None:
        reason = "there are no validation images to take the limit from"
        return More(figures={"pixel_seg_f1": None}, notes=(f"pixel_seg_f1 undefined: {reason}",))
    records = measured.known_records
    figures = {"pixel_seg_f1": segmentation_f1(measured.kept, range(len(records)), limit)}
    for light in sorted({record.light for record in records if record.light is not None}):
        chosen = [number for number, record in enumerate(records) if record.light == light]
        figures[f"pixel_seg_f1_{light}"] = segmentation_f1(measured.kept, chosen, limit)
    note = f"pixel_seg_f1: at {limit:.6g}, the mean of the validation maps and {SIGMAS:g} standard deviations"
    return More(figures=figures, notes=(note,))


def figures_of_senses(measured: Measured) -> More:
    """Of parts, whose score is the sum of those of their images, anomalous if one of these is; pixels sense by sense.

    References:
        Guo et al., Dinomaly2, arXiv:2510.17611, and its preview code for MulSen-AD.
    """
    parts: dict[str, list[int]] = {}
    for place, record in enumerate(measured.records):
        parts.setdefault(record.object_id or record.path.as_posix(), []).append(place)
    whole = max(map(len, parts.values()), default=0)
    complete = [own for own in parts.values() if len(own) == whole]
    labels = [any(measured.records[place].is_anomalous for place in own) for own in complete]
    ranks = rank_metrics(labels, [float(measured.scores[own].sum()) for own in complete])
    figures = {"object_auroc": ranks.auroc, "object_ap": ranks.average_precision, "object_f1_max": ranks.f1_max}
    records = measured.known_records
    for sense in sorted({record.view for record in records if record.view is not None}):
        chosen = np.array([number for number, record in enumerate(records) if record.view == sense])
        found = pixel_metrics_of(ChosenMaps(measured.kept, chosen), aupro="thresholds_200")
        figures |= {f"pixel_auroc_{sense}": found.auroc, f"pixel_ap_{sense}": found.average_precision}
        figures |= {f"pixel_f1_max_{sense}": found.f1_max, f"pixel_aupro_{sense}": found.aupro}
    notes = [f"object_auroc and so on: of {len(complete)} parts, whose score is the sum of those of {whole} images"]
    if len(complete) < len(parts):
        notes.append(f"they leave out {len(parts) - len(complete)} parts with fewer images")
    return More(figures=figures, notes=tuple(notes))


def _on_map(measured: Measured, mask: UInt8[np.ndarray, "H W"]) -> np.ndarray | None:
    """The map pixels of which a defect covers half, or of a smaller one the pixel it covers most; None if cut off."""
    rows, columns = measured.kept.size
    covered = cv2.resize(measured.framing.view(mask).astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    if covered.max() <= 0:
        return None
    region: np.ndarray = covered >= min(127.5, float(covered.max()))
    return region


def _mean(values: Mapping[str, float | None]) -> float | None:
    """Of those that are defined."""
    known = [value for value in values.values() if value is not None]
    return float(np.mean(known)) if known else None
