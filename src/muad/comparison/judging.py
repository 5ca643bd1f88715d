"""What a trained run is worth: figures, scores and maps of labelled images, and what an image costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.checkpoints.scorers import load_scorer
from muad.datasets.content_hash import relative_name
from muad.decisions.limits import read_limits
from muad.evaluation.figures import evaluate_detector
from muad.images.preprocessing import Preprocessing
from muad.images.reading import open_header
from muad.metrics.report import CategoryReport, Report
from muad.runs.folder import category_folder, checkpoints, read_run
from muad.runs.images import read_run_images
from muad.runs.scores import ImageScore, image_scores
from muad.runtime.views import ImageMaps, ImageViews, inspected_values, original_map, predict_images, view_image

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

    from muad.runtime.views import Scorer, ViewScores
    from muad.types import Record

KEPT_PX = 96
"""Longest side of the maps that are kept for pictures."""
_KEPT_MAPS = 600
_TIMED, _WARM = 8, 2
_SCALE_IMAGES = 24  # of a category; their pixels give the scale of the pictures
_BATCH = 16
_ORIENTATION, _LYING = 0x0112, range(5, 9)  # of EXIF: height and width change places


@dataclass(slots=True)
class Judged:
    """What was found of a run.

    Attributes:
        report: Figures of the reported images.
        scores: Of each of them.
        choice_report: Figures of the images set aside to choose by; None without.
        choice_scores: Of each of them.
        maps: Small maps of reported images by name, in their own shape; NaN where nothing was inspected.
        scales: By category, the map values of good images kept for calibration: their median, and what one in a
            thousand of their pixels exceeds; None where none were kept.
        stopped: Of the reported images, how many good and defective ones there are and how many of each are above the
            run's own limit for review; empty without limits.
        image_s: From a photograph in memory to map and score, one at a time.
        batched_s: The same of the network alone, in batches.
        disk_bytes: Of the last checkpoints.
    """

    report: Report
    scores: list[ImageScore]
    choice_report: Report | None = None
    choice_scores: list[ImageScore] = field(default_factory=list)
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)
    image_s: float = 0.0
    batched_s: float = 0.0
    disk_bytes: int = 0


class _Watched:
    """A scorer whose time is taken, and whose maps are kept small.

    Args:
        scorer: The one at work.
        keep: Whether maps are kept.
    """

    def __init__(self, scorer: Scorer, *, keep: bool) -> None:
        self._scorer, self._keep = scorer, keep
        self.preprocessing: Preprocessing = scorer.preprocessing
        self.seconds, self.views = 0.0, 0
        self.maps: list[np.ndarray] = []

    def score_views(self, views: UInt8[np.ndarray, "b H W c"], categories: Sequence[str | None]) -> ViewScores:
        """As the scorer does, which gives arrays, so that a GPU has done its work when the clock stops."""
        begun = time.perf_counter()
        found = self._scorer.score_views(views, categories)
        self.seconds += time.perf_counter() - begun
        self.views += len(views)
        if self._keep:
            self.maps += [_small(one) for one in found.maps]
        return found

    def score_maps(self, maps: Float[np.ndarray, "b h w"], inspected: Bool[np.ndarray, "b h w"]) -> np.ndarray:
        """As the scorer does."""
        return self._scorer.score_maps(maps, inspected)

    def expand_grids(self, grids: Float[np.ndarray, "b m n"]) -> Float[np.ndarray, "b h w"]:
        """As the scorer does."""
        return self._scorer.expand_grids(grids)


def judge(
    run: Path,
    reported: Sequence[Record],
    choice: Sequence[Record],
    root: Path,
    *,
    device: str,
    keep_maps: bool,
    progress: Callable[[int, int], None],
    note: Callable[[str], None],
) -> Judged:
    """Everything the comparison says of a trained run but how it was trained.

    Args:
        run: Run folder, finished.
        reported: Labelled images whose figures are reported.
        choice: Labelled images set aside to choose by.
        root: Folder of the data set; names are taken from it.
        device: Where to compute.
        keep_maps: Whether small maps are kept for pictures.
        progress: Called with images judged and in all.
        note: Called with sentences the user should see.

    Raises:
        MuadError: The run or an image cannot be used.
    """
    parts: list[Judged] = []
    done, total = 0, len(reported) + len(choice)
    for folder, categories in _folders(run):
        own, aside = ([record for record in records if record.category in categories] for records in (reported, choice))
        if not own:
            continue
        told = lambda count, _, before=done: progress(before + count, total)  # noqa: E731
        parts.append(_judge_one(folder, own, aside, root, device, keep_maps, told, note))
        done += len(own) + len(aside)
    if not parts:
        return Judged(report=Report(protocol="dinomaly", categories={}, images=0), scores=[])
    whole = _together(parts)
    whole.scales |= {name: None for name in read_run(run)["categories"] if name not in whole.scales}
    whole.stopped = _stopped(run, whole.scores)
    return whole


def _folders(run: Path) -> Iterator[tuple[Path, set[str]]]:
    """The detectors of a run, and the categories each is of."""
    facts = read_run(run)
    names = set(facts["categories"])
    if facts["mode"] == "per_category":
        yield from ((category_folder(run, name), {name}) for name in sorted(names))
    else:
        yield run, names


def _judge_one(
    folder: Path,
    reported: Sequence[Record],
    choice: Sequence[Record],
    root: Path,
    device: str,
    keep_maps: bool,
    progress: Callable[[int, int], None],
    note: Callable[[str], None],
) -> Judged:
    scorer = load_scorer(folder, device, note=note)
    watched = _Watched(scorer, keep=keep_maps)
    found = Judged(report=Report(protocol="dinomaly", categories={}, images=0), scores=[])
    keep_each = max(1, -(-len(reported) // _KEPT_MAPS))

    def take(records: Sequence[Record], values: np.ndarray) -> None:
        found.scores += image_scores(records, values, root)
        if keep_maps:
            _keep(found.maps, watched, records, root, keep_each)

    found.report = evaluate_detector(watched, reported, progress=progress, on_scores=take)
    found.batched_s = watched.seconds / max(watched.views, 1) * scorer.preprocessing.count
    if choice:
        found.choice_report = evaluate_detector(
            scorer,
            choice,
            progress=lambda count, total: progress(len(reported) + count, total),
            on_scores=lambda records, values: found.choice_scores.extend(image_scores(records, values, root)),
        )
    found.image_s = _one_at_a_time(scorer, reported)
    found.scales = _scales(folder, scorer, {record.category for record in reported})
    found.disk_bytes = (checkpoints(folder)[-1].folder / "weights.safetensors").stat().st_size
    return found


def _together(parts: Sequence[Judged]) -> Judged:
    """One of the detectors of all categories."""
    if len(parts) == 1:
        return parts[0]
    images = [part.report.images for part in parts]
    whole = Judged(
        report=_joined([part.report for part in parts]), scores=[row for part in parts for row in part.scores]
    )
    choices = [part.choice_report for part in parts if part.choice_report is not None]
    whole.choice_report = _joined(choices) if choices else None
    whole.choice_scores = [row for part in parts for row in part.choice_scores]
    for part in parts:
        whole.maps |= part.maps
        whole.scales |= part.scales
    whole.image_s = float(np.average([part.image_s for part in parts], weights=images))
    whole.batched_s = float(np.average([part.batched_s for part in parts], weights=images))
    whole.disk_bytes = sum(part.disk_bytes for part in parts)
    return whole


def _joined(reports: Sequence[Report]) -> Report:
    categories: dict[str, CategoryReport] = {}
    for report in reports:
        categories |= report.categories
    return Report(protocol=reports[0].protocol, categories=categories, images=sum(report.images for report in reports))


def _keep(maps: dict[str, np.ndarray], watched: _Watched, records: Sequence[Record], root: Path, each: int) -> None:
    """Small maps of some records whose views were just scored, in their own shape."""
    count = watched.preprocessing.count
    for place, record in enumerate(records):
        if place % each:
            continue
        views = np.stack(watched.maps[place * count : (place + 1) * count])
        height, width = _size(record.path)
        scale = KEPT_PX / max(height, width)
        small = (max(1, round(height * scale)), max(1, round(width * scale)))
        whole = watched.preprocessing.to_original(views, (height, width), small, record.category)
        maps[relative_name(record.path, root)] = whole.astype(np.float32)
    watched.maps.clear()


def _size(path: Path) -> tuple[int, int]:
    """Height and width of a photograph, upright."""
    with open_header(path) as image:
        lies = image.getexif().get(_ORIENTATION, 1) in _LYING
        return (image.width, image.height) if lies else (image.height, image.width)


def _small(anomaly_map: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "m n"]:
    height, width = anomaly_map.shape
    scale = min(1.0, KEPT_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: np.ndarray = cv2.resize(anomaly_map, size, interpolation=cv2.INTER_AREA)
    return small


def _one_at_a_time(scorer: Scorer, records: Sequence[Record]) -> float:
    """Median of the seconds from a photograph in memory to its map in its own pixels."""
    chosen = [records[place * len(records) // _TIMED] for place in range(min(_TIMED, len(records)))]
    taken: list[float] = []
    for record in (*chosen[:1] * _WARM, *chosen):
        image = scorer.preprocessing.read(record.path)
        begun = time.perf_counter()
        viewed = view_image(scorer.preprocessing, image, f"image {record.path}", record.category)
        (found,) = predict_images(scorer, [viewed], _BATCH)
        original_map(scorer.preprocessing, viewed, found)
        taken.append(time.perf_counter() - begun)
    return median(taken[_WARM:])


def _scales(folder: Path, scorer: Scorer, categories: set[str]) -> dict[str, tuple[float, float] | None]:
    """Quantiles of the map values of good images that were kept out of training, by category."""
    whole = folder if read_run_images(folder) is not None else folder.parent.parent
    kept = read_run_images(whole)
    scales: dict[str, tuple[float, float] | None] = {}
    for category in sorted(categories):
        names = list((kept.calibration if kept is not None else {}).get(category, ()))
        if kept is None or not names:
            scales[category] = None
            continue
        values = []
        for place in range(min(_SCALE_IMAGES, len(names))):
            path = kept.base / names[place * len(names) // min(_SCALE_IMAGES, len(names))]
            image = view_image(scorer.preprocessing, scorer.preprocessing.read(path), f"image {path}", category)
            values.append(_values(scorer, image))
        low, high = np.percentile(np.concatenate(values), [50, 99.9])
        scales[category] = (float(low), float(high))
    return scales


def _values(scorer: Scorer, image: ImageViews) -> np.ndarray:
    found: list[ImageMaps] = predict_images(scorer, [image], _BATCH)
    return inspected_values(scorer.preprocessing, image, found[0])


def _stopped(run: Path, scores: Sequence[ImageScore]) -> dict[str, int]:
    """Images above the run's own limits, of those whose category has some."""
    limits = read_limits(run, tuple(read_run(run)["categories"]))
    if limits is None:
        return {}
    counts = dict.fromkeys(("good", "good_stopped", "bad", "bad_stopped"), 0)
    for row in scores:
        verdict = limits.verdict(row.category, row.score)
        if verdict is None:
            continue
        kind = "bad" if row.is_anomalous else "good"
        counts[kind] += 1
        counts[f"{kind}_stopped"] += verdict != "pass"
    return counts if counts["good"] + counts["bad"] else {}
