"""The detectors, one file each, and the table that names them."""

from collections.abc import Callable
from typing import Any

from muad.detectors.base import Detector
from muad.detectors.diffusion_ad import DiffusionAd, DiffusionAdConfig
from muad.detectors.dinomaly import Dinomaly, DinomalyConfig

DETECTORS: dict[str, Callable[[Any], Detector]] = {"dinomaly": Dinomaly, "diffusion_ad": DiffusionAd}

__all__ = ["DETECTORS", "Detector", "DiffusionAd", "DiffusionAdConfig", "Dinomaly", "DinomalyConfig"]
