"""Which good images a run trains on, keeps for calibration and sets aside; a resumed run keeps the same ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from muad.calibration.share import divide
from muad.calibration.shots import draw_shots
from muad.datasets.alike import alike_groups
from muad.datasets.content_hash import relative_name
from muad.datasets.holdout import keep_together, moved_records
from muad.errors import DataError
from muad.runs.images import images_of, read_run_images, write_run_images

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.configuration.run_config import RunConfig, TrainingConfig
    from muad.types import Catalog, Record


class RunRecords(NamedTuple):
    """Good images of a run, in the order of the catalog."""

    training: tuple[Record, ...]
    calibration: tuple[Record, ...]


def run_records(
    config: RunConfig,
    catalog: Catalog,
    run_dir: Path,
    fabric: Fabric,
    *,
    resumed: bool,
    progress: Callable[[str, int, int, float | None], None],
    note: Callable[[str], None],
    object_rule: str = "",
) -> RunRecords:
    """Good images to train on and to calibrate with; both are written to the run folder.

    Args:
        config: The whole run; `training.shots` says how many to draw of each category, if not all, and
            `training.calibration_share` how many of these to keep.
        catalog: The data set.
        run_dir: Run folder.
        fabric: Launched engine.
        resumed: Whether the folder holds a run that goes on.
        progress: Called while images are compared.
        note: Called with sentences the user should see.
        object_rule: The rule that says which photographs show one part; empty where the data set does.

    Raises:
        DataError: The run that goes on does not remember its share, or there are fewer images than are to be drawn.
        CheckpointError: The folder cannot be written.
    """
    records, training = catalog.select(split="train"), config.training
    known = read_run_images(run_dir) if resumed else None
    if known is None and resumed:
        if training.calibration_share or training.shots:
            did = "drew" if training.shots else "kept for calibration"
            raise DataError(f"run must remember the images it {did}, got {run_dir} without images.json.")
        return RunRecords(records, ())
    names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    if known is not None:
        names = known.training_names, known.calibration_names
        if fabric.is_global_zero and known.data != catalog.root.absolute():
            write_run_images(run_dir, dataclasses.replace(known, data=catalog.root.absolute()))
    elif fabric.is_global_zero:
        names = _begin(catalog, training, run_dir, progress, note, object_rule)
    if fabric.world_size > 1:  # the first process decides: another machine might find other near-duplicates
        names = fabric.broadcast(names)
    good = moved_records((record for record in catalog.records if not record.is_anomalous), {})
    trained, kept = (
        [record for record in good if relative_name(record.path, catalog.root) in chosen] for chosen in names
    )
    return RunRecords(*(tuple(moved_records(own, {record.path: "train" for record in own})) for own in (trained, kept)))


def _begin(
    catalog: Catalog,
    training: TrainingConfig,
    run_dir: Path,
    progress: Callable[[str, int, int, float | None], None],
    note: Callable[[str], None],
    object_rule: str,
) -> tuple[frozenset[str], frozenset[str]]:
    """Divide the good images of a run that begins, and write down which is where; names of both sides."""
    good = [record for record in catalog.records if not record.is_anomalous]
    divided = training.calibration_share or training.shots
    compared = [record for record in good if record.split_chosen or (divided and record.split == "train")]
    groups = alike_groups(compared, lambda done, total: progress("compare", done, total, None))
    moved = {path: side for own in groups.values() for path, side in keep_together(own).items()}
    for sentence in _describe(good, moved):
        note(sentence)
    records: Sequence[Record] = [record for record in moved_records(good, moved) if record.split == "train"]
    set_aside: Sequence[Record] = ()
    if training.shots:
        draw = draw_shots(records, _among(groups, records), training.shots, training.shots_seed, catalog.root)
        records, set_aside = draw.drawn, draw.set_aside
        for sentence in draw.notes:
            note(sentence)
    division = divide(records, _among(groups, records), training.calibration_share, catalog.root)
    for sentence in division.notes:
        note(sentence)
    images = images_of(
        catalog.root, catalog.layout, division.training, division.calibration, division.alike, set_aside=set_aside,
        object_rule=object_rule,
    )  # fmt: skip
    write_run_images(run_dir, images)
    return images.training_names, images.calibration_names


def _among(
    groups: Mapping[str, Sequence[Sequence[Record]]], records: Sequence[Record]
) -> dict[str, list[tuple[Record, ...]]]:
    """What belongs together of these records alone."""
    paths = {record.path for record in records}
    return {
        category: [part for group in own if (part := tuple(one for one in group if one.path in paths))]
        for category, own in groups.items()
    }


def _describe(good: Sequence[Record], moved: Mapping[Path, str]) -> list[str]:
    sentences = []
    for category in sorted({record.category for record in good if record.path in moved}):
        own = [record for record in good if record.category == category]
        trained = sum(moved.get(record.path) == "train" for record in own)
        tested = sum(moved.get(record.path) == "test" for record in own)
        left = sum(moved.get(record.path, record.split) == "test" for record in own)
        parts = [f"{trained} held out for testing are trained on"] if trained else []
        parts += [f"{tested} are tested on instead of trained on"] if tested else []
        sentences.append(
            f"{category}: of the good images, {' and '.join(parts)}, so that those that show the same picture or "
            f"object are on one side; {left} are left to test"
        )
    return sentences
