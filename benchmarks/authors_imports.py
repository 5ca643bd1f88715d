"""Imports of the authors' modules from a folder of checkouts, with stand-ins for what they need and is not installed.

Only networks, losses and maps of theirs are called, so what else they import (plots, loggers, other metrics) may be
anything. Weights are random: nothing is downloaded, and only time is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_FOLDERS = {
    "RD4AD": "hq-deng/RD4AD @ 6554076",
    "ReContrast": "guojiajeremy/ReContrast @ 381ef13",
    "SimpleNet": "DonaldRR/SimpleNet @ 351a2b8",
    "ml-destseg": "apple/ml-destseg @ f6ea31f",
    "patchcore-inspection": "amazon-science/patchcore-inspection @ fcaa92f",
    "UniAD": "zhiyuanyou/UniAD @ a5b9d9d",
    "ADer": "zhangzjn/ADer @ 902937a",
    "MambaAD": "lewandofskee/MambaAD @ 0434452",
    "mamba": "state-spaces/mamba @ e9594ce",
    "Dinomaly": "guojiajeremy/Dinomaly @ c5c76d0",
    "DiffusionAD": "HuiZhang0812/DiffusionAD @ 8a64c03",
}
_ABSENT = {
    *("matplotlib", "seaborn", "skimage", "ptflops", "tensorboardX", "torchmetrics", "numba", "adeval", "pyzorder"),
    *("anomalib", "tabulate", "triton", "causal_conv1d", "selective_scan_cuda", "fvcore", "imgaug"),
}


class MissingCodeError(Exception):
    """A checkout, or a package that the authors' code needs in earnest, is not there."""


class _Anything(type):
    """A class of which every attribute is a class like it, and that may be called or derived from."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent


class Absent(metaclass=_Anything):
    """Whatever is imported of a package that is not installed."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        pass


class _StandIn(ModuleType):
    __path__ = ()  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent


class _StandIns:
    """Finds packages of the list after everything that is installed has been looked through."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(name, self) if name.partition(".")[0] in _ABSENT else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def prepare(code: Path, *folders: str) -> None:
    """Let modules be imported from folders of checkouts, and keep them from a graphics card and from downloads.

    Args:
        code: Where the checkouts lie, each in a folder of its repository's name.
        folders: Places in it, the first of which is looked through first.

    Raises:
        MissingCodeError: One is not there.
    """
    own = Path(__file__).resolve().parent  # has a module of a name that one of theirs has too
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != own]
    for folder in reversed(folders):
        if not (code / folder).is_dir():
            repository = _FOLDERS[folder.partition("/")[0]]
            raise MissingCodeError(f"{code / folder} must be a checkout of {repository}, got none")
        sys.path.insert(0, str(code / folder))
    sys.meta_path.append(_StandIns())  # type: ignore[arg-type]
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # type: ignore[method-assign,assignment]


@contextmanager
def random_weights() -> Iterator[None]:
    """Networks of timm without a download, whatever is asked for."""
    import timm

    create: Callable[..., Any] = timm.create_model
    timm.create_model = lambda *arguments, **settings: create(*arguments, **{**settings, "pretrained": False})
    try:
        yield
    finally:
        timm.create_model = create


def reference_scan(code: Path) -> Callable[..., Any]:
    """`selective_scan_ref`, the plain form of the scan that MambaAD runs as a kernel on a card.

    Raises:
        MissingCodeError: Its checkout, or the package einops, is not there.
    """
    prepare(code, "mamba")
    for name, folder in (("mamba_ssm", ""), ("mamba_ssm.ops", "ops"), ("mamba_ssm.ops.triton", "ops/triton")):
        package = ModuleType(name)  # without what the package imports by itself
        package.__path__ = [str(code / "mamba" / "mamba_ssm" / folder)]
        sys.modules[name] = package
    sys.modules["mamba_ssm.ops.triton.layer_norm"] = _StandIn("mamba_ssm.ops.triton.layer_norm")
    from mamba_ssm.ops import selective_scan_interface as scans

    scans.selective_scan_fn = scans.selective_scan_ref
    found: Callable[..., Any] = scans.selective_scan_ref
    return found
