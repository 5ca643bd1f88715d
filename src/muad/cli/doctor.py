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
    import torch

    from muad.device import choose_device, describe_device, free_memory_bytes, has_fast_bf16
    from muad.encoders.hub import hub_reachable
    from muad.threads import describe_threads, usable_cores
    from muad.training.engine import resolve_precision
    from muad.training.reproducibility import environment

    device = choose_device()
    facts = environment(device)
    lines = {
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
    if as_json:
        show_json(lines)
        return
    width = max(map(len, lines))
    for name, value in lines.items():
        show(f"{name:<{width}}  {value}")
