"""Several optimizers, and phases: a detector of two networks that learn by turns, through the whole training."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors import DETECTORS, DetectorConfig, SteppingDetector
from muad.detectors.base import ParameterGroup
from muad.detectors.types import Batch, Losses
from muad.images.preprocessing import Preprocessing
from muad.runtime.heads import GridHead
from muad.training.optimizer import JoinedOptimizer, build_optimizer, resting, set_learning_rates

Train = Callable[..., RunConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurnsConfig(DetectorConfig):
    name: Literal["in_turns"] = "in_turns"
    resize_px: tuple[int, int] = (32, 32)
    first_steps: int = 6


class InTurns(SteppingDetector):
    """An autoencoder learns first; then it is frozen, and a judge of its errors learns; a scale learns all along."""

    settings = InTurnsConfig

    def __init__(self, config: InTurnsConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing(resize_px=config.resize_px, crop_px=config.resize_px)
        self.restorer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 3, 1))
        self.judge = nn.Conv2d(3, 1, 1)
        self.scale = nn.Parameter(torch.ones(1))
        self.map_head = GridHead(grids=("error",), input_px=config.resize_px)

    def is_first(self, step: int) -> bool:
        return step < self.config.first_steps

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            {"name": "restorer", "params": list(self.restorer.parameters()), "optimizer": "sgd", "momentum": 0.5,
             "lr_factor": 10.0, "learns": self.is_first},
            {"name": "judge", "params": list(self.judge.parameters()), "optimizer": "adam",
             "learns": lambda step: not self.is_first(step), "rate": lambda step, rate: rate / (1 + step)},
            {"name": "scale", "params": [self.scale], "betas": (0.5, 0.9)},
        ]  # fmt: skip

    def forward(self, batch: Batch, step: int) -> Losses:
        self.restorer.train(self.is_first(step))
        if self.is_first(step):
            error = (self.restorer(batch.images) - batch.images).square().mean() * self.scale.square().sum()
            return Losses(total=error, terms={"restoration": error.detach()})
        with torch.no_grad():
            restored = self.restorer(batch.images)
        judged = (self.judge((restored - batch.images).abs()) * self.scale).square().mean()
        return Losses(total=judged, terms={"judgement": judged.detach()})

    def trainable_state(self) -> dict[str, Tensor]:
        return dict(self.state_dict())

    def measure(self, images: Tensor) -> dict[str, Tensor]:
        return {"error": self.judge((self.restorer(images) - images).abs())[:, 0] * self.scale}


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DETECTORS, "in_turns", f"{__name__}:InTurns")


@pytest.fixture
def train(photos: Path) -> Train:
    def train(out: Path, *overrides: str, **how: object) -> RunConfig:
        settings = (
            "detector.name=in_turns", "schedule.total_steps=12", "schedule.warmup_steps=2", "training.batch_size=4",
            "training.precision=32-true", "training.log_every_steps=4", "training.save_every_steps=2",
            "optim.kind=adamw",
        )  # fmt: skip
        return muad.train(photos, out, overrides=[*settings, *overrides], device="cpu", **how)

    return train


def weights(run: Path) -> dict[str, Tensor]:
    return load_detector(run).trainable_state()


def interrupt_at(steps: int) -> Callable[..., None]:
    def progress(what: str, done: int, *_: object) -> None:
        if what == "train" and done == steps:
            signal.raise_signal(signal.SIGINT)

    return progress


@pytest.mark.parametrize("steps", [3, 5, 8])
def test_a_resumed_run_is_the_uninterrupted_one_in_either_phase_and_at_the_border(
    train: Train, tmp_path: Path, steps: int
) -> None:
    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", progress=interrupt_at(steps))
    train(tmp_path / "run", resume=True)
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())


def test_what_does_not_learn_stays_as_it_is_and_each_phase_logs_its_own_terms(train: Train, tmp_path: Path) -> None:
    settings = ("schedule.kind=constant", "detector.first_steps=5", "training.save_every_steps=50")
    train(tmp_path / "first", *settings, "schedule.total_steps=5")
    train(tmp_path / "both", *settings)
    first, both = weights(tmp_path / "first"), weights(tmp_path / "both")
    for name, tensor in both.items():
        # The statistics of batch norm belong to the restorer, which is in eval mode once it is frozen.
        assert tensor.equal(first[name]) == name.startswith("restorer"), name
    torch.manual_seed(RunConfig().training.seed)
    fresh = InTurns(InTurnsConfig()).trainable_state()
    assert first["judge.weight"].equal(fresh["judge.weight"])
    lines = [json.loads(line) for line in (tmp_path / "both/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [3, 4, 7, 11]
    assert ["restoration" in line for line in lines] == [True, True, False, False]


def test_each_group_is_moved_by_its_own_optimizer_as_that_alone_would() -> None:
    torch.manual_seed(0)
    detector, other = InTurns(InTurnsConfig(first_steps=2)), InTurns(InTurnsConfig(first_steps=2))
    other.load_state_dict(detector.state_dict())
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adamw", lr=0.01, eps=1e-8, weight_decay=0.1, amsgrad=False),
        schedule=ScheduleConfig(kind="constant", warmup_steps=0, total_steps=5),
    )
    ours = build_optimizer(config.optim, detector)
    assert isinstance(ours, JoinedOptimizer)
    assert [group["name"] for group in ours.param_groups] == ["restorer", "judge", "scale"]
    sgd = torch.optim.SGD(other.restorer.parameters(), lr=0.1, momentum=0.5, weight_decay=0.1)
    adam = torch.optim.Adam(other.judge.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    adamw = torch.optim.AdamW([other.scale], lr=0.01, betas=(0.5, 0.9), weight_decay=0.1)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = Batch(images=images, seeds=(0, 1, 2, 3), categories=("nut",) * 4)
    for step in range(5):
        set_learning_rates(config, ours, step)
        detector(batch, step).total.backward()
        for parameter in resting(ours, step):
            parameter.grad = None
        ours.step()
        ours.zero_grad()
        other(batch, step).total.backward()
        adam.param_groups[0]["lr"] = 0.01 / (1 + step)
        for optimizer in (sgd, adam)[step >= 2 :][:1]:
            optimizer.step()
        adamw.step()
        other.zero_grad()
    for (name, one), two in zip(detector.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-7), name


def test_a_joined_optimizer_has_its_state_back_and_shares_it_with_its_parts() -> None:
    torch.manual_seed(0)
    detector = InTurns(InTurnsConfig())
    config = RunConfig(detector=detector.config)
    first, second = (build_optimizer(config.optim, detector) for _ in range(2))
    batch = Batch(images=torch.randn(2, 3, 32, 32), seeds=(0, 1), categories=("nut",) * 2)
    detector(batch, 0).total.backward()
    first.step()
    second.load_state_dict(first.state_dict())
    assert len(second.state) == len(first.state) > 0
    for part in second.parts:
        assert part.state is second.state
        assert all(any(group is own for own in second.param_groups) for group in part.param_groups)
    with pytest.raises(ValueError, match="closure must be left out"):
        first.step(lambda: 0.0)


def test_the_rate_drops_once_late_in_the_run() -> None:
    schedule = ScheduleConfig(kind="drop", warmup_steps=0, total_steps=10, final_lr=1e-4, drop_at=0.8)
    detector = InTurns(InTurnsConfig())
    config = RunConfig(detector=detector.config, optim=OptimConfig(lr=1e-3), schedule=schedule)
    optimizer = build_optimizer(config.optim, detector)
    assert [set_learning_rates(config, optimizer, step) for step in (0, 7, 8, 9)] == [1e-3, 1e-3, 1e-4, 1e-4]
