"""Module names of the release before: they lead to where a module is now, with a warning, for one release."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "assembly": "runtime.views",
    "checkpoint": "checkpoints.checkpoint",
    "config": "configuration.run_config",
    "config_faults": "runs.faults",
    "data.calibration_share": "calibration.share",
    "data.content_hash": "datasets.content_hash",
    "data.dagm": "datasets.dagm",
    "data.folder": "datasets.folder",
    "data.foreground": "synthesis.foreground",
    "data.holdout": "datasets.holdout",
    "data.images": "images.reading",
    "data.index": "datasets.index",
    "data.loading": "images.loading",
    "data.manifest": "datasets.manifest",
    "data.mvtec_ad": "datasets.mvtec_ad",
    "data.near_duplicates": "images.near_duplicates",
    "data.pairing": "datasets.pairing",
    "data.placement": "images.placement",
    "data.published": "datasets.published",
    "data.real_iad": "datasets.real_iad",
    "data.roi": "images.roi",
    "data.sampling": "training.sampling",
    "data.settings": "images.settings",
    "data.summary": "datasets.summary",
    "data.synthesis": "synthesis",
    "data.toy_factory": "toy_factory",
    "data.transforms": "images.preprocessing",
    "data.tree": "datasets.tree",
    "data.values": "images.values",
    "data.visa": "datasets.visa",
    "demo": "experiments.demo",
    "detectors.nearest_neighbour": "detectors.patchcore",
    "diffusion": "nn.diffusion",
    "inference": "runtime.predictor",
    "limit_setting": "decisions.limit_setting",
    "limits": "decisions.limits",
    "metrics.conformal": "decisions.conformal",
    "nn.encoder": "encoders.encoder",
    "nn.encoder_families": "encoders.families",
    "nn.encoder_hub": "encoders.hub",
    "nn.encoder_networks": "encoders.networks",
    "nn.encoder_weights": "encoders.weights",
    "official": "checkpoints.official",
    "preparation": "experiments.preparation",
    "probe": "experiments.probe",
    "recognition.features": "encoders.product_encoder",
    "regions": "decisions.regions",
    "run_images": "runs.images",
    "scores": "runs.scores",
    "training.calibration_split": "calibration.split",
}
"""Where modules below `muad` were, and where they are; of a package, its modules too."""
_EMPTY = "data"  # a package that is gone, of which only modules are left


class _Leading(Loader):
    """Makes a module that has the names of another."""

    def exec_module(self, module: ModuleType) -> None:
        """Lead to where the module is now."""
        name = module.__name__.removeprefix("muad.")
        if name == _EMPTY:
            module.__path__ = []
            return
        place = f"muad.{_place(name)}"
        warnings.warn(
            f"{module.__name__} is {place} now; its former name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        found = import_module(place)
        if hasattr(found, "__path__"):
            module.__path__ = []
        module.__getattr__ = partial(getattr, found)  # type: ignore[method-assign]


class _Former(MetaPathFinder):
    """Finds modules by their former names."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """A module that was moved; None for any other."""
        root, _, name = fullname.partition(".")
        if root != "muad" or (name != _EMPTY and _place(name) is None):
            return None
        return ModuleSpec(fullname, _Leading())


def _place(name: str) -> str | None:
    """Where a module is now, itself or within a package that was moved."""
    if name in MOVED:
        return MOVED[name]
    package, _, module = name.rpartition(".")
    return f"{MOVED[package]}.{module}" if package in MOVED else None


def keep_former_names() -> None:
    """Let former names be imported; the last to be asked, so that what there is goes first."""
    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.append(_Former())
