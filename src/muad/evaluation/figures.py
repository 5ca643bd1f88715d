"""Figures of a detector on a labelled data set, under a named protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from muad.errors import ConfigError, DataError
from muad.evaluation.released import Measured, figures_at_limit, figures_of_kinds, figures_of_senses
from muad.images.loading import read_ahead
from muad.images.preprocessing import Preprocessing
from muad.images.reading import read_mask, read_truth
from muad.metrics.collection import MapCollection
from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics_of
from muad.metrics.report import CategoryReport, Report
from muad.metrics.segmentation import PixelLimit
from muad.runtime.views import (
    ImageViews,
    ViewScores,
    images_at_once,
    inspected_values,
    original_map,
    predict_images,
    predict_views,
    view_image,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8

    from muad.evaluation.objects import ObjectCollection
    from muad.runtime.views import Scorer
    from muad.types import Record

Progress = Callable[[int, int], None]
OnScores = Callable[[Sequence["Record"], np.ndarray], None]
Change = Callable[["Record", np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a table of figures is defined by, besides the detector's own map.

    Attributes:
        name: What `--protocol` takes and `evaluation.json` records.
        defect_pixel: `any`: a map pixel is defect if a trace of the mask reaches it, as in the authors' code;
            `half`: if at least half of it is covered.
        aupro: Exact area, or the authors' 200 thresholds.
        meaning: One line for people.
        fpr_limit: Largest false-positive rate AUPRO looks at.
        more: What else is measured: `kinds`: every kind of defect apart, and saturated overlap; `limit`: F1 of pixels
            at a limit from the validation images; `senses`: parts by the sum of their images' scores, pixels of each
            sense apart.
        layout: The layout of data sets it is for, where it is for one.
    """

    name: str
    defect_pixel: Literal["any", "half"]
    aupro: Literal["exact", "thresholds_200"]
    meaning: str
    fpr_limit: float = 0.3
    more: Literal["", "kinds", "limit", "senses"] = ""
    layout: str = ""


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
        Protocol(
            name="mvtec_loco",
            defect_pixel="half",
            aupro="exact",
            meaning="as exact; logical and structural anomalies apart, saturated overlap up to a rate of 0.05",
            more="kinds",
            layout="mvtec_loco",
        ),
        Protocol(
            name="mvtec_ad_2",
            defect_pixel="half",
            aupro="exact",
            meaning="as exact, AUPRO up to 0.05; F1 of pixels at mean + 3 standard deviations of the validation maps",
            fpr_limit=0.05,
            more="limit",
            layout="mvtec_ad_2",
        ),
        Protocol(
            name="mulsen_ad",
            defect_pixel="any",
            aupro="thresholds_200",
            meaning="as dinomaly; parts by the sum of the scores of their images, pixels of colour and infrared apart",
            more="senses",
            layout="mulsen_ad",
        ),
    )
}


ProtocolName = Literal["auto", "dinomaly", "exact", "mvtec_loco", "mvtec_ad_2", "mulsen_ad"]


def find_protocol(name: str, layout: str = "") -> Protocol:
    """The protocol of that name; of `auto`, the one for data of a layout, else that of Dinomaly.

    Raises:
        ConfigError: There is none.
    """
    if name == "auto":
        own = (protocol for protocol in PROTOCOLS.values() if protocol.layout and protocol.layout == layout)
        return next(own, PROTOCOLS["dinomaly"])
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of auto, {', '.join(PROTOCOLS)}, got {name!r}.")
    return PROTOCOLS[name]


