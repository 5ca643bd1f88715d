"""The scale a run's maps are drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.errors import DataError
from muad.runtime.views import inspected_values, predict_images, view_image

if TYPE_CHECKING:
    from muad.detectors import Detector
    from muad.types import Record

_IMAGES, _BATCH = 64, 16


def map_scale(detector: Detector, records: Sequence[Record]) -> tuple[float, float]:
    """Map values to draw as nothing and as fully anomalous: the same for all images, from normal ones alone.

    Nothing is the median of normal pixels, full is three times as far above it as their 99.9th percentile.

    Args:
        detector: Trained.
        records: Its training images; an even choice is looked at, and others stand in for unreadable ones.

    Raises:
        DataError: None of them can be read.
    """
    spread = records[:: max(1, len(records) // _IMAGES)][:_IMAGES]
    preprocessing = detector.preprocessing
    values: list[np.ndarray] = []
    for record in (*spread, *records):
        if len(values) == len(spread):
            break
        try:
            image = view_image(preprocessing, preprocessing.read(record.path), f"image {record.path}", record.category)
        except DataError:
            continue  # named during training, where the setting decided to leave it out
        (found,) = predict_images(detector, [image], _BATCH)
        values.append(inspected_values(preprocessing, image, found))
    if not values:
        raise DataError(f"training images must be readable, got {len(records)} that are not. Restore them and resume.")
    low, high = np.percentile(np.concatenate(values), [50, 99.9])
    return float(low), float(low + 3 * (high - low))
