"""Dinomaly2 as a user has it: trained by its recipe, interrupted, resumed and exported."""

from pathlib import Path

import onnxruntime
import pytest
import torch

from muad import api
from muad.bundling.networks import export_network
from muad.checkpoints.checkpoint import load_detector
from muad.detectors.dinomaly import cosine_distance

LAYOUT = "{width = 32, depth = 4, heads = 2, registers = 1, position_grid = 4}"
SMALL = [
    "detector.encoder.name=random-custom",
    f"detector.encoder.layout={LAYOUT}",
    "detector.encoder.tap_layers=[0, 1, 2, 3]",
    "detector.bottleneck_layers=[1, 2]",
    "detector.resize_px=[64, 64]",
    "detector.crop_px=[56, 56]",
    "detector.map_px=32",
    "detector.easy_ramp_steps=2",
    "schedule.total_steps=8",
    "schedule.warmup_steps=3",
    "training.batch_size=4",
    "training.save_every_steps=3",
    "training.cache=memory",
]


def train(data: Path, out: Path, *, stop_at: int = 0, resume: bool = False) -> None:
    def progress(what: str, done: int, *_: object) -> None:
        if (what, done) == ("train", stop_at):
            raise KeyboardInterrupt

    how = {"progress": progress, "resume": resume, "device": "cpu"}
    api.train(data, out, recipe="dinomaly2-mvtec-small", overrides=SMALL, **how)


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after five steps, two after the last checkpoint, and continued."""
    out = tmp_path_factory.mktemp("dinomaly2") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_data, out, stop_at=5)
    train(tiny_data, out, resume=True)
    return out


def test_it_is_resumed_bit_for_bit(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    train(tiny_data, tmp_path / "whole")
    ours, expected = (
        sorted((folder / "checkpoints").rglob("*.safetensors"), key=lambda path: path.relative_to(folder))
        for folder in (run, tmp_path / "whole")
    )
    assert [path.name for path in ours] == [path.name for path in expected]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(ours, expected, strict=True))


def test_its_network_says_what_the_run_says(run: Path) -> None:
    """Recentring is in the graph; what comes after it, the cosine, is that of every Dinomaly."""
    detector = load_detector(run)
    exported = export_network(detector)
    session = onnxruntime.InferenceSession(exported.graph.SerializeToString())
    images = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    found = [torch.from_numpy(tensor) for tensor in session.run(None, {"images": images.numpy()})]
    with torch.no_grad():
        expected = detector.decode(detector.encode(images))
    assert exported.outputs == ("encoded_0", "encoded_1", "decoded_0", "decoded_1")
    for target, recentred in zip(found[:2], expected[0], strict=True):
        assert (target - recentred).abs().max() < 1e-4
    distances = [cosine_distance(a, b) for a, b in zip(found[:2], found[2:], strict=True)]
    assert (torch.stack(distances).mean(0).reshape(3, 4, 4) - detector.distance_map(images)).abs().max() < 1e-5
