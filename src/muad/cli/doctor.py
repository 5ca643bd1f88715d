"""`muad doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from muad.cli.display import show, show_json


def command(
    timeout_s: Annotated[float, typer.Option(help="Time to wait for the hub of encoder weights.", min=0)] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what this machine offers: versions, device, precision, threads, memory, whether the hub is reachable."""
    from muad.bench import not_installed

    try:
        lines = _of_the_bench(timeout_s)
    except ModuleNotFoundError as error:
        if (missing := not_installed(error)) is None:
            raise
        lines = {**_of_the_line(), "training": missing}
    if as_json:
        show_json(lines)
        return
    width = max(map(len, lines))
    for name, value in lines.items():
        show(f"{name:<{width}}  {value}")


def _of_the_bench(timeout_s: float) -> dict[str, str]:
    import torch

    from muad.device import choose_device, describe_device, free_memory_bytes, has_fast_bf16
    from muad.encoders.hub import hub_reachable
    from muad.threads import describe_threads, usable_cores
    from muad.training.engine import resolve_precision
    from muad.training.reproducibility import environment

    device = choose_device()
    facts = environment(device)
    return {
        "muad": facts["muad"],
        "python": f"{facts['python']}, {facts['platform']}",
        **{name: version or "not installed" for name, version in facts["versions"].items()},
        "device": f"{device}: {describe_device(device)}",
        "bf16 units": "yes" if has_fast_bf16(device) else "no: bfloat16 would be slower here than float32",
        "precision": f"{resolve_precision('auto')} (training.precision = auto)",
        "cores": str(usable_cores()),
        "threads": f"{torch.get_num_threads()} ({describe_threads()})",
        "free memory": f"{free_memory_bytes(device) / 2**30:.1f} GiB",
        "hub": "reachable" if hub_reachable(timeout_s) else "not reachable: pass encoder files with --encoder-weights",
    }


def _of_the_line() -> dict[str, str]:
    """What there is where bundles are judged and nothing is trained."""
    import platform
    from importlib.metadata import version

    import cv2

    from muad._version import __version__
    from muad.runtime.sessions import PACKAGES, runtime_version, runtimes
    from muad.threads import describe_threads, usable_cores

    here = runtimes()
    return {
        "muad": __version__,
        "python": f"{platform.python_version()}, {platform.platform()}",
        **{name: version(name) for name in ("numpy", "pillow")},
        "opencv": cv2.__version__,
        **{PACKAGES[name]: runtime_version(name) if name in here else "not installed" for name in PACKAGES},
        "cores": str(usable_cores()),
        "threads": describe_threads(),
    }
