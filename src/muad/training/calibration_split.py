"""Which good images a run trains on and which it keeps for calibration; a resumed run keeps the same ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from muad.data.calibration_share import divide
from muad.data.content_hash import relative_name
from muad.errors import DataError
from muad.run_images import images_of, read_run_images, write_run_images

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.config import RunConfig
    from muad.types import Catalog, Record


def training_records(
    config: RunConfig,
    catalog: Catalog,
    run_dir: Path,
    fabric: Fabric,
    *,
    resumed: bool,
    progress: Callable[[str, int, int, float | None], None],
    note: Callable[[str], None],
) -> tuple[Record, ...]:
    """Good images to train on; all images of the run, those kept for calibration too, are written to its folder.

    Args:
        config: The whole run; `training.calibration_share` says how much to keep.
        catalog: The data set.
        run_dir: Run folder.
        fabric: Launched engine.
        resumed: Whether the folder holds a run that goes on.
        progress: Called while images are compared.
        note: Called with sentences the user should see.

    Raises:
        DataError: The run that goes on does not remember its share.
        CheckpointError: The folder cannot be written.
    """
    records, share = catalog.select(split="train"), config.training.calibration_share
    known = read_run_images(run_dir) if resumed else None
    if known is None and resumed:
        if share:
            raise DataError(f"run must remember the images it kept for calibration, got {run_dir} without images.json.")
        return records
    names = frozenset() if known is None else known.calibration_names
    if known is None and fabric.is_global_zero:
        division = divide(records, share, catalog.root, lambda done, total: progress("compare", done, total, None))
        for sentence in division.notes:
            note(sentence)
        names = frozenset(relative_name(record.path, catalog.root) for record in division.calibration)
        images = images_of(catalog.root, catalog.layout, division.training, division.calibration)
        write_run_images(run_dir, images)
    elif known is not None and fabric.is_global_zero and known.data != catalog.root.absolute():
        write_run_images(run_dir, dataclasses.replace(known, data=catalog.root.absolute()))
    if fabric.world_size > 1:  # the first process decides: another machine might find other near-duplicates
        names = fabric.broadcast(names)
    return tuple(record for record in records if relative_name(record.path, catalog.root) not in names)
