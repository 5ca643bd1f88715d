"""Safetensors files of torch's tensors, kept with a digest like those of arrays (`runs.tensor_files`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from muad.runs.tensor_files import mode_kept, readable, require_whole, whole_digest

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> str:
    """Write tensors and return the digest of the file.

    Raises:
        OSError: The disk is full or the folder not writable.
        SafetensorError: The same, seen by the library that writes.
    """
    with mode_kept(path):
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path, metadata)
    return whole_digest(path)


def read_whole_tensors(path: Path, digest: str | None, remedy: str) -> dict[str, Tensor]:
    """The tensors of a file that is as it was written.

    Args:
        path: The file.
        digest: What `write_tensors` returned; None for a file of an older release, which is taken as it is.
        remedy: What a user may do about a damaged one, as a sentence.

    Raises:
        CheckpointError: It cannot be read, or is not what was written.
    """
    with readable(path, remedy):
        require_whole(path, digest, remedy)
        return dict(load_file(path))
