"""The detectors, one file each, and the table that names them."""

from muad.detectors.base import Detector
from muad.detectors.dinomaly import Dinomaly, DinomalyConfig

DETECTORS = {"dinomaly": Dinomaly}

__all__ = ["DETECTORS", "Detector", "Dinomaly", "DinomalyConfig"]