def evaluate_detector(
    detector: Scorer,
    records: Sequence[Record],
    *,
    protocol: str = "dinomaly",
    batch_size: int = 16,
    progress: Progress | None = None,
    on_scores: OnScores | None = None,
    change: Change | None = None,
    validation: Sequence[Record] = (),
    objects: ObjectCollection | None = None,
) -> Report:
    """Metrics of every category in the test records and their mean.

    Args:
        detector: Trained, on the device to compute on.
        records: Test images, normal and anomalous, of any number of categories.
        protocol: A name of `PROTOCOLS`.
        batch_size: Images per forward pass.
        progress: Called with images done and in all.
        on_scores: Called with the records of each category and their scores.
        validation: Good images, neither trained on nor tested, from which a protocol's limit comes.
        change: Makes of a photograph and its mask those to evaluate on; called by several threads. None for as they
            are.
        objects: Told of every photograph, where figures of parts that several of them show are wanted.

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
        chosen, outside = _with_something_to_find(
            [record for record in records if record.category == category], detector.preprocessing
        )
        done += len(outside)
        known = np.array([not record.is_anomalous or record.mask_path is not None for record in chosen])
        scores: list[float] = []
        with MapCollection(detector.expand_grids, partial=not detector.preprocessing.is_plain) as kept:
            for images, image_masks in _batches(chosen, detector.preprocessing, batch_size, change):
                prediction, values = _predict(detector, images, batch_size)
                maps, grids = prediction.maps, prediction.grids
                if objects is not None:
                    judged = chosen[len(scores) : len(scores) + len(images)]
                    objects.add(judged, prediction.scores.tolist(), values, whole=_whole(detector.preprocessing, maps))
                rows = known[len(scores) : len(scores) + len(images)]
                masks = ground_truth(image_masks[rows], maps.shape[1:], rules.defect_pixel)
                kept.add(maps[rows], masks, None if grids is None else grids[rows])
                scores.extend(prediction.scores.tolist())
                done += len(images)
                if progress is not None:
                    progress(done, len(records))
            image_scores = np.array(scores, np.float32)
            if on_scores is not None:
                on_scores(chosen, image_scores)
            report = _category_report(chosen, image_scores, kept, outside, rules)
            if rules.more and change is None:  # what a defect is comes from its files
                own = Measured(
                    kept=kept,
                    records=chosen,
                    scores=image_scores,
                    known=np.flatnonzero(known),
                    framing=_framing(detector.preprocessing),
                )
                if rules.more == "limit":
                    good = [record for record in validation if record.category == category]
                    more = figures_at_limit(own, _limit(detector, good, batch_size))
                else:
                    more = figures_of_kinds(own) if rules.more == "kinds" else figures_of_senses(own)
                report = dataclasses.replace(report, more=more.figures, notes=(*report.notes, *more.notes))
            reports[category] = report
    return Report(protocol=rules.name, categories=reports, images=len(records))


def ground_truth(
    masks: UInt8[np.ndarray, "b H W"], size: tuple[int, int], defect_pixel: Literal["any", "half"]
) -> Bool[np.ndarray, "b h w"]:
    """Masks of the view, 0 to 255, as the defect pixels of maps of the given size.

    `any` samples the nearest mask pixel by PyTorch's rule, then takes everything above zero: the authors' choice, which
    dilates defects by about a pixel because the mask was resized bilinearly before. `half` averages over the pixel.
    """
    if defect_pixel == "any":
        rows, columns = (_nearest(whole, cells) for whole, cells in zip(masks.shape[1:], size, strict=True))
        return masks[:, rows[:, None], columns] > 0
    return np.stack([_half_covered(mask >= 128, size) for mask in masks]) if len(masks) else np.empty((0, *size), bool)


def _nearest(whole: int, cells: int) -> Int[np.ndarray, " cells"]:
    """Which of the pixels along a side each cell takes, in the single precision PyTorch computes it in."""
    step = np.float32(whole) / np.float32(cells)
    return np.minimum((np.arange(cells, dtype=np.float32) * step).astype(np.int64), whole - 1)


def _half_covered(defect: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Cells of which at least half is defect; a cell takes every pixel it touches, as PyTorch's adaptive pooling."""
    table = cv2.integral(defect.view(np.uint8))
    (top, bottom), (left, right) = (
        (np.arange(cells) * whole // cells, -(-(np.arange(cells) + 1) * whole // cells))
        for whole, cells in zip(defect.shape, size, strict=True)
    )
    strips = table[bottom] - table[top]
    covered = strips[:, right] - strips[:, left]
    half: np.ndarray = 2 * covered >= (bottom - top)[:, None] * (right - left)
    return half


def _predict(
    detector: Scorer, images: Sequence[ImageViews], batch_size: int
) -> tuple[ViewScores, list[Float[np.ndarray, " m"]]]:
    """What a detector says of images: a map of the view where that is the image, else of the whole of it.

    Also, of each image, the values of the detector's own maps that count.
    """
    preprocessing = detector.preprocessing
    if preprocessing.is_plain:
        categories = [image.category for image in images for _ in image.views]
        plain = predict_views(detector, np.concatenate([image.views for image in images]), categories)
        return plain, list(plain.maps.reshape(len(plain.maps), -1))
    found = predict_images(detector, images, batch_size)
    maps = [
        original_map(preprocessing, image, one, (one.maps.shape[1], one.maps.shape[2]))
        for one, image in zip(found, images, strict=True)
    ]
    values = [inspected_values(preprocessing, image, one) for one, image in zip(found, images, strict=True)]
    return ViewScores(maps=np.stack(maps), scores=np.array([one.score for one in found], np.float32)), values


def _whole(preprocessing: Preprocessing, maps: Float[np.ndarray, "b H W"]) -> int:
    """How many values the detector's own maps of an image have, all tiles together."""
    return int(maps.shape[1]) * int(maps.shape[2]) * preprocessing.count


def _with_something_to_find(
    records: Sequence[Record], preprocessing: Preprocessing
) -> tuple[list[Record], list[Record]]:
    """Records apart from those whose whole defect lies outside the region of interest."""
    interest = preprocessing.interest
    if interest is None:
        return list(records), []
    inside, outside = [], []
    for record in records:
        if record.mask_path is not None:
            defect = read_mask(record.mask_path, record.mask_kind) >= 128
            shown = interest.mask(record.category, (defect.shape[0], defect.shape[1]), f"mask {record.mask_path}")
            if defect.any() and not (defect & shown).any():
                outside.append(record)
                continue
        inside.append(record)
    return inside, outside


def _batches(
    records: Sequence[Record], preprocessing: Preprocessing, batch_size: int, change: Change | None
) -> Iterator[tuple[list[ImageViews], UInt8[np.ndarray, "b H W"]]]:
    """Images with their masks: of the view, or of the whole image at the size of a view."""
    size, framing = preprocessing.crop_px, _framing(preprocessing)

    def read(record: Record) -> tuple[ImageViews, np.ndarray]:
        image = preprocessing.read(record.path)
        mask = read_truth(record, (image.shape[0], image.shape[1]))
        if change is not None:
            image, mask = change(record, image, mask)
        views = view_image(preprocessing, image, f"image {record.path}", record.category)
        return views, np.zeros(size, np.uint8) if mask is None else framing.view(mask)

    at_once = images_at_once(preprocessing, batch_size)
    items = read_ahead(read, records, ahead=2 * at_once)
    while pending := list(islice(items, at_once)):
        yield [image for image, _ in pending], np.stack([mask for _, mask in pending])


def _limit(detector: Scorer, good: Sequence[Record], batch_size: int) -> float | None:
    """The map value at which pixels are cut, from good images that were not trained on; None without any."""
    taken = PixelLimit()
    for images, _ in _batches(good, detector.preprocessing, batch_size, None):
        taken.add(_predict(detector, images, batch_size)[0].maps)
    return taken.limit()


def _framing(preprocessing: Preprocessing) -> Preprocessing:
    """What brings a mask to where maps are compared with it: of the view, or of the whole image."""
    size = preprocessing.crop_px
    return preprocessing if preprocessing.is_plain else Preprocessing(resize_px=size, crop_px=size)


def _category_report(
    records: Sequence[Record],
    scores: Float[np.ndarray, " n"],
    kept: MapCollection,
    outside: Sequence[Record],
    rules: Protocol,
) -> CategoryReport:
    """Image metrics on all images; pixel metrics on those whose defect pixels are known and maps were kept."""
    labels = np.array([record.is_anomalous for record in records])
    pixel = pixel_metrics_of(kept, aupro=rules.aupro, fpr_limit=rules.fpr_limit)
    report = CategoryReport.of(rank_metrics(labels, scores), pixel, len(records))
    notes = list(report.notes)
    if left_out := len(records) - len(kept):
        notes.insert(0, f"pixel metrics leave out {left_out} anomalous images without a mask")
    if outside:
        names = ", ".join(f"{record.defect_type or 'anomalous'}/{record.path.name}" for record in outside)
        notes.insert(0, f"left out, because their whole defect lies outside the region of interest: {names}")
    return dataclasses.replace(report, notes=tuple(notes))
