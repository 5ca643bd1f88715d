"""A training step recorded once and replayed: what a graphics card is asked a thousand times for, it is asked once.

A step of a large detector is thousands of small operations, and a graphics card waits for each to be ordered. Recorded
as one graph, they follow each other without the host. So nothing in the step may depend on a value that the host
knows: step number, seeds and learning rates are tensors, which the host fills before each replay.

The first steps of a session are taken as they are, from the same buffers; they are steps like any other. The
arithmetic is that of `training/loop.py`, which is called here, not repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

from muad.detectors.types import Batch, Losses
from muad.optim import StableAdamW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_fabric import Fabric
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import SteppingDetector
    from muad.detectors.types import Features


class TakeStep(Protocol):
    """Moves the weights by one step; returns its losses and the norm of the gradient."""

    def __call__(self, batch: Batch, step: int | Tensor, idle: Sequence[Parameter] = ()) -> tuple[Losses, Tensor]:
        """Losses and gradient norm."""


COMPILED_FROM_STEPS = 3000
"""From so many steps on, compiling pays for the minute it takes."""
_FIRST_STEPS = 3  # libraries set themselves up in them, which cannot be recorded


class Graph(Protocol):
    """What can record operations and replay them."""

    def warm_up(self, operations: Callable[[], None]) -> None:
        """Carry them out once without recording, so that libraries set themselves up."""

    def record(self, operations: Callable[[], None]) -> None:
        """Keep the operations without carrying them out."""

    def replay(self) -> None:
        """Carry them out, on the tensors they were recorded on."""


class CudaGraph:
    """A graph of a graphics card."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def warm_up(self, operations: Callable[[], None]) -> None:
        """Carry them out once, on another stream than the usual one, as they will be when they are recorded."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            operations()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, operations: Callable[[], None]) -> None:
        """Keep the operations without carrying them out."""
        # Threads that decode images do as they like meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            operations()

    def replay(self) -> None:
        """Carry them out again."""
        self._graph.replay()


class RecordedStep:
    """Takes training steps like the function it is given, from buffers of its own.

    Args:
        move: One step as it is taken otherwise.
        optimizer: Reads its number of steps and its rates on the device.
        graph: Records and replays.
    """

    def __init__(self, move: TakeStep, optimizer: StableAdamW, graph: Graph) -> None:
        self._move, self._optimizer, self._graph = move, optimizer, graph
        self._taken = 0
        self._batch: Batch | None = None
        self._step: Tensor | None = None
        self._names: tuple[str, ...] = ()
        self._found: Tensor | None = None

    def __call__(
        self,
        batch: Batch,
        step: int | Tensor,
        idle: Sequence[Parameter] = (),  # noqa: ARG002  a run of one phase has none
    ) -> tuple[Losses, Tensor]:
        """Losses and gradient norm of one step."""
        self._fill(batch, step)
        self._optimizer.tell_rates()
        if self._taken < _FIRST_STEPS:
            self._graph.warm_up(self._run)
        else:
            if self._taken == _FIRST_STEPS:
                self._graph.record(self._run)
            self._graph.replay()
        self._taken += 1
        values = self._found.clone().unbind()  # type: ignore[union-attr]  # the next replay overwrites what it found
        terms = dict(zip(self._names, values, strict=False))
        return Losses(total=values[-2], terms=terms), values[-1]

    def _run(self) -> None:
        if self._batch is None or self._step is None:
            raise RuntimeError("a batch must have been laid down before the step is run")
        losses, norm = self._move(self._batch, self._step)
        self._names = tuple(losses.terms)
        self._found = torch.stack([value.float() for value in (*losses.terms.values(), losses.total.detach(), norm)])

    def _fill(self, batch: Batch, step: int | Tensor) -> None:
        """Lay the batch where the recorded step reads it."""
        device = (*_parts(batch.features), batch.images)[0].device
        seeds = torch.tensor(batch.seeds)
        if self._batch is None or self._step is None:
            self._batch = Batch(
                images=batch.images.clone(),
                seeds=batch.seeds,
                categories=batch.categories,
                features=_copied(batch.features),
                device_seeds=seeds.to(device),
            )
            self._step = torch.tensor(float(step), dtype=torch.float64, device=device)
            return
        pairs = [(self._batch.images, batch.images), (self._batch.device_seeds, seeds)]
        pairs += zip(_parts(self._batch.features), _parts(batch.features), strict=True)
        for own, given in pairs:
            own.copy_(given, non_blocking=True)  # type: ignore[union-attr]  # made above
        self._step.fill_(step)


def choose_step(
    move: TakeStep, config: RunConfig, detector: SteppingDetector, optimizer: Optimizer, fabric: Fabric, start: int
) -> TakeStep:
    """How the steps of a run are taken from `start` on: one by one, or recorded where that is possible and not refused.

    Recorded are those on one card, of one phase, of a detector that asks nothing of the host.
    """
    asked, left = config.training.recording, config.schedule.total_steps - start
    one_phase = not any("learns" in group for group in optimizer.param_groups)
    alone = fabric.device.type == "cuda" and fabric.world_size == 1 and config.training.accumulate == 1
    if asked == "off" or not (alone and one_phase and detector.asks_no_host and isinstance(optimizer, StableAdamW)):
        return move
    compiled = asked == "compiled" or (asked == "auto" and left >= COMPILED_FROM_STEPS)
    if compiled:
        detector.compile_losses()
    optimizer.keep_time_on_device(compiled=compiled, skipping=config.optim.skip_nonfinite)
    return RecordedStep(move, optimizer, CudaGraph())


def _parts(features: Features | None) -> tuple[Tensor, ...]:
    return features if isinstance(features, tuple) else () if features is None else (features,)


def _copied(features: Features | None) -> Features | None:
    if isinstance(features, tuple):
        return tuple(part.clone() for part in features)
    return None if features is None else features.clone()
