"""What a shell offers after Tab: recipes, detectors, encoders, settings, conditions; none of it imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def recipes(incomplete: str) -> Iterator[str]:
    """Recipes of the package."""
    from muad.configuration.recipe_files import recipe_names

    yield from _beginning(incomplete, recipe_names())


def detectors(incomplete: str) -> Iterator[str]:
    """Detectors, of muad and of other packages; after a comma the next one."""
    from muad.detectors.registry import detector_names

    yield from _listed(incomplete, detector_names())


def encoders(incomplete: str) -> Iterator[str]:
    """Encoders by name; after a comma the next one."""
    from muad.encoders.families import FAMILIES, PYRAMIDS

    yield from _listed(incomplete, (*FAMILIES, *PYRAMIDS))


def settings(incomplete: str) -> Iterator[str]:
    """Keys for `--set`, with the sign after which the value comes; of one detector after `NAME:`."""
    from muad.configuration.settings_table import all_settings

    name, colon, key = incomplete.rpartition(":")
    found = [setting.path for setting in all_settings() if not name or setting.detector in (None, name)]
    yield from (f"{name}{colon}{path}=" for path in _beginning(key, dict.fromkeys(found)))


def setting_paths(incomplete: str) -> Iterator[str]:
    """Settings by path."""
    yield from (key.removesuffix("=") for key in settings(incomplete))


def conditions(incomplete: str) -> Iterator[str]:
    """Conditions in their usual strengths."""
    from muad.conditions.condition import KINDS, parse_conditions

    yield from _beginning(incomplete, (*KINDS, *(one.name for one in parse_conditions(())[1:])))


def _listed(incomplete: str, names: Iterable[str]) -> Iterator[str]:
    before, comma, last = incomplete.rpartition(",")
    yield from (f"{before}{comma}{name}" for name in _beginning(last, names))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
