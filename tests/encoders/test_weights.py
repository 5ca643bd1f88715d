"""Weights files that are not what they should be; fingerprints."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.encoders.weights import fingerprint, read_packaged_tensors, read_tensors
from muad.errors import CheckpointError


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
@pytest.mark.parametrize("content", [b"", b"not a weights file", b"PK\x03\x04 half an archive"])
def test_a_damaged_file_is_named(suffix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"must be a readable file of tensors, got .*weights{suffix}"):
        read_tensors(file)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_named(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pth":
        torch.save({"a": torch.zeros(1000)}, whole)
    else:
        save_file({"a": torch.zeros(1000)}, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="must be a readable file of tensors"):
        read_tensors(cut)


class _Harmful:
    """Any object that is not a tensor: reading it would mean running code from the file."""


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": _Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="must be a readable file of tensors"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[1, 2], {"model": {"epoch": 3}}, {}])
def test_a_file_of_other_things_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="must be a mapping of names to tensors"):
        read_tensors(tmp_path / "weights.pth")


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be an existing file, got .*nowhere\.pth"):
        read_tensors(tmp_path / "nowhere.pth")
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors, .*got weights\.npz"):
        read_tensors(tmp_path / "weights.npz")


def test_an_encoder_the_package_does_not_hold_is_named() -> None:
    with pytest.raises(CheckpointError, match="encoder no-such-encoder must be part of the installation"):
        read_packaged_tensors("no-such-encoder")


def test_a_fingerprint_depends_on_names_shapes_and_values_but_not_on_order_or_strides() -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor(2.0)
    reference = fingerprint({"a": a, "b": b})
    assert fingerprint({"b": b, "a": a.T.contiguous().T}) == reference
    changed = [{"a": a + 1e-6, "b": b}, {"a": a.reshape(3, 2), "b": b}, {"c": a, "b": b}]
    assert len({reference, *(fingerprint(state) for state in changed)}) == 4
