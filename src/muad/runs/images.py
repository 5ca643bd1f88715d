"""`RUN/images.json`: which images a run was trained on, and which it kept for calibration.

    {"format_version": 1, "data": "/where/the/data/were", "layout": "mvtec",
     "training":    {"screw": {"screw/train/good/000.jpg": "digest", …}, …},
     "calibration": {"screw": {"screw/train/good/003.jpg": "digest", …}, …},
     "alike":       {"screw": [["screw/train/good/003.jpg", "screw/train/good/017.jpg"], …], …},
     "set_aside":   {"screw": {"screw/train/good/005.jpg": "digest", …}, …},
     "objects":     {"screw/train/good/003.jpg": ["of which part", "in which view"], …},
     "object_rule": "{object}_{view}",
     "calibrated":  {"screw": {"/elsewhere/good/1.jpg": "digest", …}, …},
     "pixels":      {"digest of a file": "digest of its pixels", …}}

Names are taken from the data set's folder, so that it may move; digests are of the files, so that a copy of a training
image is known wherever it comes from, and of their pixels, so that it is known in another format too. `alike` are those
kept for calibration that show the same picture or object, and count once; `set_aside` are good images that were not
drawn for a run of few, with which nothing is done; `objects` says which photographs show one part in which view, where
that is known; `calibrated` are images of elsewhere that limits were set on. Runs of older releases have no such file,
or not all of it. Images of an extended run come from several data sets: `data` is a manifest in its own folder, and the
names are whole paths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muad.datasets.content_hash import relative_name
from muad.errors import CheckpointError, DataError
from muad.images.loading import read_ahead
from muad.images.reading import is_deep, open_header, read_image, read_values
from muad.runs.folder import CATEGORIES_FOLDER, write_text
from muad.runs.schema import Digests, ImagesFacts, read_json

if TYPE_CHECKING:
    from muad.types import Record

UNREADABLE = "unreadable"
_PIXELS_UP_TO = 2**30  # bytes of files; decoding more would hold up the training by minutes
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
        set_aside: The same of good images that were not drawn where only a few were to be.
        calibrated: By category, digest by path of images of elsewhere that limits were set on.
        pixels: Digest of the pixels by that of the file; empty where there were too many files to decode.
        objects: By name, part and view of every image of which both are known, trained on or kept out.
        object_rule: The rule that said so; empty where the data set did.
    """

    data: Path
    layout: str
    training: Digests
    calibration: Digests
    alike: Mapping[str, Sequence[Sequence[str]]] | None = None
    set_aside: Digests = field(default_factory=dict)
    calibrated: Digests = field(default_factory=dict)
    pixels: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    object_rule: str = ""

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

    @property
    def set_aside_names(self) -> frozenset[str]:
        """Names of all images set aside."""
        return frozenset(name for names in self.set_aside.values() for name in names)

    @property
    def names(self) -> frozenset[str]:
        """Names of all images of the data set that the run has to do with."""
        return self.calibration_names | self.training_names | self.set_aside_names

    @property
    def set_aside_digests(self) -> frozenset[str]:
        """Digests of the files that were set aside."""
        return _all(self.set_aside)

    @property
    def training_digests(self) -> frozenset[str]:
        """Digests of the files that were trained on."""
        return _all(self.training)

    @property
    def calibration_digests(self) -> frozenset[str]:
        """Digests of the files that limits were, or will be, set on."""
        return _all(self.calibration) | _all(self.calibrated)


def images_of(
    data: Path,
    layout: str,
    training: Iterable[Record],
    calibration: Iterable[Record],
    alike: Iterable[Sequence[Record]] = (),
    set_aside: Iterable[Record] = (),
    object_rule: str = "",
) -> RunImages:
    """The images of a run that begins; their files are read."""
    trained, kept = tuple(training), tuple(calibration)
    groups: dict[str, list[list[str]]] = {}
    for group in alike:
        groups.setdefault(group[0].category, []).append([relative_name(record.path, data) for record in group])
    found = RunImages(
        data=data.absolute(),
        layout=layout,
        training=_digests(trained, data),
        calibration=_digests(kept, data),
        alike=groups,
        set_aside=_digests(set_aside, data),
        objects={
            relative_name(record.path, data): (record.object_id, record.view)
            for record in (*trained, *kept)
            if record.object_id is not None and record.view is not None
        },
        object_rule=object_rule,
    )
    paths = {record.path for record in (*trained, *kept)}
    return replace(found, pixels=_pixels(paths)) if sum(map(_size, paths)) <= _PIXELS_UP_TO else found


