"""Recordings of the compared systems: read from wherever they lie, weights remade from official names.

A test module names its system (`SYSTEM = "simplenet"`) and takes the fixture `recording`: once for every file of it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from muad.configuration.run_config import RunConfig
from muad.detectors.types import Batch, Losses
from muad.training.optimizer import build_optimizer, set_learning_rates


@dataclass(frozen=True)
class Recording:
    """Numbers of the authors' modules.

    Attributes:
        tensors: By name.
        facts: Sizes and the seed.
        fill: The module that remakes weights from names.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, str]
    fill: ModuleType

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def number(self, name: str) -> int:
        return int(self.facts[name])

    def steps(self) -> range:
        """Numbers of the training steps."""
        return range(len({name.partition(".")[0] for name in self.tensors if name.startswith("step")}))

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}

    @torch.no_grad()
    def refill(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """Give tensors the values the recorded network had under these official names."""
        for name, tensor in named:
            filled = self.fill.filled(name, tuple(tensor.shape), int(self.facts["seed"]))
            tensor.copy_(torch.from_numpy(filled).reshape(tensor.shape))


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((ours.detach().double() - expected.double()).norm() / expected.double().norm())


def digest_error(ours: Tensor, digest: Tensor, least: float = 0.0) -> float:
    """The least relative error that explains a digest: norm, sum, and the first six values in float64.

    A difference d of n values changes the norm by at most its own, the sum by the root of n times that, and six values
    by no more than all.

    Args:
        ours: A gradient or a weight.
        digest: What was recorded of it.
        least: Norm below which all is rounding, for gradients that are nil.
    """
    values = ours.detach().double().flatten()
    norm = (values.norm() - digest[0]).abs()
    total = (values.sum() - digest[1]).abs() / values.numel() ** 0.5
    first = (values[:6] - digest[2:]).norm()
    return float(torch.stack([norm, total, first]).max() / max(float(digest[0]), least))


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Recording:
    file: Path | None = request.param
    if file is None:
        pytest.skip("needs the shared recordings; set MUAD_SHARED to their folder")
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no dictionary
        facts = opened.metadata()
    spec = importlib.util.spec_from_file_location("fill", _golden() / "compared" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    return Recording(tensors, facts, fill)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recording" in metafunc.fixturenames:
        files = sorted(_golden().rglob(f"{metafunc.module.SYSTEM}*.safetensors"))
        metafunc.parametrize(
            "recording", files or [None], ids=lambda file: file.stem if file else "none", indirect=True
        )


def _golden() -> Path:
    """Where all recordings lie."""
    return Path(os.environ.get("MUAD_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden"


def image_batch(images: Tensor) -> Batch:
    """Recorded images as training gives them."""
    return Batch(images=images, seeds=tuple(range(len(images))), categories=("any",) * len(images))


def require_gradients(
    recording: Recording, losses: Losses, detector: nn.Module, named: Callable[[str], str], least: float = 0.0
) -> None:
    """The loss of the first step and every gradient are those recorded; `least` as for `digest_error`."""
    assert relative_error(losses.total, recording["step0.loss"]) < 1e-5
    losses.total.backward()
    expected = recording.under("step0.grad.")
    ours = {named(name): p.grad for name, p in detector.named_parameters() if p.requires_grad}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert digest_error(gradient, expected[name], least) < 1e-5, name


def require_steps(
    recording: Recording,
    config: RunConfig,
    detector: Any,
    losses_of: Callable[[int], Losses],
    named: Callable[[str], str],
    unused: tuple[str, ...],
) -> None:
    """Losses of all steps and the weights after them are those recorded, but for what the authors never call."""
    optimizer = build_optimizer(config.optim, detector.train())
    for step in recording.steps():
        set_learning_rates(config, optimizer, step)
        losses = losses_of(step)
        assert relative_error(losses.total, recording[f"step{step}.loss"]) < 1e-4, step
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    expected = recording.under(f"after{len(recording.steps())}.")
    ours = {named(name): tensor for name, tensor in detector.trainable_state().items()}
    assert ours.keys() == {name for name in expected if not name.startswith(unused)}
    for name, tensor in ours.items():
        assert digest_error(tensor, expected[name]) < 1e-4, name
