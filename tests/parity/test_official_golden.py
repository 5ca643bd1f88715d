"""A checkpoint in the authors' naming, imported as a user does it, gives the authors' numbers."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.checkpoints.checkpoint import load_detector
from muad.checkpoints.official import import_official
from muad.configuration.run_config import load_config
from muad.errors import CheckpointError

Golden = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state(golden: Golden) -> Golden:
    named = {key.removeprefix("weights."): tensor for key, tensor in golden.items() if key.startswith("weights.")}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_imported_run_gives_the_authors_map_and_score(
    golden: Golden, state: Golden, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    config = load_config("dinomaly-mvtec", ["detector.resize_px=[112, 112]", "detector.crop_px=[112, 112]"])
    import_official(file, tmp_path / "run", config, heads=4)
    file.unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    prediction = load_detector(tmp_path / "moved").predict(golden["image"])
    assert relative_error(prediction.anomaly_map, golden["anomaly_map.256_blurred"][:, 0]) < 1e-5
    assert relative_error(prediction.score, golden["score.top1percent"]) < 1e-5


def test_the_wrong_number_of_heads_gives_other_numbers(golden: Golden, state: Golden, tmp_path: Path) -> None:
    """It cannot be seen in the tensors, so the default must be the authors' rule and nothing cleverer."""
    save_file(state, tmp_path / "model.safetensors")
    config = load_config(None, ["detector.resize_px=[112, 112]", "detector.crop_px=[112, 112]"])
    import_official(tmp_path / "model.safetensors", tmp_path / "run", config)
    prediction = load_detector(tmp_path / "run").predict(golden["image"])
    assert relative_error(prediction.score, golden["score.top1percent"]) > 1e-3


def test_a_tensor_that_is_missing_is_named(state: Golden, tmp_path: Path) -> None:
    less = {name: tensor for name, tensor in state.items() if name != "decoder.7.mlp.fc2.bias"}
    save_file(less, tmp_path / "model.safetensors")
    config = load_config(None, ["detector.resize_px=[112, 112]", "detector.crop_px=[112, 112]"])
    with pytest.raises(CheckpointError, match=r"got 1 that do not: decoder\.7\.mlp\.fc2\.bias missing"):
        import_official(tmp_path / "model.safetensors", tmp_path / "run", config, heads=4)
