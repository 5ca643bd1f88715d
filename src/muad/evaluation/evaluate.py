"""The verb `evaluate`: figures of a run on the photographs it has not seen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from muad.bundles.editing import run_folder, told_of
from muad.datasets.content_hash import content_hash
from muad.datasets.grouping import with_places
from muad.datasets.index import open_catalog
from muad.errors import DataError
from muad.evaluation.figures import ProtocolName, evaluate_detector, find_protocol
from muad.evaluation.objects import ObjectCollection
from muad.evaluation.unseen import select_unseen
from muad.metrics.report import CategoryReport, Report
from muad.progress import shows_progress
from muad.recognition.naming import measure_names, write_names
from muad.runs.folder import make_folder, read_images_config, read_run, write_text
from muad.runs.object_rows import OBJECTS_FILE, object_rows_to_csv
from muad.runs.scores import SCORES_FILE, ImageScore, image_scores, scores_to_csv
from muad.runtime.source import Source, open_source
from muad.types import DeviceName
from muad.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muad.acceleration import Acceleration
    from muad.metrics.object_report import ObjectReport
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
    protocol: ProtocolName = "auto",
    layout: str = "auto",
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    strict: bool = False,
    objects: str | None = None,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> Report:
    """Figures of a run on the test images of a data set that it has not seen.

    Images it was trained or calibrated on are left out, under whatever name. The figures are also written to
    `RUN/evaluation.json`, the score of every image to `RUN/evaluation.csv`, and how often the product was recognised to
    `RUN/naming.json`, or into another folder; those of a bundle into the bundle. Where several images show one part,
    from several views, there are figures of parts too, and `RUN/evaluation_objects.csv`.

    Args:
        run: Run folder or bundle.
        data: Labelled data set; of its training images only those are looked at that were put into a folder without a
            split of its own since the run was trained.
        out: Folder for both files; None for the run's, whose report is made from them.
        protocol: `auto`: that of the data set where it has one, else `dinomaly` (as published); or `exact`,
            `mvtec_loco`, `mvtec_ad_2`, `mulsen_ad`.
        layout: How the data lie on disk; `auto` recognises them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; None for torch in the precision of the training.
        batch_size: Images per forward pass.
        strict: Refuse images the run has seen, instead of leaving them out.
        objects: Which images show one part and in which view, where the data set does not say: `folder`, a pattern such
            as `{object}_{view}`, or a manifest.
        progress: Called with what is being done, images done, images in all, and None.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: No usable run there.
        DataError: No test images the run has not seen, an unreadable file, or a category the run has no detector for.
        ConfigError: Unknown protocol.
    """
    find_protocol(protocol)
    where, weights = Path(run), None if encoder_weights is None else Path(encoder_weights)
    with run_folder(where, by="evaluate") as folder:
        source = open_source(
            where, device=device, encoder_weights=weights, acceleration=acceleration, batch_size=batch_size,
            note=told_of(where, folder, note),
        )  # fmt: skip
        return _evaluate(
            folder, source, Path(data), protocol, target=folder if out is None else make_folder(Path(out)),
            layout=layout, batch_size=batch_size, strict=strict, rule=objects, progress=progress,
            note=told_of(where, folder, note),
        )  # fmt: skip


def _evaluate(
    run_dir: Path,
    source: Source,
    data: Path,
    protocol: ProtocolName,
    *,
    target: Path,
    layout: str,
    batch_size: int,
    strict: bool,
    rule: str | None,
    progress: Progress,
    note: Notice,
) -> Report:
    """The same in a folder with the run's small files."""
    facts = read_run(run_dir)
    catalog = open_catalog(data, layout, for_training=False)
    rules = find_protocol(protocol, catalog.layout)
    early = source.early()
    unseen = select_unseen(
        run_dir, catalog, strict=strict, progress=lambda done, total: progress("compare", done, total, None)
    )
    for sentence in (*catalog.notes, *((early,) if early else ()), *unseen.notes):
        note(sentence)
    records: Sequence[Record] = unseen.records
    if rule is not None:
        records = with_places(records, rule, catalog.root if catalog.root.is_dir() else catalog.root.parent)
    viewed = ObjectCollection(records)
    trained = tuple(facts.get("categories", ()))
    foreign = [name for name in _categories(records) if trained and name not in trained]
    if foreign:
        note(f"not trained on {', '.join(foreign)}: its figures say how the detector takes an unknown product")
    scores: list[ImageScore] = []

    def run_on(category: str | None, chosen: Sequence[Record], done: int) -> Report:
        return evaluate_detector(
            source.scorer(category),
            chosen,
            protocol=rules.name,
            validation=catalog.select(split="validation"),
            batch_size=batch_size,
            progress=lambda count, _: progress("evaluate", done + count, len(records), None),
            on_scores=lambda judged, values: scores.extend(image_scores(judged, values, catalog.root)),
            objects=viewed,
        )

    if facts["mode"] == "multi_class":
        report = run_on(None, records, 0)
    else:
        parts: dict[str, CategoryReport] = {}
        done = 0
        for name in _categories(records):
            if name in foreign:
                raise DataError(f"category must be one the run has a detector for, got {name}; it has {trained}.")
            chosen = [record for record in records if record.category == name]
            parts |= run_on(name, chosen, done).categories
            done += len(chosen)
        report = Report(protocol=rules.name, categories=parts, images=len(records))
    rows = viewed.rows()
    report = dataclasses.replace(
        report,
        categories={name: _with_parts(own, viewed.report(name, rows)) for name, own in report.categories.items()},
        data=str(data.absolute()),
        layout=catalog.layout,
        data_hash=content_hash(records, catalog.root),
        seen=unseen.seen,
    )
    write_text(target / SCORES_FILE, scores_to_csv(scores))
    if rows:
        write_text(target / OBJECTS_FILE, object_rows_to_csv(rows))
    else:
        (target / OBJECTS_FILE).unlink(missing_ok=True)  # of another data set
    write_text(target / "evaluation.json", json.dumps(report.to_json(), indent=2) + "\n")
    news = lambda done, total: progress("name", done, total, None)  # noqa: E731
    names = measure_names(source.recogniser(), read_images_config(run_dir).value_range, records, news)
    write_names(names, target, report.data_hash or "")
    for each in names:
        note(f"products: {each.sentence()}")
    return report


def _with_parts(report: CategoryReport, parts: ObjectReport | None) -> CategoryReport:
    """The figures of a category with those of its parts, and which of them are in none."""
    if parts is None:
        return report
    notes = list(report.notes)
    if parts.incomplete:
        notes.append(f"figures of parts leave out {counted(parts.incomplete, 'part')} that lack a view")
    return dataclasses.replace(report, objects=parts, notes=tuple(notes))


def _categories(records: Sequence[Record]) -> list[str]:
    """What the records show, sorted."""
    return sorted({record.category for record in records})
