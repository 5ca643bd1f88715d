"""Safetensors files that are kept with a digest: written like any other file, and known to be whole when read.

A safetensors file whose numbers were changed, by a disk, a copy that broke or a hand, still reads without a word, and
everything computed from it is wrong. So whoever writes one keeps its digest beside it, in a file of facts that a schema
checks, and whoever reads it compares. Hashing goes at about a gigabyte a second, once per load.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.numpy
from safetensors import SafetensorError

from muad.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped


def write_arrays(arrays: Mapping[str, Shaped[np.ndarray, "*shape"]], path: Path) -> str:
    """Write arrays and return the digest of the file.

    Raises:
        OSError: The disk is full or the folder not writable.
        SafetensorError: The same, seen by the library that writes.
    """
    with mode_kept(path):
        safetensors.numpy.save_file(dict(arrays), path)
    return whole_digest(path)


def read_whole_arrays(path: Path, digest: str | None, remedy: str) -> dict[str, Shaped[np.ndarray, "*shape"]]:
    """The arrays of a file that is as it was written.

    Args:
        path: The file.
        digest: What `write_arrays` returned; None for a file of an older release, which is taken as it is.
        remedy: What a user may do about a damaged one, as a sentence.

    Raises:
        CheckpointError: It cannot be read, or is not what was written.
    """
    with readable(path, remedy):
        require_whole(path, digest, remedy)
        return dict(safetensors.numpy.load_file(path))


def require_whole(path: Path, digest: str | None, remedy: str) -> None:
    """Refuse a file that is not as it was written; one without a digest is taken as it is.

    Raises:
        CheckpointError: It was changed.
        OSError: It cannot be read.
    """
    if digest is not None and (found := whole_digest(path)) != digest:
        raise CheckpointError(
            f"{path.name} must be as it was written (digest {digest[:12]}), got damaged or changed bytes "
            f"({found[:12]}) in {path}. {remedy}"
        )


def whole_digest(path: Path) -> str:
    """SHA-256 of all of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def mode_kept(path: Path) -> Iterator[None]:
    """Leaves a file with the rights that any new one has: the library writes through one only its owner may read."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    yield
    path.chmod(mode)


@contextmanager
def readable(path: Path, remedy: str) -> Iterator[None]:
    """Says of a file that cannot be read what a user may do about it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path.name} must be a readable safetensors file, got {path} ({error}). {remedy}"
        ) from None
