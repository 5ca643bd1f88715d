"""`RUN/images.json`: which images a run was trained on, and which it kept for calibration.

    {"format_version": 1, "data": "/where/the/data/were", "layout": "mvtec",
     "training":    {"screw": {"screw/train/good/000.jpg": "digest", …}, …},
     "calibration": {"screw": {"screw/train/good/003.jpg": "digest", …}, …},
     "alike":       {"screw": [["screw/train/good/003.jpg", "screw/train/good/017.jpg"], …], …}}

Names are taken from the data set's folder, so that it may move; digests are of the files, so that a copy of a training
image is known wherever it comes from. `alike` are those kept for calibration that show the same picture or object, and
count once. Runs of older releases have no such file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muad.checkpoint import write_text
from muad.data.content_hash import relative_name
from muad.data.loading import read_ahead
from muad.errors import CheckpointError
from muad.run_schema import Digests, ImagesFacts, read_json

if TYPE_CHECKING:
    from muad.types import Record

UNREADABLE = "unreadable"
_FILE, _FORMAT_VERSION = "images.json", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImages:
    """The images of a run.

    Attributes:
        data: Folder of the data set, or its manifest, when the run was last trained.
        layout: How it lay on disk.
        training: By category, digest by name.
        calibration: The same of the images kept out of training.
        alike: By category, names of those kept out that show the same, in groups; None where an older release chose
            them, which did not say.
    """

    data: Path
    layout: str
    training: Digests
    calibration: Digests
    alike: Mapping[str, Sequence[Sequence[str]]] | None = None

    @property
    def base(self) -> Path:
        """The folder names are taken from."""
        return self.data.parent if self.data.is_file() else self.data

    @property
    def training_names(self) -> frozenset[str]:
        """Names of all images trained on."""
        return frozenset(name for names in self.training.values() for name in names)

    @property
    def calibration_names(self) -> frozenset[str]:
        """Names of all images kept for calibration."""
        return frozenset(name for names in self.calibration.values() for name in names)


def images_of(
    data: Path,
    layout: str,
    training: Iterable[Record],
    calibration: Iterable[Record],
    alike: Iterable[Sequence[Record]] = (),
) -> RunImages:
    """The images of a run that begins; their files are read."""
    groups: dict[str, list[list[str]]] = {}
    for group in alike:
        groups.setdefault(group[0].category, []).append([relative_name(record.path, data) for record in group])
    return RunImages(
        data=data.absolute(),
        layout=layout,
        training=_digests(training, data),
        calibration=_digests(calibration, data),
        alike=groups,
    )


def write_run_images(run: Path, images: RunImages) -> None:
    """Write the file.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    facts = {
        "format_version": _FORMAT_VERSION,
        "data": str(images.data),
        "layout": images.layout,
        "training": images.training,
        "calibration": images.calibration,
        **({} if images.alike is None else {"alike": images.alike}),
    }
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"run folder must be writable, got {run} ({error}). Name another.") from None
    write_text(run / _FILE, json.dumps(facts, indent=1) + "\n")


def read_run_images(run: Path) -> RunImages | None:
    """The images of a run; None if an older release trained it.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = run / _FILE
    if not path.is_file():
        return None
    facts, _ = read_json(path, ImagesFacts, "Restore it or train again.")
    return RunImages(
        data=Path(facts.data),
        layout=facts.layout,
        training=facts.training,
        calibration=facts.calibration,
        alike=facts.alike,
    )


def kept_for_calibration(run: Path) -> frozenset[Path]:
    """Files a run, or the run that a category's folder is part of, keeps for calibration."""
    found = read_run_images(run) or read_run_images(run.parent.parent)
    return frozenset() if found is None else frozenset(found.base / name for name in found.calibration_names)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, shortened to 32 digits; of one that cannot be read, UNREADABLE."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return UNREADABLE


def _digests(records: Iterable[Record], data: Path) -> dict[str, dict[str, str]]:
    chosen = list(records)
    found: dict[str, dict[str, str]] = {record.category: {} for record in chosen}
    for record, digest in zip(chosen, read_ahead(lambda record: file_digest(record.path), chosen), strict=True):
        found[record.category][relative_name(record.path, data)] = digest
    return found
