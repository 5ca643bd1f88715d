"""Where to compute, and whether bf16 is worth using there."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from muad.errors import ConfigError


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of that name; `auto` is the first GPU, or the processor.

    Raises:
        ConfigError: No such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        available = ["auto", "cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise ConfigError(f"device must be one of {', '.join(available)} on this machine, got {name!r}.") from None
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices faster than float32 ones (its own units, not emulation)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def describe_device(device: torch.device) -> str:
    """Name of the processor or card, as people know it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def free_memory_bytes(device: torch.device) -> int:
    """Memory that can still be taken on the device; -1 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return -1
