"""A recorded step against the plain one, with a graph that carries out by hand what a graphics card would replay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from muad.training import loop
from muad.training.recorded import RecordedStep, TakeStep

TrainTiny = Callable[..., object]


class NothingForTheHost(TorchDispatchMode):
    """Refuses what makes a graphics card wait: a value read by the host, a shape that depends on values, a copy."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "_to_cpu")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        assert not any(part in name.split(".") for part in self.FORBIDDEN), f"{name} asks the device for a value"
        return func(*args, **(kwargs or {}))


class ByHand:
    """Keeps operations when they are recorded and carries them out when they are replayed, under guard."""

    def __init__(self) -> None:
        self.replayed = 0

    def warm_up(self, operations: Callable[[], None]) -> None:
        operations()

    def record(self, operations: Callable[[], None]) -> None:
        self.operations = operations

    def replay(self) -> None:
        self.replayed += 1
        with NothingForTheHost():
            self.operations()


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[ByHand]:
    """Trainings record from now on, as they do on a graphics card."""
    graphs: list[ByHand] = []

    def choose(move: TakeStep, config: object, detector: object, optimizer: Any, *_: object) -> TakeStep:
        graphs.append(ByHand())
        optimizer.keep_time_on_device()
        return RecordedStep(move, optimizer, graphs[-1])

    monkeypatch.setattr(loop, "choose_step", choose)
    return graphs


def weights_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoints/{step:08d}/weights.safetensors")


def test_recorded_steps_move_the_weights_as_plain_ones(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise, whose numbers come from another source; rates and the share of easy points change every step."""
    settings = ("detector.dropout_rate=0.0", "detector.easy_ramp_steps=10")
    train_tiny(tmp_path / "plain", *settings)
    graphs = record_steps(monkeypatch)
    train_tiny(tmp_path / "recorded", *settings)
    assert graphs[0].replayed == 12 - 3
    plain, recorded = weights_of(tmp_path / "plain", 12), weights_of(tmp_path / "recorded", 12)
    assert max(float((recorded[name] - one).norm() / one.norm()) for name, one in plain.items()) < 1e-3


def test_a_recorded_run_goes_on_bit_for_bit(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_steps(monkeypatch)
    every = ("training.save_every_steps=7",)
    train_tiny(tmp_path / "whole", *every)

    def stop_at_8(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "train" and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "halved", *every, progress=stop_at_8)
    train_tiny(tmp_path / "halved", *every, resume=True)
    whole, halved = weights_of(tmp_path / "whole", 12), weights_of(tmp_path / "halved", 12)
    assert all(halved[name].equal(tensor) for name, tensor in whole.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recording", ["graph", "compiled"])
def test_a_graph_of_a_card_moves_the_weights_as_plain_steps_do(
    train_tiny: TrainTiny, tmp_path: Path, recording: str
) -> None:
    for kind in ("off", recording):
        train_tiny(tmp_path / kind, f"training.recording={kind}", "training.precision=32-true", device="cuda")
    plain, recorded = weights_of(tmp_path / "off", 12), weights_of(tmp_path / recording, 12)
    assert max(float((recorded[name] - one).norm() / one.norm()) for name, one in plain.items()) < 1e-2
