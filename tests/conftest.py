"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference numbers and real images, kept outside the project; MUAD_SHARED names another place."""
    folder = Path(os.environ.get("MUAD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the shared reference data, not found at {folder}; set MUAD_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> dict[str, torch.Tensor]:
    """Numbers recorded once from the authors' implementation of Dinomaly."""
    from safetensors.torch import load_file

    return load_file(shared_dir / "golden" / "dinomaly.safetensors")
