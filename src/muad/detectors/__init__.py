"""The detectors, one file each. `base` is the contract, `registry` names them, `docs/detectors.md` adds one."""

import importlib
from typing import TYPE_CHECKING, Any

from muad.detectors.registry import DETECTORS, detector_class, detector_names

if TYPE_CHECKING:
    from muad.detectors.base import Detector, DetectorConfig, FittingDetector, SteppingDetector
    from muad.detectors.diffusion_ad import DiffusionAd, DiffusionAdConfig
    from muad.detectors.dinomaly import Dinomaly, DinomalyConfig
    from muad.detectors.patchcore import PatchCore, PatchCoreConfig

__all__ = [
    "DETECTORS",
    "Detector",
    "DetectorConfig",
    "DiffusionAd",
    "DiffusionAdConfig",
    "Dinomaly",
    "DinomalyConfig",
    "FittingDetector",
    "PatchCore",
    "PatchCoreConfig",
    "SteppingDetector",
    "detector_class",
    "detector_names",
]
_HOMES = {
    "base": ("Detector", "DetectorConfig", "FittingDetector", "SteppingDetector"),
    "diffusion_ad": ("DiffusionAd", "DiffusionAdConfig"),
    "dinomaly": ("Dinomaly", "DinomalyConfig"),
    "patchcore": ("PatchCore", "PatchCoreConfig"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever is asked for
    """A method is imported when one of its names is asked for, so that settings of one need not read all others."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"muad.detectors.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
