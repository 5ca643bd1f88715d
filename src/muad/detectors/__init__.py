"""The detectors, one file each. `base` is the contract, `registry` names them, `docs/own-detector.md` adds one."""

import importlib
from typing import TYPE_CHECKING, Any

from muad.detectors.registry import DETECTORS, detector_class, detector_names

if TYPE_CHECKING:
    from muad.detectors.base import Detector, DetectorConfig, FittingDetector, SteppingDetector
    from muad.detectors.destseg import DeStSeg, DeStSegConfig
    from muad.detectors.diad import Diad, DiadConfig
    from muad.detectors.diffusion_ad import DiffusionAd, DiffusionAdConfig
    from muad.detectors.dinomaly import Dinomaly, DinomalyConfig
    from muad.detectors.mambaad import MambaAd, MambaAdConfig
    from muad.detectors.patchcore import PatchCore, PatchCoreConfig
    from muad.detectors.rd4ad import Rd4ad, Rd4adConfig
    from muad.detectors.recontrast import ReContrast, ReContrastConfig
    from muad.detectors.simplenet import SimpleNet, SimpleNetConfig
    from muad.detectors.uniad import UniAd, UniAdConfig
    from muad.detectors.vitad import ViTad, ViTadConfig

__all__ = [
    "DETECTORS",
    "DeStSeg",
    "DeStSegConfig",
    "Detector",
    "DetectorConfig",
    "Diad",
    "DiadConfig",
    "DiffusionAd",
    "DiffusionAdConfig",
    "Dinomaly",
    "DinomalyConfig",
    "FittingDetector",
    "MambaAd",
    "MambaAdConfig",
    "PatchCore",
    "PatchCoreConfig",
    "Rd4ad",
    "Rd4adConfig",
    "ReContrast",
    "ReContrastConfig",
    "SimpleNet",
    "SimpleNetConfig",
    "SteppingDetector",
    "UniAd",
    "UniAdConfig",
    "ViTad",
    "ViTadConfig",
    "detector_class",
    "detector_names",
]
_HOMES = {
    "base": ("Detector", "DetectorConfig", "FittingDetector", "SteppingDetector"),
    "destseg": ("DeStSeg", "DeStSegConfig"),
    "diad": ("Diad", "DiadConfig"),
    "diffusion_ad": ("DiffusionAd", "DiffusionAdConfig"),
    "dinomaly": ("Dinomaly", "DinomalyConfig"),
    "mambaad": ("MambaAd", "MambaAdConfig"),
    "patchcore": ("PatchCore", "PatchCoreConfig"),
    "rd4ad": ("Rd4ad", "Rd4adConfig"),
    "recontrast": ("ReContrast", "ReContrastConfig"),
    "simplenet": ("SimpleNet", "SimpleNetConfig"),
    "uniad": ("UniAd", "UniAdConfig"),
    "vitad": ("ViTad", "ViTadConfig"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever is asked for
    """A method is imported when one of its names is asked for, so that settings of one need not read all others."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"muad.detectors.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
