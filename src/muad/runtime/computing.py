"""By what and how precisely a trained detector is computed: what can be asked for, of a run folder and of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muad.errors import ConfigError

BackendName = Literal["auto", "torch", "openvino", "onnx"]
BACKENDS: dict[BackendName, tuple[str, ...]] = {
    "torch": ("fp32", "bf16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
}
"""The precisions of each; `auto` has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """How to compute a trained detector's maps.

    Attributes:
        backend: Runtime of the network. `auto` is torch for a run folder, and for a bundle, which has no torch, what
            was fastest here on its golden samples.
        precision: Of its matrix products. `auto` of a run is bf16 where the processor or card is fast at it and
            verdicts stay as they are, and fp32 elsewhere; of a bundle, whatever of its precisions is fastest and keeps
            the deviation that was approved.
        compile: Have torch.compile generate code for this machine; takes 10 to 60 seconds at the first images.
    """

    backend: BackendName = "torch"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.backend != "auto" and self.backend not in BACKENDS:
            raise ConfigError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {self.backend!r}.")
        choices = ("auto", *BACKENDS.get(self.backend, BACKENDS["openvino"]))
        if self.precision not in choices:
            raise ConfigError(
                f"precision must be one of {', '.join(choices)} with backend {self.backend}, got {self.precision!r}."
            )
        if self.compile and self.backend not in ("auto", "torch"):
            raise ConfigError(f"compile must be off with backend {self.backend}, got on. Use backend torch.")
