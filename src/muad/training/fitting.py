"""Training without gradients: a detector looks at every training image once and keeps what it needs of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from muad.checkpoints.checkpoint import load_weights, save_checkpoint
from muad.detectors.base import evaluating
from muad.device import free_memory_bytes
from muad.errors import ConfigError
from muad.runs.folder import checkpoints
from muad.training.batches import Notice, Progress, look_through
from muad.training.loggers import Curves, open_curves
from muad.wording import counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import FittingDetector
    from muad.runs.folder import Checkpoint
    from muad.types import Record

_WORTH_SAYING = 2**30


@torch.no_grad()
def fit_detector(
    detector: FittingDetector,
    config: RunConfig,
    records: Sequence[Record],
    run_dir: Path,
    fabric: Fabric,
    *,
    begin: Checkpoint | None = None,
    progress: Progress,
    note: Notice,
) -> FittingDetector:
    """Show a detector all training images and leave the result in the run folder's last checkpoint.

    A detector that takes in one category after the other is saved after each, and goes on after the last one saved.
    Images are encoded in float32, as they are when the detector predicts. Every process looks at all of them.

    Args:
        detector: Untrained.
        config: The whole run; of its tables only `training` applies.
        records: Training images of one or many categories.
        run_dir: Where checkpoints go, numbered by the images looked at.
        fabric: Launched engine.
        begin: What it was trained to before and goes on from; None for nothing.
        progress: Called with what is being done, how much is done and how much there is.
        note: Called with sentences the user should see.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what the last checkpoint holds is kept.
        DataError: An image cannot be read, and `training.skip_bad` is off.
        CheckpointError: A checkpoint cannot be written or read.
        ConfigError: The checkpoint is of more images, or a setting has no meaning without steps.
    """
    if config.training.ema_decay:
        raise ConfigError(
            f"training.ema_decay must be 0 for {config.detector.name}, which takes no steps, "
            f"got {config.training.ema_decay}."
        )
    detector.to(fabric.device)
    found = checkpoints(run_dir)
    before = begin.step if begin is not None else 0
    done = found[-1].step - before if found else 0
    if done > len(records):
        raise ConfigError(f"data must hold the {done} images already looked at, got {len(records)}.")
    newest = found[-1] if found else begin
    if newest is not None:
        load_weights(newest, detector)
    portions, end = _portions(records, detector.by_category), 0
    _require_memory(detector, max(len(portion) for portion in portions), fabric.device, note)
    with open_curves(config, run_dir, done, note) if fabric.is_global_zero else Curves() as curves:
        for portion in portions:
            end += len(portion)
            if end <= done:
                continue
            begun = time.perf_counter()
            with evaluating(detector):
                detector.fit(
                    look_through(portion, detector, config.training, progress=progress, note=note),
                    config.training.seed,
                    lambda what, count, total: progress(what, count, total, None),
                )
            if fabric.is_global_zero:
                save_checkpoint(run_dir, before + end, detector, None)
            curves.values({"seconds": time.perf_counter() - begun, "images": len(portion)}, end)
            fabric.barrier()
    return detector


def _require_memory(detector: FittingDetector, images: int, device: torch.device, note: Notice) -> None:
    """Say what a look at so many images takes, and refuse before any is taken where that is not to be had."""
    needed, free = detector.needed_bytes(images), free_memory_bytes(device)
    if 0 <= free < needed:
        raise ConfigError(
            f"free memory must be {needed / 2**30:.1f} GiB for what {counted(images, 'image')} leave to choose from, "
            f"got {free / 2**30:.1f} GiB. {detector.memory_remedy}"
        )
    if needed > _WORTH_SAYING:
        note(f"up to {needed / 2**30:.1f} GiB of memory for what {counted(images, 'image')} leave to choose from")


def _portions(records: Sequence[Record], by_category: bool) -> list[list[Record]]:
    """The images of each call of `fit`."""
    names = sorted({record.category for record in records})
    return (
        [[record for record in records if record.category == name] for name in names] if by_category else [[*records]]
    )
