"""A detector on feature maps of several sizes: they are kept like tokens, and its map is made of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.configuration.run_config import RunConfig
from muad.detectors import DETECTORS, DetectorConfig, SteppingDetector
from muad.detectors.base import ParameterGroup
from muad.detectors.types import Batch, Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.pyramids import build_pyramid
from muad.images.preprocessing import Preprocessing
from muad.runtime.heads import GridHead

Train = Callable[..., RunConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagesConfig(DetectorConfig):
    name: Literal["stages"] = "stages"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="random-resnet18", tap_layers=(1, 2)))
    resize_px: tuple[int, int] = (48, 32)


class Stages(SteppingDetector):
    """Each place of a stage is restored from itself through a narrow layer."""

    settings = StagesConfig

    def __init__(self, config: StagesConfig) -> None:
        super().__init__()
        self.encoder = build_pyramid(config.encoder, config.resize_px)
        self.fingerprint, self.encoding = self.encoder.fingerprint, f"stages {self.encoder.tap_layers}"
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.narrow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, width, 1))
            for width in self.encoder.channels
        )
        self.map_head = GridHead(grids=("stage_0", "stage_1"), input_px=config.resize_px, top_fraction=0.1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(images))

    def distances(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        return [
            1 - F.cosine_similarity(stage, narrow(stage)) for stage, narrow in zip(features, self.narrow, strict=True)
        ]

    def parameter_groups(self) -> list[ParameterGroup]:
        return [{"name": "narrow", "params": list(self.narrow.parameters())}]

    def forward(self, batch: Batch, step: int) -> Losses:
        features = batch.features if batch.features is not None else self.encode(batch.images)
        losses = [distance.mean() for distance in self.distances(cast("tuple[Tensor, ...]", features))]
        return Losses(total=torch.stack(losses).sum(), terms={"fine": losses[0].detach(), "coarse": losses[1].detach()})

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}

    def measure(self, images: Tensor) -> dict[str, Tensor]:
        return {f"stage_{number}": grid for number, grid in enumerate(self.distances(self.encode(images)))}


@pytest.fixture
def train(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.setitem(DETECTORS, "stages", f"{__name__}:Stages")
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "kept"))

    def train(out: Path, *overrides: str, **how: object) -> RunConfig:
        settings = (
            "detector.name=stages", "schedule.total_steps=6", "training.batch_size=4", "training.precision=32-true",
            "training.accumulate=2",
        )  # fmt: skip
        return muad.train(photos, out, overrides=[*settings, *overrides], device="cpu", **how)

    return train


def test_stages_that_were_kept_train_the_same_detector(train: Train, tmp_path: Path, photos: Path) -> None:
    notes: list[str] = []
    for place in ("off", "memory", "disk"):
        train(tmp_path / place, f"training.cache={place}", note=notes.append)
    train(tmp_path / "again", "training.cache=disk", note=notes.append)
    assert sum("found" in note for note in notes if note.startswith("features of")) == 1
    expected = load_detector(tmp_path / "off").trainable_state()
    assert any(name.endswith("running_mean") for name in expected)
    for place in ("memory", "disk", "again"):
        kept = load_detector(tmp_path / place).trainable_state()
        for name, tensor in kept.items():
            assert torch.allclose(tensor.float(), expected[name].float(), rtol=1e-3, atol=1e-5), (place, name)
    report = muad.evaluate(tmp_path / "disk", photos, device="cpu")
    assert report.images == 8


def test_its_map_is_the_sum_of_those_of_its_stages(train: Train, tmp_path: Path) -> None:
    train(tmp_path / "run", "training.cache=off")
    detector = load_detector(tmp_path / "run")
    images = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(2))
    detector.eval()
    with torch.no_grad():
        grids = detector.measure(images)
    detector.train()
    assert [tuple(grid.shape[1:]) for grid in grids.values()] == [(12, 8), (6, 4)]
    expected = sum(F.interpolate(grid[:, None], (48, 32), mode="bilinear")[:, 0] for grid in grids.values())
    assert torch.allclose(detector.predict(images).anomaly_map, expected, atol=1e-5)
