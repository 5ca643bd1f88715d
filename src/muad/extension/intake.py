"""Which images of a data set a run takes in: good, new to it, not suspicious, and not too many of one kind.

A new product is divided as in training: a share of its images is kept for calibration. New parts of a known product are
all learned from. They are no fair sample, because somebody chose them, often after a wrong reject; limits from them
would be too wide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from muad.calibration.share import divide
from muad.checking.findings import Finding, by_cause
from muad.checking.outliers import LEAST_IMAGES, odd_exposure
from muad.checking.reading import Seen, look_at
from muad.checking.suspicion import Describer, suspicious
from muad.datasets.alike import alike_groups, joined
from muad.errors import ConfigError, DataError
from muad.extension.caps import days_of, thinned
from muad.images.loading import read_ahead
from muad.images.near_duplicates import near_duplicate_groups
from muad.images.values import survey
from muad.runs.images import file_digest, pixel_digest
from muad.types import Record
from muad.wording import counted

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig
    from muad.extension.settings import ExtensionSettings
    from muad.runs.images import RunImages
    from muad.types import Catalog

Notice = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]
_REFERENCES = 200  # old images of a product that its new ones are compared with
_BATCH = 16
_LEAST_OF_NEW = 2  # fewer cannot be told from other products


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What is taken in, and what is not.

    Attributes:
        training: Images to learn from.
        calibration: Images of new products kept for calibration.
        alike: Those of them that show the same as another, in groups.
        new: Products the run does not have.
        left_out: Why each image is left out, by path.
        findings: What is suspicious among the images that are new to the run.
        days: On how many known days they were taken.
    """

    training: tuple[Record, ...]
    calibration: tuple[Record, ...]
    alike: tuple[tuple[Record, ...], ...]
    new: tuple[str, ...]
    left_out: Mapping[Path, str]
    findings: tuple[Finding, ...]
    days: int = 0

    @property
    def products(self) -> tuple[str, ...]:
        """Those there is something to learn of, sorted."""
        return tuple(sorted({record.category for record in self.training}))

    @property
    def reasons(self) -> dict[str, int]:
        """How many images are left out, by reason."""
        return dict(sorted(Counter(self.left_out.values()).items()))


def take_in(
    catalog: Catalog,
    known: RunImages,
    config: RunConfig,
    settings: ExtensionSettings,
    *,
    device: torch.device,
    progress: Progress,
    note: Notice,
) -> Intake:
    """Choose the images of a data set that a run learns from.

    Args:
        catalog: The data set.
        known: Images the run has.
        config: Of the run.
        settings: Of the extension.
        device: Where images are described, to find suspicious ones.
        progress: Called while images are read.
        note: Called with sentences the user should see.

    Raises:
        DataError: Nothing is left, or too little of a new product.
        ConfigError: Images have more than 8 bits, and the run has not learned how to read such.
    """
    left_out: dict[Path, str] = {}
    good = [record for record in catalog.select(split="train") if not record.is_anomalous]
    fresh = _unknown(good, catalog, known, left_out, progress)
    findings = _look(fresh, known, left_out, settings.take_suspicious, device, progress, note)
    days, training = days_of(catalog.root), list[Record]()
    has = set(known.training) | set(known.calibration)
    for name in sorted({record.category for record in fresh}):
        own = [record for record in fresh if record.category == name and record.path not in left_out]
        is_known = name in has
        most = settings.most_of_known(len(known.training.get(name, ()))) if is_known else settings.most_a_product
        taken, excess = thinned(own, days, settings.most_a_day if is_known else None, most)
        left_out |= excess
        training += taken
    new = tuple(sorted({record.category for record in training} - has))
    _require(training, new, good, left_out)
    deep = survey([record.path for record in training]).deep
    if deep and config.images.value_range is None:
        raise ConfigError(
            f"images must have 8 bits like those the run was trained on, got {len(deep)} with more, such as {deep[0]}. "
            "Save them with 8 bits, or train a run on all of them."
        )
    of_new = [record for record in training if record.category in new]
    share = config.training.calibration_share if of_new else 0.0
    groups = alike_groups(of_new, lambda done, total: progress("compare", done, total, None)) if share else {}
    division = divide(of_new, groups, share, catalog.root)
    for sentence in division.notes:
        note(sentence)
    learned = [record for record in training if record.category not in new] + list(division.training)
    return Intake(
        training=tuple(sorted(learned, key=lambda record: (record.category, record.path.as_posix()))),
        calibration=division.calibration,
        alike=division.alike,
        new=new,
        left_out=left_out,
        findings=findings,
        days=len({days[record.path] for record in training if record.path in days}),
    )


