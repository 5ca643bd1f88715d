"""What a run says of itself while it trains: metrics.jsonl, optional TensorBoard events, and the stop on NaN."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Self

import torch

from muad.errors import ConfigError, MuadError

if TYPE_CHECKING:
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from muad.types import Losses


class TrainingError(MuadError):
    """Training cannot go on; the last checkpoint is from before the fault."""


class RunLog:
    """Collects the losses of each step on the device and writes them out together, so that a GPU is not held up.

    Args:
        run_dir: Where `metrics.jsonl` and TensorBoard events go.
        start: First step of this session; lines of later steps, from before a crash, are removed.
        writing: Whether this process writes; all processes check their losses.
        tensorboard: Also write TensorBoard events.
    """

    def __init__(self, run_dir: Path, start: int, *, writing: bool, tensorboard: bool) -> None:
        self.path = run_dir / "metrics.jsonl"
        self.writing = writing
        self._pending: list[tuple[int, float, Losses]] = []
        self._since = time.perf_counter()
        self._events = _event_writer(run_dir) if tensorboard and writing else None
        if writing and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) < start]
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, step: int, learning_rate: float, losses: Losses) -> None:
        """Remember one step."""
        self._pending.append((step, learning_rate, losses))

    def flush(self) -> float | None:
        """Check and write what was added since the last call; returns the mean loss, or None if nothing was added.

        Raises:
            TrainingError: A loss is not finite; the message names the term and the step.
        """
        if not self._pending:
            return None
        names = tuple(self._pending[0][2].terms)
        rows = [torch.stack([losses.total.detach(), *losses.terms.values()]) for _, _, losses in self._pending]
        table = torch.stack(rows).float().cpu()
        for (step, _, _), row in zip(self._pending, table, strict=True):
            for name, value in zip((*names, "total"), (*row[1:].tolist(), row[0].item()), strict=True):
                if not torch.isfinite(torch.tensor(value)):
                    raise TrainingError(
                        f"loss must be finite, got {name} = {value} at step {step}. Continue from the last checkpoint "
                        "with a lower optim.lr, detector.attention_eps = 1e-6, or training.precision = '32-true'."
                    )
        step, learning_rate, _ = self._pending[-1]
        seconds = (time.perf_counter() - self._since) / len(self._pending)
        mean = table.mean(0)
        line = {
            "step": step,
            "loss": mean[0].item(),
            **dict(zip(names, mean[1:].tolist(), strict=True)),
            "learning_rate": learning_rate,
            "seconds_per_step": seconds,
        }
        if self.writing:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if self._events is not None:
            for name in ("loss", *names, "learning_rate", "seconds_per_step"):
                self._events.add_scalar(name, line[name], step)
        self._pending.clear()
        self._since = time.perf_counter()
        return float(mean[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        if self._events is not None:
            self._events.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a half-written last line


def _event_writer(run_dir: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "training.tensorboard must be false without the tensorboard package, got true. Install muad[tensorboard]."
        ) from None
    return SummaryWriter(str(run_dir / "tensorboard"))
