"""Times, memory and the machine: what every row of the benchmark records."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch

from muad.device import describe_device

PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "onnxruntime", "openvino", "nncf")
_UNITS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512_f")
_NOISY = 1.25


def time_call(call: Callable[[], object], *, warmups: int, budget_s: float) -> dict[str, float | bool]:
    """Median seconds of repeated calls: at least 3, at most 50, more than that while the budget lasts.

    Returns:
        `s`, the fastest one `best_s`, and `noisy` where the median is far from it: others were using the machine.
    """
    for _ in range(warmups):
        call()
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < 3 or (len(taken) < 50 and time.perf_counter() - begun < budget_s):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    middle = statistics.median(taken)
    return {"s": middle, "best_s": min(taken), "noisy": middle > _NOISY * min(taken)}


def peak_mib() -> float:
    """Largest memory this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def describe_machine() -> dict[str, str]:
    """Hardware and software, for the header."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capabilities = torch.cpu.get_capabilities()
    units = [
        name for name in ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512_f") if capabilities.get(name)
    ]
    return {
        "processor": describe_device(torch.device("cpu")),
        "matrix units": ", ".join(units) or "none beyond AVX2",
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "threads": str(torch.get_num_threads()),
        "packages": ", ".join(f"{name} {_version_of(name)}" for name in PACKAGES),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
