"""What to write down so that a run can be repeated and filed: versions, code state, device, encoder, licence."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from muad._version import __version__
from muad.device import describe_device

if TYPE_CHECKING:
    from muad.detectors import Detector
    from muad.encoders.encoder import EncoderConfig

_PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "safetensors")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine and code state, as plain values for `run.json`."""
    return {
        "muad": __version__,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "git": git_state(Path(__file__).parent),
    }


def describe_detector(detector: Detector, encoders: Sequence[EncoderConfig]) -> dict[str, Any]:
    """How photographs are prepared, and whose frozen weights, if any, are used under which licence."""
    preprocessing = dataclasses.asdict(dataclasses.replace(detector.preprocessing, interest=None))
    preprocessing["interest"] = repr(detector.preprocessing.interest) if detector.preprocessing.interest else None
    facts: dict[str, Any] = {"preprocessing": preprocessing}
    each = [(encoder.name, encoder.family()) for encoder in encoders]
    if each:
        facts["encoder"] = {
            "name": " + ".join(name for name, _ in each),
            "fingerprint": detector.fingerprint,
            "licence": ", ".join(dict.fromkeys(family.licence for _, family in each)),
            "source": "; ".join(dict.fromkeys(family.source for _, family in each)),
        }
    if len(each) > 1:
        facts["encoders"] = [
            {"name": name, "licence": family.licence, "source": family.source} for name, family in each
        ]
    return facts


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it, or None outside a checkout."""
    try:
        # Only the package's own checkout counts, not a repository that happens to contain a virtual environment.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, check=True, text=True, timeout=10
    )
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return str(version(package))
    except PackageNotFoundError:
        return None
