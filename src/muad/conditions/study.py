"""The verb `evaluate --conditions`: a run on photographs as they are, and as they would be otherwise."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.bundles.bundle import is_bundle, read_manifest_of
from muad.bundles.editing import run_folder, told_of
from muad.calibration.calibrate import weights_digest
from muad.capture import CAPTURE_FILE, NOT_CHECKED, read_capture
from muad.conditions.condition import Condition, parse_conditions
from muad.conditions.looking import Glances
from muad.conditions.outcome import ConditionsReport, ImageOutcome, count, csv_rows
from muad.conditions.page import write_conditions_page
from muad.conditions.store import read_finished, write_finished
from muad.conditions.worst import draw_worst
from muad.datasets.content_hash import content_hash, relative_name
from muad.datasets.index import open_catalog
from muad.decisions.limits import NO_LIMITS, read_limits
from muad.errors import ConfigError, DataError
from muad.evaluation.figures import ProtocolName, evaluate_detector, find_protocol
from muad.evaluation.unseen import select_unseen
from muad.metrics.report import CategoryReport, Report
from muad.progress import shows_progress
from muad.recognition.products import FACTS_FILE
from muad.runs.folder import make_folder, read_images_config, read_run, write_text
from muad.runtime.source import Source, open_source
from muad.types import DeviceName
from muad.wording import counted

if TYPE_CHECKING:
    from muad.acceleration import Acceleration
    from muad.runtime.views import Scorer
    from muad.types import Catalog, Record

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]
MOST_IMAGES = 30
_KEPT_DETECTORS = 4  # of a per_category run; each holds an encoder of its own


def _silent(*_: object) -> None:
    """For callers who want no news."""


@shows_progress
def evaluate_conditions(
    run: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    conditions: Iterable[str] = (),
    most_images: int = MOST_IMAGES,
    seed: int = 0,
    protocol: ProtocolName = "auto",
    layout: str = "auto",
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    strict: bool = False,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> ConditionsReport:
    """Figures, false alarms and misses of a run under other light, blur, noise, compression, shift, rotation and dust.

    Test images the run has not seen are judged at its own limits, which are not touched. Page, table, JSON and pictures
    are written anew after each condition. The same call goes on where it was interrupted; what is finished stays.

    Args:
        run: Run folder or bundle.
        data: Labelled data set.
        out: Folder for the files; None for `RUN/conditions`, and of `bolts.muad` for `bolts.conditions` beside it.
        conditions: Names such as `light` or `light=0.9`; none for all kinds in their usual strengths.
        most_images: Good, and defective, images of each category at most, chosen by the seed; 0 for all.
        seed: Of the choice and of everything that is drawn.
        protocol: As for `evaluate`.
        layout: How the data lie on disk; `auto` recognises them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; None for torch in the precision of the training.
        batch_size: Images per forward pass.
        strict: Refuse images the run has seen, instead of leaving them out.
        progress: Called with what is being done, images done, images in all, and None.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: No usable run there, or the folder cannot be written.
        DataError: No test images the run has not seen, or an unreadable file.
        ConfigError: Unknown protocol or condition, or a number out of range.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    find_protocol(protocol)
    asked = parse_conditions(conditions)
    for name, value in (("images", most_images), ("seed", seed)):
        if value < 0:
            raise ConfigError(f"{name} must be at least 0, got {value}.")
    where, weights = Path(run), None if encoder_weights is None else Path(encoder_weights)
    with run_folder(where) as folder:
        told = told_of(where, folder, note)
        if (senses := read_images_config(folder).senses) != ("colour",):
            raise ConfigError(
                f"conditions must be asked of a run that looks at colour alone, got {where}, which looks at "
                f"{' and '.join(senses)}: how light and dust change depth is not known here."
            )
        beside = where.with_suffix(".conditions") if is_bundle(where) else where / "conditions"
        target = make_folder(beside if out is None else Path(out))
        source = open_source(
            where, device=device, encoder_weights=weights, acceleration=acceleration, batch_size=batch_size, note=told
        )
        catalog = open_catalog(Path(data), layout, for_training=False)
        rules = find_protocol(protocol, catalog.layout)
        news = lambda done, total: progress("compare", done, total, None)  # noqa: E731
        unseen = select_unseen(folder, catalog, strict=strict, progress=news)
        records = choose_records(unseen.records, catalog.root, most_images, seed)
        for sentence in (*catalog.notes, *filter(None, [source.early()]), *unseen.notes):
            told(sentence)
        told(f"looked at under {counted(len(asked), 'condition')}: {_chosen(records, unseen.records)} (seed {seed})")
        study = _Study(
            where, folder, source, catalog, records,
            target=target, conditions=asked, most_images=most_images, seed=seed, protocol=rules.name,
            computing={"device": device, "acceleration": None if acceleration is None else asdict(acceleration)},
            batch_size=batch_size, progress=progress, note=told,
        )  # fmt: skip
        return study.run()


def choose_records(records: Sequence[Record], root: Path, most: int, seed: int) -> tuple[Record, ...]:
    """At most so many good and so many defective images of each category, in their order; 0 for all.

    The choice depends on seed and names alone, and of a larger number the smaller one's are a part.
    """
    if not most:
        return tuple(records)
    drawn = {
        record.path: hashlib.sha256(
            f"{seed}\0{relative_name(record.path, root)}".encode("utf-8", "surrogateescape")
        ).digest()
        for record in records
    }
    chosen: set[Path] = set()
    for label in {(record.category, record.is_anomalous) for record in records}:
        own = [record.path for record in records if (record.category, record.is_anomalous) == label]
        chosen |= set(sorted(own, key=lambda path: drawn[path])[:most])
    return tuple(record for record in records if record.path in chosen)