def _unknown(
    good: Sequence[Record], catalog: Catalog, known: RunImages, left_out: dict[Path, str], progress: Progress
) -> list[Record]:
    """Good images that the run does not have, each picture once, and none that is labelled bad as well."""
    files = known.training_digests | known.calibration_digests
    pixels = {known.pixels[digest] for digest in files if digest in known.pixels}
    bad = {file_digest(record.path) for record in catalog.records if record.is_anomalous}
    fresh, met = list[Record](), set[str]()
    both = read_ahead(lambda record: (file_digest(record.path), pixel_digest(record.path) or ""), good)
    for done, (record, (digest, picture)) in enumerate(zip(good, both, strict=True), start=1):
        if digest in bad:
            left_out[record.path] = "labelled good and bad"
        elif digest in files or picture in pixels:
            left_out[record.path] = "known to the run"
        elif picture and picture in met:
            left_out[record.path] = "the same picture again"
        else:
            fresh.append(record)
            met.add(picture)
        progress("compare", done, len(good), None)
    return fresh


def _look(
    fresh: Sequence[Record],
    known: RunImages,
    left_out: dict[Path, str],
    take_suspicious: bool,
    device: torch.device,
    progress: Progress,
    note: Notice,
) -> tuple[Finding, ...]:
    """What is suspicious among new images, beside each other and beside old ones of their product."""
    describer, findings = Describer(device), list[Finding]()
    for name in sorted({record.category for record in fresh}):
        own = [record for record in fresh if record.category == name]
        old = _old_records(known, name)
        seen, patches = _described([*own, *old], describer, name, progress)
        for one in seen:
            if one.error is not None and one.record in own:
                left_out[one.record.path] = "unreadable"
                findings.append(Finding(kind="unreadable", category=name, images=(one.record.path,), text=one.error))
        readable = [one for one in seen if one.error is None]
        if len(readable) < LEAST_IMAGES:
            note(f"{name}: whether an image is suspicious cannot be told of {counted(len(readable), 'image')}")
            continue
        near = near_duplicate_groups([one.appearance for one in readable])
        groups = [group for group in joined(len(readable), [*near, *_objects(readable)]) if len(group) > 1]
        odd, _ = suspicious(readable, patches, groups, describer.grid)
        paths = {record.path for record in own}
        found = [one for one in by_cause([*odd_exposure(readable), *odd]) if set(one.images) <= paths]
        findings += found
        if not take_suspicious:
            left_out |= {path: "suspicious" for one in found for path in one.images}
    for finding in findings:
        note(f"{finding.category}: {finding.kind} {finding.images[0]}: {finding.text}")
    return tuple(findings)


def _described(
    records: Sequence[Record], describer: Describer, name: str, progress: Progress
) -> tuple[list[Seen], torch.Tensor]:
    """What was seen of images, and features of those that can be read."""
    seen, views, rows = list[Seen](), [], list[torch.Tensor]()
    for one, view in read_ahead(lambda record: look_at(record, describer.preprocessing), records):
        seen.append(one)
        if view is not None:
            views.append(view)
        if len(views) == _BATCH:
            rows.append(describer.describe(views))
            views = []
        progress(f"look for suspicious {name}", len(seen), len(records), None)
    if views:
        rows.append(describer.describe(views))
    return seen, torch.cat(rows) if rows else torch.empty(0)


def _old_records(known: RunImages, name: str) -> list[Record]:
    """Images of a product that the run has, where they still lie, evenly spread."""
    names = sorted({*known.training.get(name, ()), *known.calibration.get(name, ())})
    step = -(-len(names) // _REFERENCES) or 1
    paths = [known.base / one for one in names[::step]]
    return [Record(path=path, category=name, split="train", is_anomalous=False) for path in paths if path.is_file()]


def _objects(seen: Sequence[Seen]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(seen):
        if one.record.object_id is not None:
            groups.setdefault(one.record.object_id, []).append(place)
    return list(groups.values())


def _require(
    training: Sequence[Record], new: Sequence[str], good: Sequence[Record], left_out: Mapping[Path, str]
) -> None:
    """Refuse what cannot be learned from."""
    why = ", ".join(f"{count} {reason}" for reason, count in Counter(left_out.values()).items())
    if not training:
        suspicious_too = " or add --take-suspicious" if "suspicious" in left_out.values() else ""
        raise DataError(
            f"data must hold good images that the run may learn from, got {len(good)} good ones and none of them: "
            f"{why or 'no image for training'}. Name other photographs{suspicious_too}."
        )
    counts = Counter(record.category for record in training)
    few = [f"{name} {counts[name]}" for name in new if counts[name] < _LEAST_OF_NEW]
    if few:
        raise DataError(
            f"a new product must have at least {_LEAST_OF_NEW} images, got {', '.join(few)}"
            f"{f' (left out: {why})' if why else ''}. Add photographs of it."
        )
