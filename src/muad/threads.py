"""How many threads a process gets, and how they wait: settled before torch is imported.

The runtimes below torch read the environment once, when they are loaded. Left alone, OpenMP starts a thread for every
core it may run on, whatever part of them a container's quota grants, and a thread that has nothing to do spins. With
two processes on the same cores the spinning threads take the time of the working ones: a training step became thirty
times slower, where sleeping threads make it twice.

`prepare_threads` is called by the `muad` command and by the first use of a name of the package; what the user's own
environment says is left as it is.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_COUNTS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_WAITING = {
    "OMP_WAIT_POLICY": "passive",  # GNU's OpenMP, which torch brings on Linux: no spinning at all
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's, which would still spin for 200 ms
}
_ASKED = (*_WAITING, "GOMP_SPINCOUNT", "KMP_LIBRARY")  # whoever sets one of these has thought about waiting
_ours: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The processors of this process.

    Attributes:
        allowed: Logical processors it may run on.
        physical: Cores among them; the second thread of a core adds nothing to matrix products.
        quota: Processors whose time its control group grants; None without a quota.
    """

    allowed: int
    physical: int
    quota: float | None

    @property
    def threads(self) -> int:
        """Threads that can all compute at the same time."""
        granted = self.physical if self.quota is None else math.floor(self.quota + 0.5)
        return max(1, min(self.physical, granted))

    def __str__(self) -> str:
        quota = "no quota" if self.quota is None else f"quota of {self.quota:g}"
        return f"{self.physical} of {os.cpu_count() or 1}, {self.allowed} logical, {quota}"


def usable_cores(*, system: Path = Path("/sys"), processes: Path = Path("/proc")) -> Cores:
    """What affinity, topology and control groups leave to this process.

    Args:
        system: Where the system describes its processors and control groups.
        processes: Where it describes this process.
    """
    if hasattr(os, "sched_getaffinity"):
        processors: Iterable[int] = os.sched_getaffinity(0)
    else:
        processors = range(os.cpu_count() or 1)
    chosen = set(processors)
    return Cores(allowed=len(chosen), physical=_physical(chosen, system), quota=cpu_quota(system, processes))


def prepare_threads() -> None:
    """Set what the runtimes read when they are loaded, where the environment does not say otherwise.

    Where torch is loaded already it is too late, and nothing is changed.
    """
    if "torch" in sys.modules:
        return
    wanted = dict.fromkeys(_COUNTS, str(usable_cores().threads))
    if not any(name in os.environ for name in _ASKED):
        wanted |= _WAITING
    if "OMP_NUM_THREADS" in os.environ:
        wanted["OPENCV_FOR_THREADS_NUM"] = os.environ["OMP_NUM_THREADS"].partition(",")[0]
    for name, value in wanted.items():
        if name not in os.environ:
            os.environ[name] = value
            _ours.add(name)


def share_threads(processes: int) -> int | None:
    """Threads for each of some processes that train together here; None where the user has set a number.

    Those that are started from now on find it in their environment.
    """
    if processes < 2 or "OMP_NUM_THREADS" not in _ours:
        return None
    each = max(1, usable_cores().threads // processes)
    os.environ.update(dict.fromkeys(_ours.intersection(_COUNTS), str(each)))
    return each


def computing_threads() -> int:
    """Threads that a network is computed by: what the environment says, else one for each core."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) else usable_cores().threads


def reading_threads() -> int:
    """Threads that decode images beside the network: they wait for disks too, so there may be as many as cores."""
    return min(8, usable_cores().threads)


def describe_threads(environment: Mapping[str, str] = os.environ) -> str:
    """How threads are counted and how they wait, and who said so, in words."""
    said = [
        f"{name}={environment[name]} by {'muad' if name in _ours else 'the environment'}"
        for name in ("OMP_NUM_THREADS", *_ASKED)
        if name in environment
    ]
    return ", ".join(said) or "no variable is set"


def cpu_quota(system: Path = Path("/sys"), processes: Path = Path("/proc")) -> float | None:
    """Processors whose time the control groups of this process grant, the least of all levels; None without a quota."""
    found = []
    for line in _read(processes / "self" / "cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if hierarchy == "0" and not controllers:
            roots = [system / "fs" / "cgroup", system / "fs" / "cgroup" / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [system / "fs" / "cgroup" / name for name in (controllers, "cpu")]
        else:
            continue
        # A container may see itself at the top while its name is that of the host: a level that is not there is passed.
        place = Path(group.strip("/"))
        levels = [place, *place.parents]
        found += [_quota_of(root / level) for root in roots for level in levels]
    granted = [quota for quota in found if quota is not None]
    return min(granted, default=None)


def _quota_of(folder: Path) -> float | None:
    """The quota of one control group, of either version."""
    limit, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not limit:
        limit, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    try:
        quota = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such files
        return None
    return quota if quota > 0 else None


def _physical(processors: set[int], system: Path) -> int:
    """How many cores some logical processors are on; as many as there are where the system does not say."""
    topology = {number: system / "devices" / "system" / "cpu" / f"cpu{number}" / "topology" for number in processors}
    places = {
        (_read(folder / "physical_package_id"), _read(folder / "core_id") or str(number))
        for number, folder in topology.items()
    }
    return len(places) or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
