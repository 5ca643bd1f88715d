"""Which settings of a run are not those of its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muad.configuration.run_config import RunConfig, config_to_dict, load_config

_MOVES_NO_FIGURE = (
    *("published", "detector.encoder.weights", "training.image_cache_mib", "training.cache", "training.tensorboard"),
    *("training.mlflow", "training.wandb", "training.log_every_steps", "training.save_every_steps"),
    *("training.seed", "training.shots_seed"),
)


def changed_settings(config: RunConfig, recipe: str | Path | None) -> tuple[str, ...] | None:
    """Settings that could move a figure and are not the recipe's, in order; None without a recipe.

    Args:
        config: The run's.
        recipe: Name or file of the recipe it is trained by.

    Raises:
        ConfigError: Neither a recipe's name nor a readable file.
    """
    if recipe is None:
        return None
    ours, theirs = (dict(flat_values(config_to_dict(values))) for values in (config, load_config(recipe)))
    return tuple(
        path
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path) and not path.startswith(_MOVES_NO_FIGURE)
    )


def flat_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The same values without tables, named `section.key`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_values(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
