"""Training, whole and in order. Fabric supplies devices, processes and precision; the algorithm is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.checkpoint import build_detector, checkpoints, load_optimizer, load_weights, save_checkpoint
from muad.data.loading import ViewCache, read_ahead
from muad.data.sampling import batch_indices, image_seed, share_of
from muad.errors import ConfigError, DataError
from muad.optim import StableAdamW, warmup_cosine_rate
from muad.training.interrupt import StopRequest
from muad.training.runlog import RunLog
from muad.types import Batch, Record

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.config import RunConfig
    from muad.data.transforms import Preprocessing
    from muad.detectors import Detector

Progress = Callable[[int, float | None], None]
Notice = Callable[[str], None]


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
        progress: Called after each step with the number of steps done and, when known, the mean loss.
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
    log = RunLog(run_dir, start, writing=fabric.is_global_zero, tensorboard=config.training.tensorboard)
    loss = None
    with StopRequest(active=fabric.world_size == 1) as stop, log:
        for step, batch in training_batches(config, records, detector.preprocessing, fabric, start=start, note=note):
            rate = set_learning_rate(config, optimizer, step)
            losses = model(batch, step)
            fabric.backward(losses.total)
            fabric.clip_gradients(model, engine_optimizer, max_norm=config.optim.clip_norm, error_if_nonfinite=False)
            engine_optimizer.step()
            engine_optimizer.zero_grad()
            log.add(step, rate, losses)
            done = step + 1
            finished = done == config.schedule.total_steps
            due = finished or stop.requested
            if due or done % config.training.log_every_steps == 0:
                loss = log.flush()
            if due or done % config.training.save_every_steps == 0:
                log.flush()  # never save what a loss that is not finite has touched
                save(run_dir, done, detector, None if finished else optimizer, fabric)
            progress(done, loss)
            if stop.requested and not finished:
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


def training_batches(
    config: RunConfig,
    records: Sequence[Record],
    preprocessing: Preprocessing,
    fabric: Fabric,
    *,
    start: int,
    note: Notice,
) -> Iterator[tuple[int, Batch]]:
    """This process's share of every global batch from step `start` on, decoded ahead by threads."""
    training = config.training
    positions = share_of(fabric.global_rank, fabric.world_size, training.batch_size)
    cache = ViewCache(preprocessing, training.image_cache_mib * 2**20)
    reader = TrainingReader(records, cache, note, training.skip_bad)
    plan = (
        batch_indices(step, count=len(records), batch_size=training.batch_size, seed=training.seed)[position]
        for step in range(start, config.schedule.total_steps)
        for position in positions
    )
    images = read_ahead(reader.read, plan, ahead=2 * len(positions))
    for step in range(start, config.schedule.total_steps):
        drawn = [next(images) for _ in positions]
        batch = preprocessing.normalise(np.stack([view for view, _ in drawn]))
        yield (
            step,
            Batch(
                images=fabric.to_device(batch),
                seeds=tuple(image_seed(training.seed, step, position) for position in positions),
                categories=tuple(record.category for _, record in drawn),
            ),
        )


class TrainingReader:
    """Reads training images by index; with `skip_bad` an unreadable one is named once and the next one stands in."""

    def __init__(self, records: Sequence[Record], cache: ViewCache, note: Notice, skip_bad: bool) -> None:
        self.records = records
        self.cache = cache
        self.note = note
        self.skip_bad = skip_bad
        self._bad: set[int] = set()

    def read(self, index: int) -> tuple[np.ndarray, Record]:
        """View and record of one image, or of the next readable one after it."""
        for offset in range(len(self.records)):
            candidate = (index + offset) % len(self.records)
            if candidate in self._bad:
                continue
            try:
                return self.cache.view(self.records[candidate].path), self.records[candidate]
            except DataError as error:
                if not self.skip_bad:
                    raise DataError(f"{error} Or train with --skip-bad to leave such files out.") from None
                self._bad.add(candidate)
                self.note(f"left out of training: {error}")
        raise DataError(f"training images must be readable, got {len(self.records)} that are not. See the notes above.")


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
