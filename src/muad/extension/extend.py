"""The verb `extend`: a trained run takes in more products, or more good parts of known ones, and shows what that did.

In order: choose images, look what it costs; score the calibration images of the old products; learn; score them again;
settle limits; learn to recognise the new products and how they are photographed; write down what happened. All of it
in a new folder, which takes its place when it is whole.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad._version import __version__
from muad.calibration.calibrate import weights_digest
from muad.capture.learning import learn_more_capture
from muad.checkpoints.checkpoint import read_config
from muad.datasets.index import open_catalog
from muad.decisions.limits import read_limits
from muad.detectors.memory_shares import MemoryShares
from muad.device import choose_device
from muad.errors import CheckpointError, ConfigError
from muad.extension.cost import ExtensionCost, estimate
from muad.extension.folder import (
    add_masks,
    begin_draft,
    finish_draft,
    new_folder,
    records_of,
    write_data,
    write_facts,
    write_images,
)
from muad.extension.intake import Intake, take_in
from muad.extension.learning import Lesson, learn, prepare, require_way
from muad.extension.limits import settle_limits
from muad.extension.proof import figures_of, is_moved, movements, rescored, witnesses
from muad.extension.settings import ExtensionSettings
from muad.progress import shows_progress
from muad.recognition.learning import learn_more_products
from muad.runs.folder import checkpoints, read_run, usable_folder
from muad.runs.history import HistoryEntry, add_to_history
from muad.runs.images import RunImages, file_digest, read_run_images
from muad.training.engine import launch
from muad.training.reproducibility import environment
from muad.types import DeviceName, Record

if TYPE_CHECKING:
    from muad.calibration.image_scoring import ImageFigures
    from muad.configuration.run_config import RunConfig

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]


def _silent(*_: object) -> None:
    """For callers who want no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What an extension did, or would do.

    Attributes:
        out: The new run; None where nothing was done.
        intake: Which images.
        cost: What it would take; None where it was done.
        entry: What was written into the history; None where nothing was done.
    """

    out: Path | None
    intake: Intake
    cost: ExtensionCost | None
    entry: HistoryEntry | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "out": None if self.out is None else str(self.out),
            "learned": dict(Counter(record.category for record in self.intake.training)),
            "calibration": dict(Counter(record.category for record in self.intake.calibration)),
            "new_products": list(self.intake.new),
            "left_out": [{"image": str(path), "why": why} for path, why in self.intake.left_out.items()],
            "suspicious": [
                {"image": str(one.images[0]), "category": one.category, "kind": one.kind, "text": one.text}
                for one in self.intake.findings
            ],
            "cost": None if self.cost is None else self.cost.to_json(),
            "history": None if self.entry is None else dataclasses.asdict(self.entry),
        }


@shows_progress
def extend(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    settings: ExtensionSettings | None = None,
    roi: str | Path | None = None,
    layout: str = "auto",
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> Extension:
    """Add products, or new good parts of known ones, to a trained run.

    A memory of patches (PatchCore) takes them in by insertion: what it remembers of other products stays bit for bit.
    Dinomaly takes some more steps, with old images among the new ones. Of other detectors it is said that they take a
    new training. The run itself is only read.

    Args:
        run: Run folder, trained to its end.
        data: Data set of any layout muad reads, or the manifest of a station's words; its good training images are
            used.
        out: The new run; None for `RUN-extended` beside it.
        settings: How; None for the defaults.
        roi: Folder with a mask for each new product, of a run that has regions of interest.
        layout: How the data lie on disk; `auto` recognises it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        dry_run: Only say what it would take and risk; nothing is written.
        progress: Called with what is being done, how much is done, how much there is, and the mean loss or None.
        note: Called with sentences the user should see.

    Raises:
        DataError: There is nothing to take in, or old photographs that must be shown again are gone.
        ConfigError: The detector cannot go on learning, or a setting is out of range.
        CheckpointError: No usable run there, or `out` holds something already or cannot be written.
        KeyboardInterrupt: Ctrl-C; the run is as it was, and the same call goes on.
    """
    began, run, chosen = time.process_time(), Path(run), settings or ExtensionSettings()
    facts, known, config = readable_run(run, "extended", encoder_weights)
    way = require_way(config)
    place = new_folder(run, out, "extended")
    catalog = open_catalog(Path(data), layout, for_training=False)
    for sentence in catalog.notes:
        note(sentence)
    intake = take_in(catalog, known, config, chosen, device=choose_device(device), progress=progress, note=note)
    lesson = prepare(config, intake.training, known, chosen, note)
    proof = witnesses(known, tuple(facts["categories"]))
    weights = None if encoder_weights is None else Path(encoder_weights)
    if dry_run:
        cost = estimate(run, intake, lesson, proof, choose_device(device), weights)
        return Extension(out=None, intake=intake, cost=cost, entry=None)
    fabric = launch(config.training.precision, device=device)
    before = weights_digest(run)
    draft = begin_draft(run, place, config, _plan(before, intake, lesson, chosen), note)
    masked = add_masks(draft, lesson.config, None if roi is None else Path(roi), intake.new)
    lesson = dataclasses.replace(lesson, config=masked)

    def score(folder: Path, images: Mapping[str, Any], what: str) -> dict[str, ImageFigures]:
        return figures_of(
            folder, images, what, device=device, encoder_weights=encoder_weights, progress=progress, note=note
        )

    figures_before = score(run, proof.images, "score old products, before")
    learn(lesson, checkpoints(run)[-1], draft, fabric, progress=progress, note=note)
    images = write_images(draft, known, intake.training, intake.calibration, intake.alike)
    listed = write_data(draft, images, (*records_of(facts, run), *intake.training, *intake.calibration))
    write_facts(draft, masked, facts, images, listed, environment(fabric.device))
    limits = read_limits(run, ())
    kept: dict[str, list[Path]] = {name: [] for name in intake.new}
    for record in intake.calibration:
        kept[record.category].append(record.path)
    figures = score(draft, {**proof.images, **kept}, "score old and new products, after")
    found = movements(figures_before, figures, proof.missing, limits)
    moved = {name: is_moved(movement, chosen.bound) for name, movement in found.items()}
    scored = {
        **rescored(figures, [name for name, is_so in moved.items() if is_so], images, str(known.data), note),
        **rescored(figures, intake.new, images, str(Path(data).absolute()), note),
    }
    after = weights_digest(draft)
    settled = settle_limits(draft, tuple(read_run(draft)["categories"]), after, moved, scored, found, note)
    _learn_around(draft, intake, known, device, note)
    entry = HistoryEntry(
        kind="extend",
        way="insertion" if way == "insertion" else "rehearsal",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        muad=__version__,
        run=str(run.absolute()),
        weights_before=before,
        weights_after=after,
        data=str(Path(data).absolute()),
        added=dict(Counter(record.category for record in intake.training)),
        kept=dict(Counter(record.category for record in intake.calibration)),
        left_out=intake.reasons,
        memory=memory_of(run, draft),
        steps=lesson.steps,
        rehearsed=lesson.rehearsed,
        rehearsal_missing=lesson.missing,
        bound=chosen.bound,
        seconds=time.process_time() - began,
        products=settled.movements,
    )
    add_to_history(draft, entry)
    finish_draft(draft, place)
    return Extension(out=place, intake=intake, cost=None, entry=entry)


def readable_run(
    run: Path, what: str, encoder_weights: str | Path | None
) -> tuple[dict[str, Any], RunImages, RunConfig]:
    """Facts, images and settings of a run that may go on learning.

    Raises:
        ConfigError: It is a bundle, which holds no detector to train.
        CheckpointError: It is not finished, or does not remember its images.
    """
    if usable_folder(run.parent) and run.is_file():
        raise ConfigError(f"run must be a run folder to be {what}, got the file {run}. Name the folder it was made of.")
    facts, known = read_run(run), read_run_images(run)
    if not facts.get("finished"):
        raise CheckpointError(f"run must be trained to its end to be {what}, got {run}. Train it with --resume.")
    if known is None:
        raise CheckpointError(
            f"run must remember its images to be {what}, got {run} without images.json, which older releases did not "
            "write. Train it again."
        )
    return facts, known, read_config(run, None if encoder_weights is None else Path(encoder_weights))


def _plan(weights: str, intake: Intake, lesson: Lesson, settings: ExtensionSettings) -> dict[str, Any]:
    """All that the result depends on."""
    shown = {str(record.path.absolute()): file_digest(record.path) for record in lesson.records}
    return {
        "muad": __version__,
        "weights": weights,
        "settings": dataclasses.asdict(settings),
        "shown": shown,
        "calibration": {str(one.path.absolute()): file_digest(one.path) for one in intake.calibration},
    }


def _learn_around(draft: Path, intake: Intake, known: RunImages, device: str, note: Notice) -> None:
    """Learn to recognise the products that were shown, and how new ones are photographed."""
    shown = [*intake.training, *intake.calibration]
    new = [record for record in shown if record.category in intake.new]
    learned = list(new)
    for name in intake.products:
        if name in intake.new:
            continue
        old = [known.base / one for side in (known.training, known.calibration) for one in side.get(name, ())]
        if all(path.is_file() for path in old):
            learned += [Record(path=path, category=name, split="train", is_anomalous=False) for path in old]
            learned += [record for record in shown if record.category == name]
        else:
            note(f"{name}: is recognised as before, because some of its old photographs are gone")
        note(f"{name}: limits of light and sharpness stay as they are; edit them in capture.toml if new parts need it")
    if learned and learn_more_products(draft, learned, device=device, note=note) is None:
        note("products: none are recognised, because the run did not recognise any before")
    if new:
        learn_more_capture(draft, new, note)


def memory_of(before: Path, after: Path) -> dict[str, tuple[int, int]]:
    """Patches of each product in two runs, where they know whose they are; nothing of detectors without a memory."""
    counts = [MemoryShares.read(checkpoints(run)[-1].folder / "weights.safetensors").named for run in (before, after)]
    return {name: (counts[0].get(name, 0), counts[1].get(name, 0)) for name in sorted({*counts[0], *counts[1]})}
