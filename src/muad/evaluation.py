"""Figures of a detector on a labelled data set, under a named protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F

from muad.data.images import read_pair
from muad.data.loading import read_ahead
from muad.errors import ConfigError, DataError
from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics
from muad.metrics.report import CategoryReport, Report

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

    from muad.data.transforms import Preprocessing
    from muad.detectors.base import Scorer
    from muad.types import Record

Progress = Callable[[int, int], None]
OnScores = Callable[[Sequence["Record"], np.ndarray], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a table of figures is defined by, besides the detector's own map.

    Attributes:
        name: What `--protocol` takes and `evaluation.json` records.
        defect_pixel: `any`: a map pixel is defect if a trace of the mask reaches it, as in the authors' code;
            `half`: if at least half of it is covered.
        aupro: Exact area, or the authors' 200 thresholds.
        meaning: One line for people.
    """

    name: str
    defect_pixel: Literal["any", "half"]
    aupro: Literal["exact", "thresholds_200"]
    meaning: str


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="dinomaly",
            defect_pixel="any",
            aupro="thresholds_200",
            meaning="as published: 256 x 256 maps of the view, any trace of mask counts, AUPRO by 200 thresholds",
        ),
        Protocol(
            name="exact",
            defect_pixel="half",
            aupro="exact",
            meaning="same maps, a pixel is defect if half of it is, AUPRO exact as MVTec AD defines it",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}.")
    return PROTOCOLS[name]


def evaluate_detector(
    detector: Scorer,
    records: Sequence[Record],
    *,
    protocol: str = "dinomaly",
    batch_size: int = 16,
    progress: Progress | None = None,
    on_scores: OnScores | None = None,
) -> Report:
    """Metrics of every category in the test records and their mean.

    Args:
        detector: Trained, on the device to compute on.
        records: Test images, normal and anomalous, of any number of categories.
        protocol: A name of `PROTOCOLS`.
        batch_size: Images per forward pass.
        progress: Called with images done and in all.
        on_scores: Called with the records of each category and their scores.

    Raises:
        ConfigError: Unknown protocol.
        DataError: No test images, an unreadable file, or a mask of another size than its image.
    """
    rules = find_protocol(protocol)
    records = [record for record in records if record.split == "test"]
    if not records:
        raise DataError("data must hold test images to evaluate on, got none. Name a data set with a test split.")
    categories = sorted({record.category for record in records})
    reports, done = {}, 0
    for category in categories:
        chosen = [record for record in records if record.category == category]
        maps, masks, scores = [], [], []
        for views, view_masks in _batches(chosen, detector.preprocessing, batch_size):
            anomaly_maps, batch_scores = predict_views(detector, views)
            maps.append(anomaly_maps)
            scores.append(batch_scores)
            masks.append(ground_truth(view_masks, anomaly_maps.shape[1:], rules.defect_pixel))
            done += len(views)
            if progress is not None:
                progress(done, len(records))
        if on_scores is not None:
            on_scores(chosen, np.concatenate(scores))
        reports[category] = _category_report(chosen, np.concatenate(scores), maps, masks, rules)
    return Report(protocol=rules.name, categories=reports, images=len(records))


def predict_views(
    detector: Scorer, views: UInt8[np.ndarray, "b H W 3"]
) -> tuple[Float[np.ndarray, "b h w"], Float[np.ndarray, " b"]]:
    """Anomaly maps and scores of preprocessed images, on the detector's device."""
    prediction = detector.predict(detector.preprocessing.normalise(views).to(detector.device))
    return prediction.anomaly_map.float().cpu().numpy(), prediction.score.float().cpu().numpy()


def ground_truth(
    masks: UInt8[np.ndarray, "b H W"], size: tuple[int, int], defect_pixel: Literal["any", "half"]
) -> Bool[np.ndarray, "b h w"]:
    """Masks of the view, 0 to 255, as the defect pixels of maps of the given size.

    `any` samples the nearest mask pixel by PyTorch's rule, then takes everything above zero: the authors' choice, which
    dilates defects by about a pixel because the mask was resized bilinearly before. `half` averages over the pixel.
    """
    tensor = torch.from_numpy(masks)[:, None].float()
    if defect_pixel == "any":
        return F.interpolate(tensor, size, mode="nearest")[:, 0].numpy() > 0
    return F.adaptive_avg_pool2d((tensor >= 128).float(), size)[:, 0].numpy() >= 0.5


def _batches(
    records: Sequence[Record], preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W"]]]:
    def read(record: Record) -> tuple[np.ndarray, np.ndarray]:
        image, mask = read_pair(record)
        view = preprocessing.view(image, f"image {record.path}")
        return view, np.zeros(view.shape[:2], np.uint8) if mask is None else preprocessing.view(mask)

    pending = []
    for item in read_ahead(read, records, ahead=2 * batch_size):
        pending.append(item)
        if len(pending) == batch_size:
            yield np.stack([view for view, _ in pending]), np.stack([mask for _, mask in pending])
            pending = []
    if pending:
        yield np.stack([view for view, _ in pending]), np.stack([mask for _, mask in pending])


def _category_report(
    records: Sequence[Record],
    scores: Float[np.ndarray, " n"],
    maps: Sequence[Float[np.ndarray, "b h w"]],
    masks: Sequence[Bool[np.ndarray, "b h w"]],
    rules: Protocol,
) -> CategoryReport:
    """Image metrics on all images; pixel metrics on those whose defect pixels are known."""
    labels = np.array([record.is_anomalous for record in records])
    known = np.array([not record.is_anomalous or record.mask_path is not None for record in records])
    pixel = pixel_metrics(np.concatenate(maps)[known], np.concatenate(masks)[known], aupro=rules.aupro)
    report = CategoryReport.of(rank_metrics(labels, scores), pixel, len(records))
    if known.all():
        return report
    left_out = f"pixel metrics leave out {int((~known).sum())} anomalous images without a mask"
    return dataclasses.replace(report, notes=(left_out, *report.notes))
