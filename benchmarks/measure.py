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
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from muad.detectors import Dinomaly
from muad.detectors.types import Batch
from muad.device import describe_device

PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "onnxruntime", "openvino", "nncf")
_UNITS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512_f")
_NOISY = 1.25
_PATIENCE_S = 600


def time_call(call: Callable[[], object], *, warmups: int, budget_s: float) -> dict[str, float | bool]:
    """Median seconds of repeated calls: at least 3, at most 50, more than that while the budget lasts.

    Returns:
        `s`, the fastest one `best_s`, and `noisy` where the median is far from it: others were using the machine.
    """
    for _ in range(warmups):
        call()
    wait_for_others()
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < 3 or (len(taken) < 50 and time.perf_counter() - begun < budget_s):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    middle = statistics.median(taken)
    return {"s": middle, "best_s": min(taken), "noisy": middle > _NOISY * min(taken)}


def wait_for_others() -> None:
    """Wait until as many processes are ready as `MUAD_BENCH_MEETING` says, `FOLDER:COUNT`; without it, do not wait.

    Raises:
        TimeoutError: One of them never came.
    """
    folder, _, count = os.environ.get("MUAD_BENCH_MEETING", "").rpartition(":")
    if not folder:
        return
    (Path(folder) / str(os.getpid())).touch()
    until = time.monotonic() + _PATIENCE_S
    while len(list(Path(folder).iterdir())) < int(count):
        if time.monotonic() > until:
            raise TimeoutError(f"{count} processes must be ready within {_PATIENCE_S} s, got fewer")
        time.sleep(0.01)


def peak_flops(device: torch.device, kind: torch.dtype, side: int) -> float:
    """Operations per second of a matrix product of that side: what an image and a step are held against."""
    left = torch.randn(side, side, device=device, dtype=kind)
    return 2 * side**3 / seconds_per_call(lambda: left @ left, device)


def seconds_per_call(call: Callable[[], object], device: torch.device, calls: int = 10) -> float:
    """Mean time of a call, after three to warm up."""
    for _ in range(3):
        call()
    _wait(device)
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return (time.perf_counter() - begun) / calls


def flops_of_image(detector: Dinomaly, image: Tensor) -> float:
    """Operations of matrix products from a normalised image, 1 x 3 x height x width, to its distances."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.distance_map(image)
    return float(counter.get_total_flops())


def flops_of_step(detector: Dinomaly, images: Tensor) -> float:
    """Operations of a training step on the kept features of these images, backward pass included."""
    features = detector.encode(images)
    batch = Batch(
        images=images[:0], seeds=tuple(range(len(images))), categories=("part",) * len(images), features=features
    )
    with FlopCounterMode(display=False) as counter:
        detector(batch, 0).total.backward()
    detector.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
