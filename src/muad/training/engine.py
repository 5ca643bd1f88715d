"""The Fabric engine of a run: device, processes, precision."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from muad.device import choose_device, has_fast_bf16
from muad.threads import share_threads

if TYPE_CHECKING:
    from muad.configuration.run_config import Precision


class Autocast(MixedPrecision):
    """Autocast as Fabric has it, but for inputs: images rounded to bf16 would have lost grey levels."""

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401  whatever the detector takes
        """The input as it is."""
        return data


def launch(precision: Precision, *, device: str = "auto", devices: int = 1, nodes: int = 1) -> Fabric:
    """A launched engine; under `torchrun` the launcher decides about processes and nodes.

    Args:
        precision: As in `training.precision`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: Processes per node.
        nodes: Number of nodes.
    """
    chosen = choose_device(device)
    resolved = resolve_precision(precision, device)
    if dist.is_available() and dist.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    each = share_threads(devices) if chosen.type == "cpu" else None
    if each is not None:
        torch.set_num_threads(each)
    # A number after the colon names one card; Fabric takes it as a list.
    which = [chosen.index] if chosen.index is not None and devices == 1 else devices
    autocast = Autocast("bf16-mixed", chosen.type) if resolved == "bf16-mixed" else None
    fabric = Fabric(accelerator=chosen.type, devices=which, num_nodes=nodes, plugins=autocast, strategy="auto")
    fabric.launch()
    return fabric


def resolve_precision(precision: Precision, device: str = "auto") -> Literal["32-true", "bf16-mixed"]:
    """`auto` as what it means on this device."""
    if precision == "auto":
        return "bf16-mixed" if has_fast_bf16(choose_device(device)) else "32-true"
    return precision
