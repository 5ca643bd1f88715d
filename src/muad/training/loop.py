"""Training, whole and in order. Fabric supplies devices, processes and precision; the algorithm is here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from muad.checkpoint import build_detector, checkpoints, load_optimizer, load_weights, save_checkpoint
from muad.errors import ConfigError
from muad.optim import StableAdamW, warmup_cosine_rate
from muad.training.batches import Notice, Progress, training_batches
from muad.training.interrupt import StopRequest
from muad.training.runlog import RunLog

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

    from muad.config import RunConfig
    from muad.detectors import Detector
    from muad.types import Record


def train_detector(
    config: RunConfig,
    records: Sequence[Record],
    run_dir: Path,
    fabric: Fabric,
    *,
    progress: Progress,
    note: Notice,
) -> Detector:
    """Train on normal images and leave the result in the run folder's last checkpoint, from which it also resumes.

    Args:
        config: The whole run.
        records: Training images of one or many categories.
        run_dir: Where checkpoints and metrics go; continues after its newest checkpoint.
        fabric: Launched engine.
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
    optimizer = build_optimizer(config, detector)
    model, engine_optimizer = fabric.setup(detector, optimizer)
    start = resume(config, run_dir, detector, optimizer)
    log = RunLog(run_dir, start, fabric, tensorboard=config.training.tensorboard)
    loss = None
    batches = training_batches(config, records, detector, fabric, start=start, progress=progress, note=note)
    with StopRequest(active=fabric.world_size == 1) as stop, log, closing(batches):
        for step, batch in batches:
            rate = set_learning_rate(config, optimizer, step)
            losses = model(batch, step)
            fabric.backward(losses.total)
            norm = fabric.clip_gradients(
                model, engine_optimizer, max_norm=config.optim.clip_norm, error_if_nonfinite=False
            )
            engine_optimizer.step()
            engine_optimizer.zero_grad()
            log.add(step, rate, losses, cast("Tensor", norm))
            done = step + 1
            finished = done == config.schedule.total_steps
            stopping = stop.requested  # read once: a signal that comes later is for the next step, which is then saved
            due = finished or stopping
            if due or done % config.training.log_every_steps == 0:
                loss = log.flush()
            if due or done % config.training.save_every_steps == 0:
                log.flush()  # never save what a loss or gradient that is not finite has touched
                save(run_dir, done, detector, None if finished else optimizer, fabric)
            progress("train", done, config.schedule.total_steps, loss)
            if stopping:
                raise KeyboardInterrupt
    return detector


def build_optimizer(config: RunConfig, detector: Detector) -> StableAdamW:
    """StableAdamW over the detector's trainable tensors."""
    optim = config.optim
    return StableAdamW(
        detector.parameter_groups(),
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        amsgrad=optim.amsgrad,
        clip_threshold=optim.clip_threshold,
    )


def set_learning_rate(config: RunConfig, optimizer: torch.optim.Optimizer, step: int) -> float:
    """Give every parameter group the rate of this step and return it."""
    rate = warmup_cosine_rate(
        step,
        total_steps=config.schedule.total_steps,
        warmup_steps=config.schedule.warmup_steps,
        peak=config.optim.lr,
        final=config.schedule.final_lr,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def resume(config: RunConfig, run_dir: Path, detector: Detector, optimizer: StableAdamW) -> int:
    """Load the newest checkpoint, if there is one, and return the number of steps already done."""
    found = checkpoints(run_dir)
    if not found:
        return 0
    if found[-1].step > config.schedule.total_steps:
        raise ConfigError(
            f"schedule.total_steps must be at least the {found[-1].step} steps already done, "
            f"got {config.schedule.total_steps}."
        )
    load_weights(found[-1], detector)
    if found[-1].step < config.schedule.total_steps:
        load_optimizer(found[-1], optimizer)
    return found[-1].step


def save(run_dir: Path, step: int, detector: Detector, optimizer: StableAdamW | None, fabric: Fabric) -> None:
    """Write a checkpoint from the first process."""
    if fabric.is_global_zero:
        save_checkpoint(run_dir, step, detector, optimizer)
    fabric.barrier()
