"""What the sources of the recipes print of each detector, to stand beside measured figures of other data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from muad.configuration.recipe_files import recipe_names
from muad.configuration.run_config import load_config
from muad.detectors.base import FittingDetector
from muad.detectors.registry import detector_class
from muad.errors import ConfigError
from muad.metrics.report import METRIC_NAMES

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig

DATA = ("MVTec AD", "VisA", "Real-IAD")
OTHER_TERMS = (
    "published figures are of other data, other encoders and full length: they say what a method can do, no more"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """What is printed of a detector on a data set.

    Attributes:
        detector: Its name.
        data: The data set.
        mode: Whether it is one detector for all categories, or one each.
        recipe: That repeats it.
        source: Where it is printed.
        encoder: The frozen network.
        steps: Of the training; None of a detector that takes none.
        images_shown: Over the whole training.
        figures: By metric, mean over the categories; None where the source has none.
    """

    detector: str
    data: str
    mode: str
    recipe: str
    source: str
    encoder: str | None
    steps: int | None
    images_shown: int
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def published_rows(detectors: Iterable[str]) -> list[PublishedRow]:
    """Rows of the recipes: of each detector and data set the plainest, that in multi-class mode if there is one."""
    found = []
    for detector in dict.fromkeys(detectors):
        for data in DATA:
            own = [row for row in _every_row() if row.detector == detector and row.data == data]
            found += sorted(own, key=lambda row: (row.mode != "multi_class", len(row.recipe), row.recipe))[:1]
    return found


@cache
def _every_row() -> tuple[PublishedRow, ...]:
    rows: list[PublishedRow | None] = []
    for name in recipe_names():
        with suppress(ConfigError, ImportError):  # a detector that cannot be imported is not measured either
            rows.append(_row(name, load_config(name)))
    return tuple(row for row in rows if row is not None)


def _row(recipe: str, config: RunConfig) -> PublishedRow | None:
    figures = {name: getattr(config.published, name) for name in METRIC_NAMES}
    if config.published.data not in DATA or not any(figures.values()):
        return None
    one_look = issubclass(detector_class(config.detector.name), FittingDetector)
    return PublishedRow(
        detector=config.detector.name,
        data=config.published.data,
        mode=config.training.mode,
        recipe=recipe,
        source=config.published.source,
        encoder=config.encoder_name,
        steps=None if one_look else config.schedule.total_steps,
        images_shown=0 if one_look else config.schedule.total_steps * config.training.batch_size,
        figures=figures,
    )
