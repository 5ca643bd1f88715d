"""A bundle opened for work: everything checked once, its small files laid out as a run folder that the line can read.

    bundle = open_bundle(Path("bolts.muad"))
    bundle.manifest.networks[""]       what there is
    bundle.read("networks/all/network.onnx")
    bundle.folder                      run.json, limits.toml, products.*, … as in a run folder

The folder is private, lies where temporary files lie, and goes with the object. No file stays open, so that the bundle
can be replaced while it is at work: whoever changes limits does so.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from muad.bundles.archive import BundleError, opened, read_manifest, read_member, require_members, verify_member
from muad.bundles.manifest import MANIFEST_FILE, RUN, SCHEMA_VERSION, Manifest
from muad.runs.folder import read_run
from muad.runs.schema import check

_REMEDY = "Export it again."
_NOT_LAID_OUT = ".onnx"  # networks are read from the bundle itself
_Stamp = tuple[int, int, int] | None


class Bundle:
    """An opened bundle. Get it from `open_bundle`.

    Attributes:
        path: The file.
        manifest: What is in it.
        folder: Its small files as a run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self.folder = Path(tempfile.mkdtemp(prefix="muad-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        try:
            with opened(path) as (archive, entries):
                self.manifest = _manifest(read_manifest(archive, entries, path), path)
                require_members(entries, self.manifest.members, path)
                for name, member in self.manifest.members.items():
                    if self.is_laid_out(name):
                        self._lay_out(name, read_member(archive, entries[name], member, path))
                    else:
                        verify_member(archive, entries[name], member, path)
            _require_agreement(self.manifest, self.folder, path)
        except BaseException:
            self.close()
            raise

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            BundleError: The file is no longer what it was, or has no such member.
        """
        with opened(self.path) as (archive, entries):
            if name not in entries or name not in self.manifest.members:
                raise BundleError(f"bundle must hold {name}, got {self.path} without it. {_REMEDY}")
            return read_member(archive, entries[name], self.manifest.members[name], self.path)

    def renew(self, names: Iterable[str]) -> None:
        """Take over these files of the run folder where the bundle was written anew; costs a stat if it was not.

        Raises:
            BundleError: It cannot be read now, or holds other networks; everything stays as it was, and is not looked
                at again before the file changes once more.
        """
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        with opened(self.path) as (archive, entries):
            manifest = _manifest(read_manifest(archive, entries, self.path), self.path)
            require_members(entries, manifest.members, self.path)
            if manifest.networks != self.manifest.networks or any(
                manifest.members[name] != self.manifest.members[name] for name in self.manifest.needed
            ):
                raise BundleError(f"bundle must hold the networks it was opened with, got others in {self.path}.")
            members = {f"{RUN}{name}": manifest.members.get(f"{RUN}{name}") for name in names}
            contents = {
                name: None if member is None else read_member(archive, entries[name], member, self.path)
                for name, member in members.items()
            }
        self.manifest = manifest
        for name, content in contents.items():
            if content is None:
                (self.folder / name.removeprefix(RUN)).unlink(missing_ok=True)
            else:
                self._lay_out(name, content)

    @property
    def is_replaced(self) -> bool:
        """Whether the file is another one than was read last."""
        return _stamp(self.path) != self._stamp

    @staticmethod
    def is_laid_out(name: str) -> bool:
        """Whether a member is in the folder."""
        return name.startswith(RUN) and not name.endswith(_NOT_LAID_OUT)

    def close(self) -> None:
        """Remove the private folder now; it is removed at the end of the process in any case."""
        self._remove()

    def _lay_out(self, name: str, content: bytes) -> None:
        place = self.folder / name.removeprefix(RUN)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{place.name}.partial")
        draft.write_bytes(content)
        draft.replace(place)


def open_bundle(path: Path) -> Bundle:
    """A bundle with every size, name and digest checked.

    Raises:
        BundleError: It is none, was damaged or changed, or is of a newer release.
    """
    return Bundle(path)


def read_manifest_of(path: Path) -> Manifest:
    """The manifest of a bundle alone; the members it names are there, and not looked into.

    Raises:
        BundleError: It cannot be read.
    """
    with opened(path) as (archive, entries):
        manifest = _manifest(read_manifest(archive, entries, path), path)
        require_members(entries, manifest.members, path)
    return manifest


def is_bundle(path: Path) -> bool:
    """Whether a path that stands for a run is a file, which only a bundle can be."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _manifest(content: bytes, path: Path) -> Manifest:
    """The manifest, if this release can read it.

    Raises:
        BundleError: It is none, or of a newer release.
    """
    try:
        values: Any = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_FILE} must be JSON, got {error} in {path}. {_REMEDY}") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{MANIFEST_FILE} must state its schema_version, got {version!r:.60} in {path}. {_REMEDY}")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"bundle must have schema version {SCHEMA_VERSION}, got {version} in {path}. Use the release of muad that "
            f"wrote it ({values.get('muad', 'unknown')!s:.40}) or a newer one."
        )
    return check(path / MANIFEST_FILE, values, Manifest, _REMEDY)


def _require_agreement(manifest: Manifest, folder: Path, path: Path) -> None:
    """Refuse a manifest that says something else than the run it was made from."""
    facts = read_run(folder)
    if facts["mode"] != manifest.mode or facts.get("categories", {}) != manifest.categories:
        raise BundleError(f"{MANIFEST_FILE} must name mode and categories of its run, got others in {path}. {_REMEDY}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no number")


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
