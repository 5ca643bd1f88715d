"""The figures of an evaluation: seven metrics per category, and their unweighted mean.

Values are in [0, 1] and never rounded; None stands for a metric that is undefined, and a note says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from muad.errors import DataError
from muad.metrics.object_report import OBJECT_METRICS, ObjectReport
from muad.metrics.ranking import RankMetrics
from muad.metrics.region import PixelMetrics

METRIC_NAMES = (
    "image_auroc",
    "image_ap",
    "image_f1_max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1_max",
    "pixel_aupro",
)
_DATA_KEYS = ("data", "layout", "data_hash")
_KNOWN_KEYS = {*_DATA_KEYS, "mean_more", "object_mean", "seen"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport:
    """The figures of one category.

    Attributes:
        image_auroc: Area under the ROC curve of the image scores.
        image_ap: Average precision of the image scores.
        image_f1_max: Largest F1 of the image scores over all thresholds.
        pixel_auroc: Area under the ROC curve of all pixels of all images.
        pixel_ap: Average precision of the pixels.
        pixel_f1_max: Largest F1 of the pixels over all thresholds.
        pixel_aupro: Area under the per-region overlap curve.
        images: How many images were evaluated; None in a report read from JSON, which keeps only their sum.
        notes: Why a figure is None, and what else the reader should know.
        more: Figures that only this data set's protocol has, by name.
        objects: Figures of parts that several photographs show; None where there are none.
    """

    image_auroc: float | None = None
    image_ap: float | None = None
    image_f1_max: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    pixel_aupro: float | None = None
    images: int | None = None
    notes: tuple[str, ...] = ()
    more: Mapping[str, float | None] = field(default_factory=dict)
    objects: ObjectReport | None = None

    def __post_init__(self) -> None:
        for name, value in (*self.values().items(), *self.more.items()):
            if value is not None and not 0 <= value <= 1:
                raise DataError(f"{name} must be in [0, 1] or None, got {value}. Pass a fraction, not percent.")

    @classmethod
    def of(cls, image: RankMetrics, pixel: PixelMetrics, images: int) -> CategoryReport:
        """The report of a category from its image and pixel metrics.

        Args:
            image: Metrics of the image scores.
            pixel: Metrics of the anomaly maps.
            images: How many images were evaluated.
        """
        missing: dict[str, list[str]] = {}
        if image.reason is not None:
            missing[image.reason] = list(METRIC_NAMES[:3])
        for name, own in zip(METRIC_NAMES[3:], ("auroc", "average_precision", "f1_max", "aupro"), strict=True):
            if own in pixel.reasons:
                missing.setdefault(pixel.reasons[own], []).append(name)
        return cls(
            image_auroc=image.auroc,
            image_ap=image.average_precision,
            image_f1_max=image.f1_max,
            pixel_auroc=pixel.auroc,
            pixel_ap=pixel.average_precision,
            pixel_f1_max=pixel.f1_max,
            pixel_aupro=pixel.aupro,
            images=images,
            notes=tuple(f"{', '.join(names)} undefined: {reason}" for reason, names in missing.items()),
        )

    def values(self) -> dict[str, float | None]:
        """The seven figures by name, in the order of `METRIC_NAMES`."""
        return {name: getattr(self, name) for name in METRIC_NAMES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Whether the images of an evaluation were new to the run.

    Attributes:
        checked: Whether they were compared with those the run remembers; if not, nothing is known of it.
        compared: How many were.
        trained_on: How many of them it was trained on; they were left out.
        calibrated_on: How many its limits come from; they were left out.
        by_pixels: Whether a copy in another format would have been found, not only one of the file.
    """

    checked: bool
    compared: int = 0
    trained_on: int = 0
    calibrated_on: int = 0
    by_pixels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of an evaluation.

    Attributes:
        protocol: Name of the rules under which the figures were taken.
        categories: The figures of each category.
        images: How many images were evaluated, over all categories.
        data: Folder or manifest of the images, where that is known.
        layout: The layout it was read in.
        data_hash: Content hash of the images.
        seen: Whether the images were new to the run; None in reports of releases that did not look.
    """

    protocol: str
    categories: Mapping[str, CategoryReport]
    images: int
    data: str | None = None
    layout: str | None = None
    data_hash: str | None = None
    seen: Seen | None = None

    @property
    def mean(self) -> dict[str, float | None]:
        """Each metric's unweighted mean over the categories where it is defined; None if it is nowhere."""
        means: dict[str, float | None] = {}
        for name in METRIC_NAMES:
            values = [value for report in self.categories.values() if (value := report.values()[name]) is not None]
            means[name] = math.fsum(values) / len(values) if values else None
        return means

    @property
    def mean_more(self) -> dict[str, float | None]:
        """The same of the figures that only the data set's protocol has, in the order they were first named."""
        means: dict[str, float | None] = {}
        for name in dict.fromkeys(name for report in self.categories.values() for name in report.more):
            values = [value for report in self.categories.values() if (value := report.more.get(name)) is not None]
            means[name] = math.fsum(values) / len(values) if values else None
        return means

    @property
    def object_mean(self) -> dict[str, dict[str, float | None]]:
        """By score of a part, the unweighted mean of each metric over the categories that have parts; else empty."""
        found = [report.objects.figures for report in self.categories.values() if report.objects is not None]
        means: dict[str, dict[str, float | None]] = {}
        for score in dict.fromkeys(score for figures in found for score in figures):
            means[score] = {}
            for name in OBJECT_METRICS:
                values = [value for own in found if (value := own.get(score, {}).get(name)) is not None]
                means[score][name] = math.fsum(values) / len(values) if values else None
        return means

    def to_json(self) -> dict[str, Any]:
        """The report as plain dictionaries: `protocol`, `categories`, `mean`, `images`, and the data if known."""
        categories: dict[str, dict[str, Any]] = {}
        for category, report in self.categories.items():
            categories[category] = {**report.values()}
            if report.more:
                categories[category]["more"] = {**report.more}
            if report.notes:
                categories[category]["notes"] = list(report.notes)
            if report.objects is not None:
                categories[category]["objects"] = report.objects.to_json()
        data = {name: value for name in _DATA_KEYS if (value := getattr(self, name)) is not None}
        known = {**data, **({} if self.seen is None else {"seen": asdict(self.seen)})}
        known |= {"mean_more": self.mean_more} if self.mean_more else {}
        known |= {"object_mean": self.object_mean} if self.object_mean else {}
        return {"protocol": self.protocol, "categories": categories, "mean": self.mean, "images": self.images, **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """The report that `to_json` gave; the mean is taken anew.

        Args:
            data: The parsed JSON object.

        Raises:
            DataError: The object is not such a report.
        """
        _require_keys(data, {"protocol", "categories", "mean", "images"}, _KNOWN_KEYS, "a report")
        protocol, images = data["protocol"], data["images"]
        if not isinstance(protocol, str):
            raise DataError(f"protocol must be a name, got {protocol!r}. Evaluate again to write a sound report.")
        if type(images) is not int or images < 0:
            raise DataError(f"images must be a whole number, got {images!r}. Evaluate again to write a sound report.")
        if not isinstance(data["categories"], Mapping):
            raise DataError(f"categories must be an object, got {data['categories']!r}. Evaluate again.")
        categories = {name: _category_from_json(name, values) for name, values in data["categories"].items()}
        known = {name: data.get(name) for name in _DATA_KEYS}
        if not all(value is None or isinstance(value, str) for value in known.values()):
            raise DataError(f"{', '.join(_DATA_KEYS)} must be text, got {known}. Evaluate again.")
        seen = _seen_from_json(data["seen"]) if "seen" in data else None
        return cls(protocol=protocol, categories=categories, images=images, seen=seen, **known)


def _category_from_json(category: str, data: object) -> CategoryReport:
    entry = _require_keys(data, set(METRIC_NAMES), {"more", "notes", "objects"}, f"categories.{category}")
    more = entry.get("more", {})
    if not isinstance(more, Mapping) or METRIC_NAMES[0] in more:
        raise DataError(f"categories.{category}.more must be an object of other figures, got {more!r}. Evaluate again.")
    figures: dict[str, Any] = {}
    for name, value in (*((name, entry[name]) for name in METRIC_NAMES), *more.items()):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"categories.{category}.{name} must be a number or null, got {value!r}. Evaluate again.")
        figures[name] = value
    notes = entry.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError(f"categories.{category}.notes must be a list of sentences, got {notes!r}. Evaluate again.")
    own = {name: figures[name] for name in METRIC_NAMES}
    objects = None
    if entry.get("objects") is not None:
        objects = ObjectReport.from_json(entry["objects"], f"categories.{category}.objects")
    return CategoryReport(**own, notes=tuple(notes), more={name: figures[name] for name in more}, objects=objects)


def _seen_from_json(data: object) -> Seen:
    entry = _require_keys(data, {entry.name for entry in fields(Seen)}, set(), "seen")
    for name, value in entry.items():
        kind = bool if name in ("checked", "by_pixels") else int
        if type(value) is not kind:
            wanted = "true or false" if kind is bool else "a whole number"
            raise DataError(f"seen.{name} must be {wanted}, got {value!r}. Evaluate again to write a sound report.")
    return Seen(**entry)


def _require_keys(data: object, required: set[str], optional: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise DataError(f"{what} must be an object, got {data!r}. Evaluate again to write a sound report.")
    missing, unknown = sorted(required - data.keys()), sorted(data.keys() - required - optional)
    if missing or unknown:
        raise DataError(
            f"{what} must have the keys {', '.join(sorted(required))}, got missing {missing}, unknown {unknown}. "
            "Evaluate again with this version."
        )
    return data
