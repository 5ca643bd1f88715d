"""Scores of good images as limits are set from: by the detector itself, those that show the same counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muad.datasets.alike import joined, whole_parts
from muad.datasets.content_hash import content_hash
from muad.decisions.calibration_scores import Scored
from muad.images.near_duplicates import near_duplicate_groups, read_appearances
from muad.runtime.looking import Photograph
from muad.types import Record

if TYPE_CHECKING:
    from muad.calibration.object_scoring import ObjectScoring
    from muad.datasets.grouping import Placed
    from muad.runtime.predictor import Predictor

Notice = Callable[[str], None]
PathGroups = Mapping[str, Sequence[Sequence[Path]]]
ImageFigures = Mapping[Path, tuple[float, float]]
"""Score and map peak of each image."""


def score_images(
    predictor: Predictor,
    images: Mapping[str, Sequence[Path]],
    batch_size: int,
    progress: Callable[[int, int], None],
    note: Notice,
    parts: ObjectScoring | None = None,
) -> dict[str, ImageFigures]:
    """Scores and map peaks of images by category, as the run itself predicts them; those it cannot read are noted.

    Args:
        predictor: The run.
        images: By category.
        batch_size: Images per forward pass.
        progress: Called with images scored and in all.
        note: Called with sentences the user should see.
        parts: Told of every photograph that was scored, where parts of several are scored too.
    """
    done, total = 0, sum(map(len, images.values()))
    found: dict[str, ImageFigures] = {}
    for category, paths in images.items():
        own: dict[Path, tuple[float, float]] = {}
        asked: Iterable[Path | Photograph] = paths
        if parts is not None:
            asked = (Photograph(path, category, parts.views_beside(category, path)) for path in paths)
        for prediction in predictor.stream(asked, batch_size=batch_size, category=category):
            done += 1
            progress(done, total)
            if prediction.score is None or prediction.anomaly_map is None or prediction.path is None:
                note(f"left out of calibration: {prediction.error}")
                continue
            peak = float(np.nanmax(prediction.anomaly_map))
            own[prediction.path] = prediction.score, peak
            if parts is not None:
                parts.add(category, prediction, peak)
        found[category] = own
    return found


def count_once(
    figures: Mapping[str, ImageFigures], alike: PathGroups, root: Path, source: str, *, note: Notice, folds: int = 0
) -> dict[str, Scored]:
    """What limits are set from, by category.

    Of images that show the same picture or object the largest score counts, and the largest peak: a limit at it is one
    that a part exceeds with any of its photographs no more often than promised, however often it is photographed, and
    the limit is never lower than with one of them alone.

    Args:
        figures: By category.
        alike: By category, images that show the same.
        root: Folder of the images, for their names.
        source: Where the images were, for people.
        note: Called with sentences the user should see.
        folds: Detectors that gave the scores, if not the run's own.
    """
    found = {}
    for category, own in figures.items():
        counted = _largest(own, alike.get(category, ()))
        if len(counted) < len(own):
            note(
                f"{category}: {len(own)} good images count as {len(counted)}, because of near-duplicates, and of "
                "images of one object, only the largest score counts"
            )
        records = [Record(path=path, category=category, split="test", is_anomalous=False) for path in own]
        found[category] = Scored(
            scores=tuple(sorted(score for score, _ in counted)),
            map_peaks=tuple(sorted(peak for _, peak in counted)),
            images=len(own),
            data_hash=content_hash(records, root),
            source=source,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            folds=folds,
        )
    return found


def near_duplicates(
    images: Mapping[str, Sequence[Path]],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    places: Mapping[Path, Placed] | None = None,
) -> PathGroups:
    """Near-duplicates among images, by category, in groups of two or more; every image is read.

    Of parts that several images show, all images of a part are together, and two parts where all views are alike.

    Args:
        images: By category.
        progress: Called with images read and in all.
        places: Part and view of those that show one part of several views.
    """
    found, done, total = {}, 0, sum(map(len, images.values()))
    for category, paths in images.items():
        news = lambda read, _, before=done: progress(before + read, total)  # noqa: E731
        groups = near_duplicate_groups(read_appearances(paths, news))
        found[category] = [[paths[index] for index in group] for group in _of_parts(paths, groups, places or {})]
        done += len(paths)
    return found


def _of_parts(
    paths: Sequence[Path], groups: Sequence[Sequence[int]], places: Mapping[Path, Placed]
) -> Sequence[Sequence[int]]:
    """The same groups where no image is one of a part, else those of `near_duplicates`."""
    placed = [places.get(path) for path in paths]
    if not any(placed):
        return groups
    members: dict[str, list[int]] = {}
    for index, one in enumerate(placed):
        if one is not None:
            members.setdefault(one.part, []).append(index)
    same = whole_parts(groups, [None if one is None else (one.part, one.view) for one in placed])
    return [group for group in joined(len(paths), [*same, *members.values()]) if len(group) > 1]


def _largest(own: ImageFigures, alike: Sequence[Sequence[Path]]) -> list[tuple[float, float]]:
    left = dict(own)
    groups = [[left.pop(path) for path in group if path in left] for group in alike]
    largest = [(max(score for score, _ in group), max(peak for _, peak in group)) for group in groups if group]
    return [*largest, *left.values()]
