"""The file around a bundle: a zip that is only stored, of which nothing is believed before it is checked.

Sizes are bounded before anything is read, every name must be one that cannot leave a folder, and what is read has the
digest that the manifest states. Every fault is one line.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from muad.bundles.manifest import GOLDEN, MANIFEST_FILE, NETWORKS, RUN
from muad.errors import CheckpointError

if TYPE_CHECKING:
    from muad.bundles.manifest import Member

LARGEST_MANIFEST = 16 * 2**20
MOST_MEMBERS = 10_000
_LARGEST_DIRECTORY = 8 * 2**20
_LARGEST = {NETWORKS: 8 * 2**30, GOLDEN: 2**28, RUN: 2**29}
"""Largest member of each kind."""
_LARGEST_RUN = 2**30  # all of the run folder's small files together: they are laid out on a disk
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_FULL = 0xFFFF, 0xFFFFFFFF
_LEAVING = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in "123456789")}
)
_REMEDY = "Copy or export it again."


class BundleError(CheckpointError):
    """A file is no bundle that can be used."""


Entries = Mapping[str, zipfile.ZipInfo]


@contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Entries]]:
    """A bundle's zip and its members by name, sizes and names checked.

    Raises:
        BundleError: It is no such file, or holds what a bundle may not.
    """
    try:
        with _file(path) as file:
            length = _require_bounded(file, path)
            with zipfile.ZipFile(file) as archive:
                yield archive, _entries(archive, path, length)
    except (OSError, zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeError, EOFError) as error:
        raise BundleError(f"bundle must be readable and whole, got {path} ({error}). {_REMEDY}") from None


def read_manifest(archive: zipfile.ZipFile, entries: Entries, path: Path) -> bytes:
    """The bytes of the manifest.

    Raises:
        BundleError: There is none, or a larger one than anybody needs.
    """
    entry = entries.get(MANIFEST_FILE)
    if entry is None:
        raise BundleError(f"bundle must be a file written by `muad export`, got {path}, which has no {MANIFEST_FILE}.")
    return archive.read(entry)


def require_members(entries: Entries, members: Mapping[str, Member], path: Path) -> None:
    """Refuse members that the manifest does not name, lacks, or states another size of.

    Raises:
        BundleError: So it is.
    """
    found = entries.keys() - {MANIFEST_FILE}
    for name in sorted(found - members.keys()):
        raise BundleError(f"bundle must hold only what its manifest names, got {name!r} in {path}. {_REMEDY}")
    for name, member in members.items():
        if name not in found:
            raise BundleError(f"bundle must hold {name}, got {path} without it. {_REMEDY}")
        if entries[name].file_size != member.bytes:
            raise BundleError(
                f"{name} must be {member.bytes} bytes, got {entries[name].file_size} in {path}. {_REMEDY}"
            )


def verify_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, member: Member, path: Path) -> None:
    """Read all of a member once and refuse it if it is not what the manifest says.

    Raises:
        BundleError: It was changed.
    """
    _pass_through(archive, entry, member, path, None)


def copy_member(path: Path, name: str, member: Member, target: IO[bytes]) -> None:
    """Write the bytes of a member elsewhere, which are what the manifest says.

    Raises:
        BundleError: They are others; what was written is of no use.
        OSError: The target cannot be written.
    """
    with _file(path) as file, zipfile.ZipFile(file) as archive:
        _pass_through(archive, archive.getinfo(name), member, path, target)


def _pass_through(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, member: Member, path: Path, target: IO[bytes] | None
) -> None:
    digest = hashlib.sha256()
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if target is not None:
                target.write(chunk)
    _require_digest(entry.filename, digest.hexdigest(), member, path)


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, member: Member, path: Path) -> bytes:
    """The bytes of a member, which are what the manifest says.

    Raises:
        BundleError: They are others.
    """
    content = archive.read(entry)
    _require_digest(entry.filename, hashlib.sha256(content).hexdigest(), member, path)
    return content


def _require_digest(name: str, found: str, member: Member, path: Path) -> None:
    if found != member.sha256:
        raise BundleError(
            f"{name} must be as it was written (digest {member.sha256[:12]}), got damaged or changed bytes "
            f"({found[:12]}) in {path}. {_REMEDY}"
        )


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    """A plain file, opened; a pipe or device would never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BundleError(f"bundle must be a file, got {path}. Name the file that `muad export` wrote.")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise BundleError(f"bundle must be a readable file, got {path} ({error}). Name another.") from None
    with file:
        yield file


def _require_bounded(file: BinaryIO, path: Path) -> int:
    """Refuse a directory that is larger than any bundle's, before zipfile reads it; returns where members end."""
    length = file.seek(0, 2)
    foreign = BundleError(f"bundle must be a whole file written by `muad export`, got {path}, which is none. {_REMEDY}")
    if length < _END.size:
        raise foreign
    file.seek(-_END.size, 2)
    mark, _, _, _, count, size, start, comment = _END.unpack(file.read(_END.size))
    if mark != b"PK\x05\x06" or comment:
        raise foreign
    if count == _FULL[0] or _FULL[1] in (size, start):
        if length < _END.size + _LOCATOR.size + _END64.size:
            raise foreign
        file.seek(-_END.size - _LOCATOR.size - _END64.size, 2)
        mark, *_, count, size, start = _END64.unpack(file.read(_END64.size))
        if mark != b"PK\x06\x06":
            raise foreign
    if count > MOST_MEMBERS or size > _LARGEST_DIRECTORY:
        raise BundleError(f"bundle must hold at most {MOST_MEMBERS} members, got {count} in {path}. {_REMEDY}")
    if start + size > length:
        raise foreign
    file.seek(0)
    return int(start)


def _entries(archive: zipfile.ZipFile, path: Path, end: int) -> dict[str, zipfile.ZipInfo]:
    """Members by name, each checked.

    Raises:
        BundleError: One may not be in a bundle.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for entry in archive.infolist():
        name = entry.filename
        if name != entry.orig_filename or (name != MANIFEST_FILE and not is_member_name(name)):
            raise BundleError(f"member must have a name of its own in the bundle, got {name!r} in {path}. {_REMEDY}")
        if name.casefold() in folded:
            raise BundleError(f"member must be in a bundle once, got {name!r} again in {path}. {_REMEDY}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
            raise BundleError(f"member must be stored as it is, got {name!r} packed in {path}. {_REMEDY}")
        limit = next((most for kind, most in _LARGEST.items() if name.startswith(kind)), LARGEST_MANIFEST)
        if entry.file_size > limit:
            raise BundleError(f"{name} must be at most {limit} bytes, got {entry.file_size} in {path}. {_REMEDY}")
        found[name] = entry
        folded.add(name.casefold())
    run = sum(entry.file_size for name, entry in found.items() if name.startswith(RUN))
    if sum(entry.file_size for entry in found.values()) > end or run > _LARGEST_RUN:
        raise BundleError(f"members must be no larger than their file, got more in {path}. {_REMEDY}")
    return found


def is_member_name(name: str) -> bool:
    """Whether a file may be called so in a bundle: below one of its folders, and nowhere else on any system."""
    parts = name.split("/")
    return (
        len(parts) > 1
        and f"{parts[0]}/" in _LARGEST
        and len(name) <= 400
        and _LEAVING.search(name) is None
        and all(part == part.strip() and not part.endswith(".") and part for part in parts)
        and not any(part.partition(".")[0].lower() in _DEVICES for part in parts)
    )
