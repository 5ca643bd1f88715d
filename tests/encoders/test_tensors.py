"""Tensor files: as readable as other files, and known to be whole."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from muad.encoders.tensors import read_whole_tensors, write_tensors
from muad.errors import CheckpointError
from muad.runs.tensor_files import require_whole

TENSORS = {"a": torch.arange(64.0), "b": torch.zeros(2, 3)}


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes of another kind")
def test_a_file_is_as_readable_as_any_other(umask: int, tmp_path: Path) -> None:
    write_tensors(TENSORS, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    digest = write_tensors(TENSORS, file)
    found = read_whole_tensors(file, digest, "Restore it.")
    assert found.keys() == TENSORS.keys()
    assert all(tensor.equal(found[name]) for name, tensor in TENSORS.items())
    assert read_whole_tensors(file, None, "Restore it.").keys() == TENSORS.keys()


@pytest.mark.parametrize("place", [0, 7, 100, -1, -100])
def test_one_changed_bit_anywhere_is_found(place: int, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    digest = write_tensors(TENSORS, file)
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors must be as it was written.*Restore it\."):
        read_whole_tensors(file, digest, "Restore it.")
    with pytest.raises(CheckpointError, match="damaged or changed bytes"):
        require_whole(file, digest, "Restore it.")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a readable safetensors file"):
        read_whole_tensors(tmp_path / "no.safetensors", "0", "Restore it.")
