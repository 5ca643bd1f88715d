"""Which images of a data set a run has not seen: only on those do figures say how it will do.

A plant trains on good photographs and puts bad ones beside them later. The folder reader then holds out every fifth
good one for testing, although the run was trained on all of them; figures on those would flatter. So every image is
compared with those the run remembers (`run_images`): by a digest of the file, wherever it lies and whatever it is
called now, and by one of its pixels, whatever it was saved as without loss. What is only alike is for `check-data`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muad.datasets.content_hash import relative_name
from muad.errors import DataError
from muad.images.loading import read_ahead
from muad.metrics.report import Seen
from muad.runs.images import RunImages, file_digest, pixel_digest, run_images_of
from muad.wording import counted

if TYPE_CHECKING:
    from muad.types import Catalog, Record

_WITHOUT_SPLIT = "folder"  # the layout whose split is ours, not the user's
_TRAINED, _CALIBRATED = "trained on", "calibrated on"
_MORE_GOOD = (
    "Photograph more good parts, put them beside the good ones or into test/good, and evaluate again: what the run has "
    "not seen is tested."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What is left to evaluate on.

    Attributes:
        records: Test images the run has not seen, or may not have: all of them where it does not remember.
        seen: What was compared, and how many were left out and why.
        notes: Sentences the user should see.
    """

    records: tuple[Record, ...]
    seen: Seen
    notes: tuple[str, ...]


def select_unseen(
    run: Path, catalog: Catalog, *, strict: bool = False, progress: Callable[[int, int], None] = lambda *_: None
) -> Unseen:
    """The images of a data set to evaluate a run on.

    Where the data set has no split of its own, good images that were added since the training are among them, whichever
    side of the reader's own split they are on.

    Args:
        run: Run folder, or that of one of its categories.
        catalog: The data set.
        strict: Refuse to leave anything out.
        progress: Called with images compared and in all.

    Raises:
        DataError: There are no test images, the run has seen all of them, or some with `strict`.
        CheckpointError: What the run remembers cannot be read.
    """
    testing = catalog.select(split="test")
    if not testing:
        raise DataError("data must hold test images to evaluate on, got none. Name a data set with a test split.")
    known = run_images_of(run)
    if known is None:
        note = "this run does not remember what it was trained on: whether it has seen these images is not known"
        return Unseen(records=testing, seen=Seen(checked=False), notes=(note,))
    aside = _set_aside(known, testing)
    testing = tuple(record for record in testing if record not in aside)
    added = _added(known, catalog)
    kinds = _kinds(known, [*testing, *added], progress)
    pairs = list(zip(testing, kinds, strict=False))
    left_out = {kind: [record for record, found in pairs if found == kind] for kind in (_TRAINED, _CALIBRATED)}
    trained, calibrated = len(left_out[_TRAINED]), len(left_out[_CALIBRATED])
    fresh = [record for record, kind in zip(added, kinds[len(testing) :], strict=True) if kind is None]
    kept = {record for record, kind in pairs if kind is None} | {*fresh}
    records = tuple(record for record in catalog.records if record in kept)
    seen = Seen(
        checked=True,
        compared=len(testing) + len(fresh),
        trained_on=trained,
        calibrated_on=calibrated,
        by_pixels=bool(known.pixels),
    )
    if strict and trained + calibrated:
        example = (left_out[_TRAINED] + left_out[_CALIBRATED])[0].path
        raise DataError(
            f"test images must be such as the run has not seen, got {_counts(trained, calibrated)}, such as {example}. "
            "Remove them, or evaluate without --strict: then they are left out."
        )
    if not records:
        raise DataError(
            f"data must hold test images the run has not seen, got {_counts(trained, calibrated, len(aside))} and no "
            "other. "
            f"{_MORE_GOOD}"
        )
    told = [
        f"left out of the test images: {counted(len(aside), 'good image')} that this run of few photographs set aside, "
        "since they belong together with what it drew from"
    ]
    return Unseen(
        records=tuple(dataclasses.replace(record, split="test") for record in records),
        seen=seen,
        notes=(*(told if aside else ()), *_sentences(testing, records, fresh, trained, calibrated)),
    )


def _set_aside(known: RunImages, records: Sequence[Record]) -> frozenset[Record]:
    """Those on the training side of a run of few images: what shows the same part as one of these is among them."""
    digests = known.set_aside_digests
    return frozenset(record for record in records if digests and file_digest(record.path) in digests)


def _added(known: RunImages, catalog: Catalog) -> list[Record]:
    """Good images that the reader would train on and the run does not know by name, where the split is the reader's."""
    if catalog.layout != _WITHOUT_SPLIT:
        return []
    names = known.names
    return [record for record in catalog.select(split="train") if relative_name(record.path, catalog.root) not in names]


def _kinds(known: RunImages, records: Sequence[Record], progress: Callable[[int, int], None]) -> list[str | None]:
    """How the run has seen each image, or None."""
    files = dict.fromkeys(known.calibration_digests, _CALIBRATED)
    files |= dict.fromkeys(known.training_digests, _TRAINED)
    pixels = {known.pixels[digest]: kind for digest, kind in files.items() if digest in known.pixels}

    def kind_of(record: Record) -> str | None:
        found = files.get(file_digest(record.path))
        if found is None and pixels and (same := pixel_digest(record.path)) is not None:
            found = pixels.get(same)
        return found

    kinds: list[str | None] = []
    for kind in read_ahead(kind_of, records):
        kinds.append(kind)
        progress(len(kinds), len(records))
    return kinds


def _sentences(
    testing: Sequence[Record], records: Sequence[Record], fresh: Sequence[Record], trained: int, calibrated: int
) -> list[str]:
    notes = []
    if fresh:
        notes.append(f"tested too, because the run has not seen them: {counted(len(fresh), 'good image')} added since")
    if trained + calibrated:
        bad = sum(record.is_anomalous for record in records)
        notes.append(
            f"left out of {counted(len(testing), 'test image')}: {_counts(trained, calibrated)}; "
            f"{len(records)} to test on, {len(records) - bad} good and {bad} anomalous"
        )
        if bad == len(records):
            notes.append(f"no good image is left that the run has not seen: no AUROC can be given. {_MORE_GOOD}")
    return notes


def _counts(trained: int, calibrated: int, aside: int = 0) -> str:
    parts = [
        f"{counted(count, 'image')} it was {kind}"
        for count, kind in ((trained, _TRAINED), (calibrated, _CALIBRATED))
        if count
    ]
    parts += [f"{counted(aside, 'image')} it set aside"] if aside else []
    return " and ".join(parts)
