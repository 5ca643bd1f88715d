"""The run behind a path, folder or bundle, for the verbs that read or write its small files.

A verb works on a folder in either case. What it changed of a bundle's is written into the bundle when it ends well, in
one step, and every limit that is then another one is in the bundle's history, with the time and what it was before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from muad.bundles.bundle import Bundle, is_bundle, open_bundle
from muad.bundles.manifest import RUN, LimitChange, ObjectsFacts
from muad.bundles.writing import Content, Stored, run_members, write_bundle
from muad.decisions.limits import CategoryLimits, read_limits
from muad.decisions.object_limits import read_object_limits
from muad.errors import CheckpointError, MuadError

_FIGURES = "evaluation.json"
_LIMITS = ("review", "reject", "map")


@contextmanager
def run_folder(run: Path, by: str | None = None) -> Iterator[Path]:
    """A folder with the small files of a run: its own, or of a bundle a private one.

    Args:
        run: Run folder or bundle.
        by: The verb that may change files; None for one that only reads.

    Raises:
        CheckpointError: A bundle cannot be read or written, or was replaced meanwhile.
    """
    if not is_bundle(run):
        yield run
        return
    bundle = open_bundle(run)
    try:
        with faults_of(run, bundle.folder):
            before = _plain(bundle.folder) if by is not None else {}
            yield bundle.folder
            if by is not None:
                _write_back(bundle, before, by)
    finally:
        bundle.close()


@contextmanager
def faults_of(run: Path, folder: Path) -> Iterator[None]:
    """Has faults name the path the user gave in place of the private folder's."""
    try:
        yield
    except MuadError as error:
        if run == folder or str(folder) not in str(error):
            raise
        raise type(error)(str(error).replace(str(folder), str(run))) from None


def told_of(run: Path, folder: Path, note: Callable[[str], None]) -> Callable[[str], None]:
    """The same notice, with the path the user gave in place of the private folder's."""
    return note if run == folder else lambda sentence: note(sentence.replace(str(folder), str(run)))


def _write_back(bundle: Bundle, before: Mapping[str, float], by: str) -> None:
    """Replace the bundle by one with the folder's files as they are now, if any is another."""
    manifest, folder = bundle.manifest, bundle.folder
    contents: dict[str, Content] = {}
    changed = False
    for name, member in manifest.members.items():
        file = folder / name.removeprefix(RUN)
        if not bundle.is_laid_out(name):
            contents[name] = Stored(bundle=bundle.path, name=name, member=member)
        elif file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == member.sha256:
            contents[name] = file
        else:
            changed = True
    for name, file in run_members(folder).items():
        if name not in contents:
            contents[name], changed = file, True
    if not changed:
        return
    if bundle.is_replaced:
        raise CheckpointError(
            f"bundle must stay as it is while it is changed, got another one at {bundle.path}. Do it again."
        )
    figures = folder / _FIGURES
    whole = dataclasses.replace(
        manifest,
        history=(*manifest.history, *_changes(before, _plain(folder), by)),
        objects=ObjectsFacts.of(read_object_limits(folder, ())),
        accuracy=json.loads(figures.read_text(encoding="utf-8")) if figures.is_file() else manifest.accuracy,
    )
    write_bundle(bundle.path, whole, contents)


def _changes(was: Mapping[str, float], now: Mapping[str, float], by: str) -> Iterator[LimitChange]:
    """The limits that are others than they were."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for what in sorted(was.keys() | now.keys()):
        if was.get(what) != now.get(what):
            yield LimitChange(when=when, what=what, old=was.get(what), new=now.get(what), by=by)


def _plain(folder: Path) -> Mapping[str, float]:
    """Every limit by category and name; those of parts behind `objects`."""
    limits, of_parts = read_limits(folder, ()), read_object_limits(folder, ())
    tables: dict[str, CategoryLimits] = {} if limits is None else dict(limits.categories)
    tables |= {} if of_parts is None else {f"objects.{name}": own for name, own in of_parts.categories.items()}
    every = {f"{category}.{name}": getattr(own, name) for category, own in tables.items() for name in _LIMITS}
    return {what: value for what, value in every.items() if value is not None}
