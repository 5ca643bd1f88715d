"""The recipes in the package as files: their names, their text, a summary of each; none of it needs torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from muad.configuration.settings_table import shipped_settings
from muad.errors import ConfigError
from muad.runs.faults import closest


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSummary:
    """What `muad recipes list` shows of a recipe.

    Attributes:
        name: Its name.
        encoder: Name of the frozen encoder, or of all; None without one.
        resize_px: Height that photographs are brought to.
        crop_px: Height of what is looked at.
        steps: Length of the training.
        image_auroc: What its source prints, or None.
    """

    name: str
    encoder: str | None
    resize_px: int
    crop_px: int
    steps: int
    image_auroc: float | None


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes in the package."""
    folder = resources.files("muad") / "recipes"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def recipe_text(recipe: str | Path) -> str:
    """The TOML text of a recipe in the package, or of a file.

    Raises:
        ConfigError: Neither a recipe's name nor a readable file.
    """
    if str(recipe).endswith(".toml"):
        try:
            return Path(recipe).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"recipe must be a readable TOML file, got {recipe} ({error}).") from None
    if str(recipe) in recipe_names():
        return (resources.files("muad") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
    raise ConfigError(
        f"recipe must be a file ending in .toml or one of {', '.join(recipe_names())}, got {str(recipe)!r}."
        f"{closest(str(recipe), recipe_names())}"
    )


def recipe_summary(name: str) -> RecipeSummary:
    """What the text of a recipe of the package says, with the defaults of its detector.

    Raises:
        ConfigError: There is no such recipe.
    """
    values = tomllib.loads(recipe_text(name))
    detector = values.get("detector", {}).get("name", _default("detector.name"))
    encoders = _value(values, "detector.encoders", detector) or []
    single = _value(values, "detector.encoder.name", detector)
    names = [each if isinstance(each, str) else each["name"] for each in encoders] or ([single] if single else [])
    resize_px = _value(values, "detector.resize_px", detector)
    return RecipeSummary(
        name=name,
        encoder=" + ".join(names) or None,
        resize_px=resize_px[0],
        crop_px=(_value(values, "detector.crop_px", detector) or resize_px)[0],  # some have no crop
        steps=_value(values, "schedule.total_steps", detector),
        image_auroc=_value(values, "published.image_auroc", detector),
    )


def _value(values: Mapping[str, Any], path: str, detector: str) -> Any:  # noqa: ANN401  whatever a recipe holds
    """What a recipe says, else the default."""
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return _default(path, detector) if found is None else found


def _default(path: str, detector: str | None = None) -> Any:  # noqa: ANN401  whatever a setting holds
    for setting in shipped_settings():
        if setting.path == path and (detector is None or setting.detector in (None, detector)):
            return setting.default
    return None
