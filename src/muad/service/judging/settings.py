"""`[judging]`: how photographs that arrive together are judged together."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from muad.runtime.computing import Acceleration, BackendName


class JudgingSettings(BaseModel):
    """`[judging]` of station.toml.

    Attributes:
        batch_size: Most photographs judged together.
        wait_ms: How long a photograph waits for others to be judged with, at most.
        queue: Most photographs that wait; one more is answered with 503.
        device: Where to compute: auto, cpu, cuda or cuda:N.
        backend: What computes: auto takes what is fastest here.
        precision: In which precision; auto as the model was approved.
        keep_maps: Whether small anomaly maps are kept beside the photographs, which overlays are drawn from later.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(default=8, ge=1, le=256)
    wait_ms: float = Field(default=5.0, ge=0, le=10_000)
    queue: int = Field(default=64, ge=1, le=10_000)
    device: str = "auto"
    backend: BackendName = "auto"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    keep_maps: bool = True

    @property
    def acceleration(self) -> Acceleration | None:
        """What is asked for; None for what is best here."""
        if (self.backend, self.precision) == ("auto", "auto"):
            return None
        return Acceleration(backend=self.backend, precision=self.precision)
