"""A run's trained detector, ready to score: loaded, made fast, and held against itself on the run's good images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from muad.acceleration import AcceleratedDetector, Acceleration
from muad.acceleration.deviation import Compared, Scale, compared
from muad.checkpoints.checkpoint import load_detector, read_config
from muad.datasets.index import open_catalog
from muad.decisions.limits import CategoryLimits, read_limits
from muad.detectors import Dinomaly
from muad.device import choose_device
from muad.errors import CheckpointError, ConfigError, DataError
from muad.runs.folder import read_run
from muad.runs.images import kept_for_calibration, read_run_images
from muad.runtime.views import ImageViews, Scorer, images_at_once, predict_images, view_image

if TYPE_CHECKING:
    from jaxtyping import Float

    from muad.images.preprocessing import Preprocessing
    from muad.types import Record

Item = TypeVar("Item")
_RANGE_IMAGES = 64
_COMPARED_IMAGES = 64


def load_scorer(
    run: Path,
    device: str | torch.device,
    encoder_weights: Path | None = None,
    acceleration: Acceleration | None = None,
    *,
    batch_size: int = 16,
    note: Callable[[str], None] = lambda _: None,
) -> Scorer:
    """The trained detector of a run (or of one category's folder), made fast where that is known to change no verdict.

    Args:
        run: Run folder.
        device: Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; None for torch, in float32 if the run was trained so.
        batch_size: How many images usually come together.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: No usable run there.
        ConfigError: The backend is not installed, or does not go with the detector.
    """
    detector = load_detector(run, encoder_weights).to(choose_device(device))
    if acceleration is not None and acceleration.backend == "auto":
        acceleration = dataclasses.replace(acceleration, backend="torch")
    joined = detector.preprocessing.senses.views < len(detector.preprocessing.senses.names)
    if not isinstance(detector, Dinomaly) or joined:
        if acceleration is not None and acceleration != Acceleration():
            raise ConfigError(
                f"backend and precision must be left at torch and auto for this detector, got {acceleration.backend} "
                f"and {acceleration.precision}: only Dinomaly has others, and not where features of two senses are "
                "averaged."
            )
        return detector
    if acceleration is None:
        trained = read_config(run, encoder_weights).training.precision
        acceleration = Acceleration(precision="fp32" if trained == "32-true" else "auto")
    return AcceleratedDetector(
        detector,
        acceleration,
        folder=run / "exports",
        batch_size=batch_size,
        calibration=lambda: range_images(run, detector.preprocessing),
        comparison=lambda plain, fast: list(_compare(run, plain, fast, batch_size)),
        scales=lambda: scales_of(run),
        note=note,
    )


def scales_of(run: Path) -> dict[str | None, Scale]:
    """What differences of scores and maps are measured by: a run's limits as they are now, by category.

    Args:
        run: Run folder, or one category's folder of a run.
    """
    root = _root(run)
    try:
        limits, facts = read_limits(root, ()), read_run(run)
    except (ConfigError, CheckpointError):
        return {}
    if limits is None:
        return {}
    normal, full = facts.get("map_scale", (None, None))
    scales: dict[str | None, Scale] = {}
    for category, own in limits.categories.items():
        end = full if own.map is None else own.map
        scales[category] = Scale(
            score=_way(median(limits.calibration.get(category) or [np.inf]), _last(own)),
            map=_way(normal, end),
            limits=tuple(limit for limit in (own.review, own.reject) if limit is not None),
        )
    return scales


def _last(limits: CategoryLimits) -> float | None:
    return limits.review if limits.reject is None else limits.reject


def _way(begin: float | None, end: float | None) -> float | None:
    """From the usual value to the limit; None where there is no such way."""
    return end - begin if begin is not None and end is not None and end > begin else None


def _root(run: Path) -> Path:
    """The run that a category's folder is part of, or the run itself."""
    return run if read_run_images(run) is not None or read_run_images(run.parent.parent) is None else run.parent.parent


def _compare(run: Path, plain: Scorer, fast: Scorer, batch_size: int) -> Iterator[Compared]:
    """Good images of a run computed both ways: those it kept for calibration, else those it was trained on.

    None where they are no longer to be had; whoever predicts elsewhere than it was trained has other images.
    """
    preprocessing = plain.preprocessing
    for chosen in (calibration_files(run, _COMPARED_IMAGES), training_files(run)):
        views: list[tuple[str, ImageViews]] = []
        try:
            views = [(category, _view(preprocessing, path, category)) for category, path in chosen]
        except (DataError, ConfigError):
            continue
        at_once = images_at_once(preprocessing, batch_size)
        for begin in range(0, len(views), at_once):
            group = views[begin : begin + at_once]
            images = [image for _, image in group]
            results = zip(*(predict_images(scorer, images, batch_size) for scorer in (plain, fast)), strict=True)
            for (category, _), (expected, found) in zip(group, results, strict=True):
                yield compared(category, (expected.score, expected.maps), (found.score, found.maps))
        if views:
            return


def _view(preprocessing: Preprocessing, path: Path, category: str) -> ImageViews:
    return view_image(preprocessing, preprocessing.read(path), f"image {path}", category)


def calibration_files(run: Path, most: int | None = None) -> list[tuple[str, Path]]:
    """Images a run kept for calibration, with what they show; some of them, spread over its categories, or all.

    Args:
        run: Run folder, or one category's folder of a run, of which there are only that category's.
        most: How many, about.
    """
    images = read_run_images(_root(run))
    if images is None:
        return []
    own = read_run(run).get("categories", {})
    kept = {category: sorted(names) for category, names in images.calibration.items() if category in own}
    each = None if most is None else -(-most // max(1, len(kept)))
    return [
        (category, images.base / name)
        for category, names in kept.items()
        for name in (names if each is None else spread(names, each))
    ]


def training_files(run: Path) -> list[tuple[str, Path]]:
    """Some training images of a run with what they show; none where they are no longer to be had."""
    try:
        return [(record.category, record.path) for record in _training_records(run)]
    except (DataError, KeyError):
        return []


def _training_records(run: Path) -> tuple[Record, ...]:
    """Some training images of a run, spread over its categories.

    Those kept for calibration are left alone: nothing of the detector may come from them.

    Raises:
        DataError: The data set is no longer where it was.
        KeyError: The run does not say where that is.
    """
    facts = read_run(run)
    records = open_catalog(run / facts["data"], facts["layout"]).select(split="train")
    kept = kept_for_calibration(run)
    return tuple(
        spread(
            [record for record in records if record.category in facts["categories"] and record.path not in kept],
            _RANGE_IMAGES,
        )
    )


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most so many of them, at equal distances."""
    count = min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def range_images(run: Path, preprocessing: Preprocessing) -> Float[torch.Tensor, "b 3 H W"]:
    """Training images of the run, from which int8 learns its ranges.

    Raises:
        ConfigError: They are no longer where they were.
    """
    try:
        views = [
            preprocessing.views(preprocessing.read(record.path), f"image {record.path}", record.category)
            for record in _training_records(run)
        ]
    except (DataError, KeyError) as error:
        raise ConfigError(
            f"precision must be fp32 or bf16 without the training images, got int8, which needs them: {error}"
        ) from None
    return torch.from_numpy(preprocessing.normalise(np.concatenate(views)))
