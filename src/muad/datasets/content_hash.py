"""One short text that tells whether a set of images is still the one it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muad.types import Record

_EDGE_BYTES = 65_536


def content_hash(records: Iterable[Record], root: Path) -> str:
    """SHA-256 over each image's name, category, size in bytes, and its first and last 64 KiB.

    Reading the edges only keeps this to a moment for any data set, and no two photographs share them: compressed files
    differ from their first block on.

    Args:
        records: Images, in any order.
        root: Folder their names are taken from (or the manifest in it), so that a moved data set keeps its hash.
    """
    whole = hashlib.sha256()
    for name, record in sorted(((relative_name(record.path, root), record) for record in records), key=itemgetter(0)):
        size, edges = _edges(record.path)
        whole.update(f"{name}\0{record.category}\0{size}\0{edges}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{whole.hexdigest()}"


def _edges(path: Path) -> tuple[int, str]:
    """Size of a file and the hash of its first and last block."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(_EDGE_BYTES)
            file.seek(max(len(first), size - _EDGE_BYTES))
            return size, hashlib.sha256(first + file.read(_EDGE_BYTES)).hexdigest()
    except OSError:
        return 0, "unreadable"


def relative_name(path: Path, root: Path) -> str:
    """The way to a file from the data set's folder, with forward slashes everywhere.

    Args:
        path: The file.
        root: The data set's folder, or a manifest file in it.
    """
    base = root if root.is_dir() else root.parent
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # on another drive
        return path.absolute().as_posix()
