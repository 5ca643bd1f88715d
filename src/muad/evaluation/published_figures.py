"""Figures that the source of a recipe prints, to stand beside measured ones of the very same categories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from muad.configuration.run_config import RunConfig, config_to_dict, load_config, recipe_names
from muad.datasets.published import EXPECTED_COUNTS
from muad.metrics.report import METRIC_NAMES

_MOVES_NO_FIGURE = (
    *("published", "detector.encoder.weights", "training.image_cache_mib", "training.cache", "training.tensorboard"),
    *("training.log_every_steps", "training.save_every_steps", "training.seed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """What was printed of a data set.

    Attributes:
        data: Name of the data set.
        source: Where it is printed.
        figures: By metric, mean over the categories, in [0, 1]; None where the source has none.
        recipe: The recipe of the run; None if it is not known.
        changed: Settings of the run that are not the recipe's.
    """

    data: str
    source: str
    figures: Mapping[str, float | None]
    recipe: str | None
    changed: tuple[str, ...]

    def sentence(self) -> str:
        """Whose figures they are, and what differs from how they were made."""
        text = f"published: mean over {self.data}, {self.source}"
        if self.changed:
            more = f" and {len(self.changed) - 4} more" if len(self.changed) > 4 else ""
            text += (
                f"; this run was trained with other settings than {self.recipe}: {', '.join(self.changed[:4])}{more}"
            )
        return text


def published_figures(config: RunConfig, categories: Iterable[str], recipe: str | None) -> PublishedFigures | None:
    """What was printed for exactly these categories, if the settings of a run say so.

    Args:
        config: The run's.
        categories: Those that were evaluated.
        recipe: Name of the recipe it was trained by, or None.
    """
    stated = config.published
    known = EXPECTED_COUNTS.get(stated.data)
    figures = {name: getattr(stated, name) for name in METRIC_NAMES}
    if known is None or known.categories != set(categories) or not any(figures.values()):
        return None
    changed = tuple(_changed(config, load_config(recipe))) if recipe in recipe_names() else ()
    return PublishedFigures(data=stated.data, source=stated.source, figures=figures, recipe=recipe, changed=changed)


def _changed(config: RunConfig, recipe: RunConfig) -> Iterator[str]:
    ours, theirs = (dict(_flat(config_to_dict(values))) for values in (config, recipe))
    for path in sorted(ours.keys() | theirs.keys()):
        if ours.get(path) != theirs.get(path) and not path.startswith(_MOVES_NO_FIGURE):
            yield path


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
