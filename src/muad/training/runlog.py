"""What a run says of itself while it trains: metrics.jsonl, the loggers it was asked for, and what happens at a NaN."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Self, cast

import torch

from muad.errors import CheckpointError, MuadError
from muad.runs.folder import write_text
from muad.training.loggers import Curves
from muad.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jaxtyping import Float
    from lightning_fabric import Fabric
    from torch import Tensor

    from muad.detectors.types import Losses


MOST_SKIPPED = 100  # steps in a row; more are not an accident


class TrainingError(MuadError):
    """Training cannot go on; the last checkpoint is from before the fault."""


class RunLog:
    """Collects the losses of each step on the device and writes them out together, so that a GPU is not held up.

    Args:
        run_dir: Where `metrics.jsonl` goes.
        start: First step of this session; lines of later steps, from before a crash, are removed.
        fabric: Launched engine; its first process writes, all of them see and check the mean over all.
        curves: Loggers that also get the lines of the first process.
        skipped: Told of steps that were left out because their gradient was not finite; None where none are.
    """

    def __init__(
        self,
        run_dir: Path,
        start: int,
        fabric: Fabric,
        *,
        curves: Curves | None = None,
        skipped: Callable[[str], None] | None = None,
    ) -> None:
        self.path = run_dir / "metrics.jsonl"
        self._skipped = skipped
        self._in_a_row = 0
        self._fabric = fabric
        self._pending: list[tuple[int, float, Losses, Tensor]] = []
        self._since = time.perf_counter()
        self._curves = Curves() if curves is None else curves
        if fabric.is_global_zero and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) < start]
            if kept != lines:
                write_text(self.path, "".join(f"{line}\n" for line in kept))

    def add(self, step: int, learning_rate: float, losses: Losses, gradient_norm: Float[Tensor, ""]) -> None:
        """Remember one step; when the terms change with a phase of the training, earlier ones are written first."""
        if self._pending and self._pending[0][2].terms.keys() != losses.terms.keys():
            self.flush()
        self._pending.append((step, learning_rate, losses, gradient_norm))

    def flush(self) -> float | None:
        """Check and write what was added since the last call; returns the mean loss, or None if no step was taken.

        Raises:
            TrainingError: A loss or the gradient is not finite; the message names the term and the step. Where such
                steps are skipped, a hundred in a row were.
            CheckpointError: The line cannot be written.
        """
        if not self._pending:
            return None
        names = (*self._pending[0][2].terms, "loss", "gradient_norm")
        table = self._table()
        taken: list[list[float]] = []
        left_out: list[int] = []
        for (step, *_), row in zip(self._pending, table.tolist(), strict=True):
            if self._skipped is not None and not math.isfinite(row[-1]):
                left_out.append(step)
                self._in_a_row += 1
                continue
            taken.append(row)
            self._in_a_row = 0
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    raise TrainingError(
                        f"{name} must be finite, got {value} at step {step}. Continue from the last checkpoint "
                        "with a lower optim.lr or training.precision = '32-true'; Dinomaly also with "
                        "detector.attention_eps = 1e-6."
                    )
        means = dict(zip(names, torch.tensor(taken, dtype=table.dtype).mean(0).tolist(), strict=True)) if taken else {}
        step, learning_rate, *_ = self._pending[-1]
        seconds = (time.perf_counter() - self._since) / len(self._pending)
        line = {"step": step, **means, "learning_rate": learning_rate, "seconds_per_step": seconds}
        if self._skipped is not None:
            line["skipped_steps"] = len(left_out)
        if self._fabric.is_global_zero:
            self._write(line)
        self._pending.clear()
        self._since = time.perf_counter()
        if self._skipped is not None and left_out and self._fabric.is_global_zero:
            self._skipped(f"skipped {counted(len(left_out), 'step')}, the last {left_out[-1]}: no finite gradient")
        if self._in_a_row >= MOST_SKIPPED:
            raise TrainingError(
                f"gradient must be finite in one of {MOST_SKIPPED} steps in a row, got none up to step {step}. "
                "Continue from the last checkpoint with a lower optim.lr or training.precision = '32-true'."
            )
        return float(means["loss"]) if means else None

    def _table(self) -> Float[Tensor, "steps terms"]:
        """Losses and gradient norm of the pending steps, averaged over all processes."""
        rows = [
            torch.stack([term.float() for term in (*losses.terms.values(), losses.total.detach(), norm)])
            for _, _, losses, norm in self._pending
        ]
        # Every process gets the same table, so that all of them stop at a loss that is not finite.
        return cast("Tensor", self._fabric.all_reduce(torch.stack(rows), reduce_op="mean")).cpu()

    def _write(self, line: dict[str, float]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"{self.path.name} must be writable, got {self.path} ({error}). "
                "Free disk space and continue with --resume."
            ) from None
        self._curves.values({name: value for name, value in line.items() if name != "step"}, int(line["step"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *fault: object) -> None:
        self._curves.__exit__(kind, *fault)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a half-written last line
