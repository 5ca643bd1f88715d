"""How much memory something took at its peak: of the card, or what the process grew by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muad.metrics.memory import return_freed_memory

if TYPE_CHECKING:
    import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """What was seen.

    Attributes:
        bytes: The peak; None where the system does not tell.
    """

    bytes: int | None = None


@contextmanager
def watch_memory(device: torch.device) -> Iterator[Peak]:
    """Watches what is done inside; the peak is known at the end.

    On a GPU it is what torch held there. Else it is how much more the process held at its peak than before, which
    Linux alone tells.
    """
    import torch

    peak = Peak()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before: int | None = torch.cuda.memory_allocated(device)
    else:
        return_freed_memory()
        before = _status("VmRSS") if _reset() else None
    try:
        yield peak
    finally:
        if before is not None:
            after = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")
            peak.bytes = None if after is None else max(0, after - before)


def _reset() -> bool:
    """Begin the process's high-water mark anew, if that can be."""
    try:
        descriptor = os.open(_RESET, os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"5")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _status(name: str) -> int | None:
    """A line of the kernel's account of this process, in bytes."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
