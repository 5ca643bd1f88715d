"""Which detectors there are: a line for each of muad's, and those that other packages bring.

Names are listed without importing anything; a method is imported when it is asked for. A package of your own adds one:

    [project.entry-points."muad.detectors"]
    my_method = "my_package.my_module:MyDetector"
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from muad.errors import ConfigError

if TYPE_CHECKING:
    from muad.detectors.base import LearningDetector

DETECTORS: dict[str, str] = {
    "dinomaly": "muad.detectors.dinomaly:Dinomaly",
    "diffusion_ad": "muad.detectors.diffusion_ad:DiffusionAd",
    "patchcore": "muad.detectors.patchcore:PatchCore",
    "rd4ad": "muad.detectors.rd4ad:Rd4ad",
    "recontrast": "muad.detectors.recontrast:ReContrast",
    "vitad": "muad.detectors.vitad:ViTad",
    "simplenet": "muad.detectors.simplenet:SimpleNet",
    "destseg": "muad.detectors.destseg:DeStSeg",
    "uniad": "muad.detectors.uniad:UniAd",
    "mambaad": "muad.detectors.mambaad:MambaAd",
    "diad": "muad.detectors.diad:Diad",
}
ENTRY_POINTS = "muad.detectors"


def detector_names() -> tuple[str, ...]:
    """Names of all detectors: muad's own, then those of other packages."""
    return tuple(dict.fromkeys([*DETECTORS, *sorted(point.name for point in _brought())]))


def detector_class(name: object) -> type[LearningDetector]:
    """The detector of a name, imported now.

    Raises:
        ConfigError: There is none, two packages claim the name, or the package that brings it is broken.
    """
    brought = [point for point in _brought() if point.name == name]
    own = isinstance(name, str) and name in DETECTORS
    owners = sorted({_package(point) for point in brought} | ({"muad"} if own else set()))
    if len(owners) > 1:
        raise ConfigError(
            f"detector name {name!r} must be of one package, got {' and '.join(owners)}. Uninstall all but one of them."
        )
    if isinstance(name, str) and own:
        module, _, attribute = DETECTORS[name].partition(":")
        found: type[LearningDetector] = getattr(importlib.import_module(module), attribute)
        return found
    if brought:
        return _load(brought[0])
    names = detector_names()
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    got = f'"{name}"' if isinstance(name, str) else name
    raise ConfigError(f"detector.name must be one of {', '.join(names)}, got {got}.{meant}")


def loadable_detectors() -> list[type[LearningDetector]]:
    """Every detector that can be imported here, for messages that list all settings."""
    found = []
    for name in detector_names():
        try:
            found.append(detector_class(name))
        except ConfigError:
            continue  # said to whoever asks for that one
    return found


def _brought() -> tuple[EntryPoint, ...]:
    """What other packages bring."""
    return _brought_from(tuple(sys.path))


@cache  # reads a file of every installed package
def _brought_from(_sys_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINTS))


def _load(point: EntryPoint) -> type[LearningDetector]:
    """The detector of another package, held against the contract."""
    from muad.detectors.base import DetectorConfig, FittingDetector, SteppingDetector

    said = f"detector {point.name!r} of package {_package(point)} must"
    repair = "Repair or uninstall that package."
    try:
        found = point.load()
    except Exception as error:
        raise ConfigError(f"{said} be importable, got {type(error).__name__}: {error}. {repair}") from error
    if not (isinstance(found, type) and issubclass(found, SteppingDetector | FittingDetector)):
        raise ConfigError(f"{said} derive from SteppingDetector or FittingDetector, got {found!r}. {repair}")
    settings = getattr(found, "settings", None)
    if not (isinstance(settings, type) and issubclass(settings, DetectorConfig)):
        raise ConfigError(f"{said} have settings that derive from DetectorConfig, got {settings!r}. {repair}")
    (own,) = (entry.default for entry in dataclasses.fields(settings) if entry.name == "name")
    if own != point.name:
        raise ConfigError(f"{said} have settings whose name is {point.name!r}, got {own!r}. {repair}")
    detector: type[LearningDetector] = found
    return detector


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
