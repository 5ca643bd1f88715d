"""What has to be known of the training images before the first one is prepared: it becomes part of the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from muad.detectors import DiffusionAdConfig
from muad.errors import ConfigError
from muad.images.roi import InterestMasks
from muad.images.senses import beside
from muad.images.values import find_value_range, survey

if TYPE_CHECKING:
    from pathlib import Path

    from muad.configuration.run_config import RunConfig
    from muad.images.settings import ImagesConfig
    from muad.types import Record

_BATCH = 16  # of `muad predict` unless said


def settle_images(config: RunConfig, records: Sequence[Record], note: Callable[[str], None]) -> RunConfig:
    """The configuration with the value range of the training images, if any has more than 8 bits and none is set.

    Args:
        config: Of the run.
        records: Training images.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: A region of interest is missing.
        DataError: A region of interest, or every image with more than 8 bits, cannot be read.
    """
    images = config.images
    if images.roi_dir is not None:
        InterestMasks(images.roi_dir).require({record.category for record in records})
    found = survey(_photographs(images, records))
    if found.paged:
        note(f"several pages in {len(found.paged)} of {len(records)} training images: the first is read, of each")
    if found.deep and images.value_range is None:
        images = dataclasses.replace(images, value_range=find_value_range(found.deep))
    if found.deep and images.value_range is not None:
        low, high = images.value_range
        note(
            f"more than 8 bits in {len(found.deep)} of {len(records)} training images: {low:g} becomes black and "
            f"{high:g} white, in training and prediction (images.value_range)"
        )
    rows, columns = images.tiles
    if rows * columns > 1:
        note(
            f"tiles: {rows} x {columns} of each image, so {rows * columns} times the views, features and time; "
            f"prediction takes at most about {_prediction_mib(found.largest_px, rows * columns):.0f} MiB beside the "
            "detector for the largest of these images, whatever their number"
        )
    return dataclasses.replace(config, images=images)


def _photographs(images: ImagesConfig, records: Sequence[Record]) -> list[Path]:
    """The files whose values have a range: all that is read but depth, which has one of its own."""
    senses = [sense for sense in images.senses if sense != "depth"]
    if images.senses == ("colour",):
        return [record.path for record in records]
    return [beside(record.path, sense) for record in records for sense in senses]


def settle_categories(config: RunConfig, records: Sequence[Record]) -> RunConfig:
    """The configuration with the categories of the training images, if the detector is to be told of them.

    Args:
        config: Of the run.
        records: Training images.

    Raises:
        ConfigError: Every category is to have a detector of its own, which has nothing to be told, or other categories
            are asked for.
    """
    detector = config.detector
    if not isinstance(detector, DiffusionAdConfig) or detector.conditioning == "none":
        return config
    if config.training.mode == "per_category":
        raise ConfigError(
            "detector.conditioning must be 'none' where every category has a detector of its own, got 'category'. "
            "Add training.mode='multi_class'."
        )
    found = tuple(sorted({record.category for record in records}))
    if detector.categories not in ((), found):
        raise ConfigError(
            f"detector.categories must be those of the training images, {list(found)}, got "
            f"{list(detector.categories)}. Leave it out: it is filled in."
        )
    return dataclasses.replace(config, detector=dataclasses.replace(detector, categories=found))


def _prediction_mib(largest_px: int, tiles: int) -> float:
    """Memory of predicting images of some size in the usual batches, in MiB.

    Images wait as RGB, some read ahead and as many at work; one of them has its map, and a part of it that is being put
    in place with the coordinates it is sampled at.
    """
    images = 2 * max(1, _BATCH // tiles) + 1
    return largest_px * (3 * images + 4 + 16 / tiles + 8) / 2**20