def remember_calibrated(run: Path, images: Mapping[str, Iterable[Path]]) -> None:
    """Add images of elsewhere that the limits of a run are set on from now on to what it remembers, if it does.

    Args:
        run: Run folder.
        images: Paths by category; they take the place of those remembered for it before.

    Raises:
        CheckpointError: The file cannot be read or written.
    """
    known = read_run_images(run)
    if known is None:
        return
    given = {category: [path.absolute() for path in paths] for category, paths in images.items()}
    digests = {category: {str(path): file_digest(path) for path in paths} for category, paths in given.items()}
    new = _pixels(path for paths in given.values() for path in paths) if known.pixels else {}
    write_run_images(run, replace(known, calibrated={**known.calibrated, **digests}, pixels={**known.pixels, **new}))


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
        **({"set_aside": images.set_aside} if images.set_aside else {}),
        **({"calibrated": images.calibrated} if images.calibrated else {}),
        **({"pixels": images.pixels} if images.pixels else {}),
        **({"objects": images.objects} if images.objects else {}),
        **({"object_rule": images.object_rule} if images.object_rule else {}),
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
        data=run / facts.data,  # of an extended run a manifest in its own folder, wherever that is now
        layout=facts.layout,
        training=facts.training,
        calibration=facts.calibration,
        alike=facts.alike,
        set_aside=facts.set_aside,
        calibrated=facts.calibrated,
        pixels=facts.pixels,
        objects=facts.objects,
        object_rule=facts.object_rule,
    )


def not_set_aside(run: Path, records: Iterable[Record], data: Path) -> list[Record]:
    """Records of a run's data set without those it set aside; all of them where it remembers none.

    Args:
        run: Run folder.
        records: Of the data set.
        data: Folder of the data set, or its manifest; names are taken from it.

    Raises:
        CheckpointError: What the run remembers cannot be read.
    """
    known = read_run_images(run)
    aside = frozenset[str]() if known is None else known.set_aside_names
    return [record for record in records if not aside or relative_name(record.path, data) not in aside]


def run_images_of(run: Path) -> RunImages | None:
    """The images of a run, or of the run that a category's folder is part of; None if they are not remembered."""
    return read_run_images(run) or (
        read_run_images(run.parent.parent) if run.parent.name == CATEGORIES_FOLDER else None
    )


def kept_for_calibration(run: Path) -> frozenset[Path]:
    """Files a run, or the run that a category's folder is part of, keeps for calibration."""
    found = run_images_of(run)
    return frozenset() if found is None else frozenset(found.base / name for name in found.calibration_names)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, shortened to 32 digits; of one that cannot be read, UNREADABLE."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return UNREADABLE


def pixel_digest(path: Path) -> str | None:
    """SHA-256 of an image's numbers, shortened to 32 digits: the same in every format that loses nothing.

    Numbers of more than 8 bits are taken as they are stored; None for a file that cannot be read.
    """
    try:
        with open_header(path) as image:
            deep = is_deep(image)
        values = read_values(path) if deep else read_image(path)
    except DataError:
        return None
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[:32]


def _pixels(paths: Iterable[Path]) -> dict[str, str]:
    """Digests of pixels by digest of the file, of those that can be read."""
    both = read_ahead(lambda path: (file_digest(path), pixel_digest(path)), sorted(paths))
    return {digest: pixels for digest, pixels in both if pixels is not None}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _all(digests: Digests) -> frozenset[str]:
    return frozenset(digest for own in digests.values() for digest in own.values()) - {UNREADABLE}


def _digests(records: Iterable[Record], data: Path) -> dict[str, dict[str, str]]:
    chosen = list(records)
    found: dict[str, dict[str, str]] = {record.category: {} for record in chosen}
    for record, digest in zip(chosen, read_ahead(lambda record: file_digest(record.path), chosen), strict=True):
        found[record.category][relative_name(record.path, data)] = digest
    return found
