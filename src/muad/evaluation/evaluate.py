"""The verb `evaluate`: figures of a run on the photographs it has not seen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from muad.bench import bench
from muad.datasets.content_hash import content_hash
from muad.datasets.index import open_catalog
from muad.errors import DataError
from muad.evaluation.figures import ProtocolName, evaluate_detector, find_protocol
from muad.evaluation.unseen import select_unseen
from muad.metrics.report import CategoryReport, Report
from muad.progress import shows_progress
from muad.recognition.naming import measure_names, write_names
from muad.runs.folder import category_folder, make_folder, read_run, unfinished, write_text
from muad.runs.scores import SCORES_FILE, ImageScore, image_scores, scores_to_csv
from muad.types import DeviceName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muad.acceleration import Acceleration
    from muad.types import Record

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]


def _silent(*_: object) -> None:
    """For callers who want no news."""


@shows_progress
def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    protocol: ProtocolName = "dinomaly",
    layout: str = "auto",
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    strict: bool = False,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> Report:
    """Figures of a run on the test images of a data set that it has not seen.

    Images it was trained or calibrated on are left out, under whatever name. The figures are also written to
    `RUN/evaluation.json`, the score of every image to `RUN/evaluation.csv`, and how often the product was recognised to
    `RUN/naming.json`, or into another folder.

    Args:
        run: Run folder.
        data: Labelled data set; of its training images only those are looked at that were put into a folder without a
            split of its own since the run was trained.
        out: Folder for both files; None for the run's, whose report is made from them.
        protocol: `dinomaly` (as published) or `exact`.
        layout: How the data lie on disk; `auto` recognises them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; None for torch in the precision of the training.
        batch_size: Images per forward pass.
        strict: Refuse images the run has seen, instead of leaving them out.
        progress: Called with what is being done, images done, images in all, and None.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: No usable run there.
        DataError: No test images the run has not seen, an unreadable file, or a category the run has no detector for.
        ConfigError: Unknown protocol.
    """
    run_dir, weights = Path(run), Path(encoder_weights) if encoder_weights is not None else None
    rules, facts = find_protocol(protocol), read_run(run_dir)
    target = run_dir if out is None else make_folder(Path(out))
    catalog = open_catalog(Path(data), layout, for_training=False)
    early = unfinished(run_dir)
    unseen = select_unseen(
        run_dir, catalog, strict=strict, progress=lambda done, total: progress("compare", done, total, None)
    )
    for sentence in (*catalog.notes, *((early,) if early else ()), *unseen.notes):
        note(sentence)
    records = unseen.records
    trained = tuple(facts.get("categories", ()))
    foreign = [name for name in _categories(records) if trained and name not in trained]
    if foreign:
        note(f"not trained on {', '.join(foreign)}: its figures say how the detector takes an unknown product")
    scorers = bench("checkpoints.scorers")
    scores: list[ImageScore] = []

    def run_on(folder: Path, chosen: Sequence[Record], done: int) -> Report:
        return evaluate_detector(
            scorers.load_scorer(folder, device, weights, acceleration, batch_size=batch_size, note=note),
            chosen,
            protocol=rules.name,
            batch_size=batch_size,
            progress=lambda count, _: progress("evaluate", done + count, len(records), None),
            on_scores=lambda judged, values: scores.extend(image_scores(judged, values, catalog.root)),
        )

    if facts["mode"] == "multi_class":
        report = run_on(run_dir, records, 0)
    else:
        parts: dict[str, CategoryReport] = {}
        done = 0
        for name in _categories(records):
            if name in foreign:
                raise DataError(f"category must be one the run has a detector for, got {name}; it has {trained}.")
            chosen = [record for record in records if record.category == name]
            parts |= run_on(category_folder(run_dir, name), chosen, done).categories
            done += len(chosen)
        report = Report(protocol=rules.name, categories=parts, images=len(records))
    report = dataclasses.replace(
        report,
        data=str(Path(data).absolute()),
        layout=catalog.layout,
        data_hash=content_hash(records, catalog.root),
        seen=unseen.seen,
    )
    write_text(target / SCORES_FILE, scores_to_csv(scores))
    write_text(target / "evaluation.json", json.dumps(report.to_json(), indent=2) + "\n")
    names = measure_names(run_dir, records, device, lambda count: progress("name", count, len(records), None))
    write_names(names, target, report.data_hash or "")
    for each in names:
        note(f"products: {each.sentence()}")
    return report


def _categories(records: Sequence[Record]) -> list[str]:
    """What the records show, sorted."""
    return sorted({record.category for record in records})
