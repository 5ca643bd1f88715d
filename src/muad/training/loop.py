"""Training, whole and in order. Fabric supplies devices, processes and precision; the algorithm is here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from muad.checkpoints.checkpoint import (
    build_detector,
    copy_tensors,
    load_latest,
    load_optimizer,
    load_weights,
    save_checkpoint,
)
from muad.detectors.base import FittingDetector
from muad.detectors.types import Losses
from muad.errors import ConfigError
from muad.optim import WeightAverage
from muad.runs.folder import checkpoints
from muad.training.batches import Notice, Progress, training_batches
from muad.training.fitting import fit_detector
from muad.training.interrupt import StopRequest
from muad.training.loggers import open_curves
from muad.training.optimizer import build_optimizer, may_step, resting, set_learning_rates
from muad.training.recorded import choose_step
from muad.training.runlog import RunLog
from muad.wording import counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import Detector
    from muad.detectors.types import Batch
    from muad.runs.folder import Checkpoint
    from muad.types import Record


def train_detector(
    config: RunConfig,
    records: Sequence[Record],
    run_dir: Path,
    fabric: Fabric,
    *,
    begin: Checkpoint | None = None,
    order: Sequence[int] | None = None,
    progress: Progress,
    note: Notice,
) -> Detector:
    """Train on normal images and leave the result in the run folder's last checkpoint, from which it also resumes.

    Args:
        config: The whole run.
        records: Training images of one or many categories.
        run_dir: Where checkpoints and metrics go; continues after its newest checkpoint.
        fabric: Launched engine.
        begin: What was trained before, of another folder, and is gone on from with an optimizer that begins anew; None
            to begin untrained.
        order: Images of an epoch by their place in `records`, some of them more than once; None for each once.
        progress: Called with what is being done, how much is done, how much there is, and the mean loss when known.
        note: Called with sentences the user should see.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the state after the last whole step is saved first.
        DataError: An image cannot be read, and `training.skip_bad` is off.
        TrainingError: The loss is no longer finite.
        CheckpointError: A checkpoint cannot be written or read.
    """
    torch.manual_seed(config.training.seed)
    detector = build_detector(config)
    if isinstance(detector, FittingDetector):
        return fit_detector(detector, config, records, run_dir, fabric, begin=begin, progress=progress, note=note)
    detector.total_steps = config.schedule.total_steps
    optimizer = build_optimizer(config.optim, detector, fabric.device.type)
    model, engine_optimizer = fabric.setup(detector, optimizer)
    decay = config.training.ema_decay
    average = WeightAverage(detector.trainable_state(), decay) if decay else None
    start = resume(config, run_dir, detector, optimizer, average, begin)
    skipping = config.optim.skip_nonfinite
    curves = open_curves(config, run_dir, start, note) if fabric.is_global_zero else None
    log = RunLog(run_dir, start, fabric, curves=curves, skipped=note if skipping else None)

    def move(batch: Batch, step: int | Tensor, idle: Sequence[Parameter] = ()) -> tuple[Losses, Tensor]:
        losses = compute_gradients(model, batch, step, config.training.accumulate, fabric, idle)
        most = config.optim.clip_norm or math.inf
        norm = cast("Tensor", fabric.clip_gradients(model, engine_optimizer, max_norm=most, error_if_nonfinite=False))
        if not skipping or may_step(optimizer, norm):
            engine_optimizer.step()
        engine_optimizer.zero_grad()
        return losses, norm

    loss, take_step = None, choose_step(move, config, detector, optimizer, fabric, start)
    batches = training_batches(
        config, records, detector, fabric, start=start, order=order, progress=progress, note=note
    )
    with StopRequest(active=fabric.world_size == 1) as stop, log, closing(batches):
        for step, batch in batches:
            rate = set_learning_rates(config, optimizer, step)
            losses, norm = take_step(detector.prepare(batch), step, resting(optimizer, step))
            if average is not None:
                average.update(detector.trainable_state(), step)
            log.add(step, rate, losses, norm)
            done = step + 1
            finished = done == config.schedule.total_steps
            stopping = stop.requested  # read once: a signal that comes later is for the next step, which is then saved
            due = finished or stopping
            if due or done % config.training.log_every_steps == 0:
                loss = log.flush() or loss
            if due or done % config.training.save_every_steps == 0:
                log.flush()  # never save what a loss or gradient that is not finite has touched
                save(run_dir, done, detector, None if finished else optimizer, average, fabric)
            progress("train", done, config.schedule.total_steps, loss)
            if stopping:
                raise KeyboardInterrupt
    if average is not None:
        copy_tensors(average.tensors, detector.trainable_state())
    return detector


def compute_gradients(
    model: _FabricModule, batch: Batch, step: int | Tensor, parts: int, fabric: Fabric, idle: Sequence[Parameter] = ()
) -> Losses:
    """Add the gradient of a step's loss to every parameter but idle ones, in as many passes as memory asks for.

    Returns:
        The losses, averaged over the parts, without gradient.
    """
    computed = []
    for number, part in enumerate(batch.split(parts), 1):
        with fabric.no_backward_sync(model, enabled=number < parts):
            losses: Losses = model(part, step)
            total = losses.total / parts
            if idle and fabric.world_size > 1:  # processes wait for a gradient of every parameter: here, for zeros
                total = total + 0 * torch.stack([parameter.sum() for parameter in idle]).sum()
            fabric.backward(total)
        computed.append(losses)
    for parameter in idle:
        parameter.grad = None  # without one, an optimizer passes over it
    terms = {name: torch.stack([losses.terms[name] for losses in computed]).mean(0) for name in computed[0].terms}
    return Losses(total=torch.stack([losses.total.detach() for losses in computed]).mean(), terms=terms)


def resume(
    config: RunConfig,
    run_dir: Path,
    detector: Detector,
    optimizer: Optimizer,
    average: WeightAverage | None,
    begin: Checkpoint | None = None,
) -> int:
    """Load the newest checkpoint, or else what the run begins with, and return the number of steps already done."""
    found = checkpoints(run_dir) or ([begin] if begin is not None else [])
    if not found:
        return 0
    newest, total = found[-1], config.schedule.total_steps
    if newest.step > total:
        done = counted(newest.step, "step")
        raise ConfigError(f"schedule.total_steps must be at least the {done} already done, got {total}.")
    load_weights(newest, detector)
    if average is not None:
        copy_tensors(detector.trainable_state(), average.tensors)
    if newest.step < total and newest is not begin:
        if average is not None:
            load_latest(newest, detector)
        load_optimizer(newest, optimizer)
    return newest.step


def save(
    run_dir: Path,
    step: int,
    detector: Detector,
    optimizer: Optimizer | None,
    average: WeightAverage | None,
    fabric: Fabric,
) -> None:
    """Write a checkpoint from the first process."""
    if fabric.is_global_zero:
        save_checkpoint(run_dir, step, detector, optimizer, None if average is None else average.tensors)
    fabric.barrier()