class _Study:
    """A run under conditions, at work."""

    def __init__(
        self,
        run: Path,
        folder: Path,
        source: Source,
        catalog: Catalog,
        records: Sequence[Record],
        *,
        target: Path,
        conditions: Sequence[Condition],
        most_images: int,
        seed: int,
        protocol: str,
        computing: Mapping[str, Any],
        batch_size: int,
        progress: Progress,
        note: Notice,
    ) -> None:
        self.folder, self.source, self.root, self.records = folder, source, catalog.root, records
        self.conditions, self.seed, self.protocol, self.batch_size = conditions, seed, protocol, batch_size
        self.progress, self.note = progress, note
        self.facts = read_run(folder)
        self.categories = sorted({record.category for record in records})
        trained = tuple(self.facts.get("categories", ()))
        self.limits, self.capture = read_limits(folder, trained), read_capture(folder, trained)
        self.recogniser = source.recogniser()
        self._detectors: dict[str | None, Scorer] = {}
        foreign = [name for name in self.categories if trained and name not in trained]
        if foreign and self.facts["mode"] == "per_category":
            raise DataError(f"category must be one the run has a detector for, got {foreign[0]}; it has {trained}.")
        if self.limits is None:
            note(f"{NO_LIMITS}; without them there are figures, and neither false alarms nor misses")
        if self.capture is None:
            note(NOT_CHECKED)
        data_hash = content_hash(records, catalog.root)
        self.found = ConditionsReport(
            run=run,
            data=catalog.root,
            data_hash=data_hash,
            protocol=protocol,
            seed=seed,
            most_images=most_images,
            has_limits=self.limits is not None,
            checks_capture=self.capture is not None,
            folder=target,
        )
        self.claim = {
            "weights": read_manifest_of(run).weights if is_bundle(run) else weights_digest(folder),
            "images": data_hash,
            "protocol": protocol,
            "seed": seed,
            "capture": _digest(folder / CAPTURE_FILE),
            "products": _digest(folder / FACTS_FILE),
            "computing": json.loads(json.dumps(computing)),
        }

    def run(self) -> ConditionsReport:
        """Every condition that is not finished, and the page after each."""
        unchanged: Sequence[ImageOutcome] = ()
        for place, condition in enumerate(self.conditions):
            finished = read_finished(self.found.folder, condition, self.claim)
            if finished is None:
                finished = self._measure(condition, place)
                write_finished(self.found.folder, condition, self.claim, *finished)
            report, rows = finished
            unchanged = unchanged or rows
            outcome = count(condition, report, rows, unchanged, self.limits)
            self._advance(place + 1, 0)
            self.found = replace(self.found, conditions=(*self.found.conditions, outcome))
            self._write()
        return self.found

    def _measure(self, condition: Condition, place: int) -> tuple[Report, list[ImageOutcome]]:
        parts: dict[str, CategoryReport] = {}
        rows: list[ImageOutcome] = []
        done = 0
        for name in self.categories:
            own = [record for record in self.records if record.category == name]
            detector = self._detector(name)
            glances = Glances(condition, self.seed, self.root, detector.preprocessing, self.capture, self.recogniser)

            def after(batch: int, _: int, glances: Glances = glances, done: int = done) -> None:
                glances.recognise(self.records)
                self._advance(place, done + batch)

            def keep(judged: Sequence[Record], scores: Any, glances: Glances = glances) -> None:  # noqa: ANN401
                rows.extend(self._outcomes(judged, scores.tolist(), glances))

            report = evaluate_detector(
                detector, own, protocol=self.protocol, batch_size=self.batch_size,
                progress=after, on_scores=keep, change=glances.change,
            )  # fmt: skip
            parts |= report.categories
            done += len(own)
        return Report(protocol=self.protocol, categories=parts, images=len(self.records)), rows

    def _outcomes(self, records: Sequence[Record], scores: Sequence[float], glances: Glances) -> list[ImageOutcome]:
        return [
            ImageOutcome(
                path=relative_name(record.path, self.root),
                category=record.category,
                is_anomalous=record.is_anomalous,
                defect_type=record.defect_type,
                score=score,
                warnings=glances.warnings[record.path],
                looks_like=glances.looks_like.get(record.path),
            )
            for record, score in zip(records, scores, strict=True)
        ]

    def _write(self) -> None:
        """Pictures that are not there yet, and the files for people and programs."""
        scale = self.facts.get("map_scale")
        worst = draw_worst(
            self.found, {relative_name(record.path, self.root): record for record in self.records}, self._detector,
            self.limits, None if scale is None else tuple(scale), self.claim["weights"],
        )  # fmt: skip
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(csv_rows(self.found))
        write_text(self.found.folder / "conditions.csv", text.getvalue())
        write_text(self.found.folder / "conditions.json", json.dumps(self.found.to_json(), indent=1) + "\n")
        write_conditions_page(self.found, worst, asked=len(self.conditions))

    def _detector(self, category: str) -> Scorer:
        """The detector for a category; the ones used last stay in memory."""
        key = category if self.facts["mode"] == "per_category" else None
        found = self._detectors.pop(key, None) or self.source.scorer(key)
        self._detectors[key] = found
        for oldest in list(self._detectors)[:-_KEPT_DETECTORS]:
            del self._detectors[oldest]
        return found

    def _advance(self, place: int, done: int) -> None:
        images = len(self.records)
        self.progress("conditions", place * images + done, len(self.conditions) * images, None)


def _chosen(records: Sequence[Record], known: Sequence[Record]) -> str:
    bad = sum(record.is_anomalous for record in records)
    of = "" if len(records) == len(known) else f" of {len(known)}"
    return f"{len(records) - bad} good and {bad} defective images{of}"


def _digest(path: Path) -> str | None:
    """Tells whether a small file is still the one it was."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
