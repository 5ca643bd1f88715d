"""Steps whose gradient is not finite: left out, counted and named, or the end of the training."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from muad.detectors.types import Losses
from muad.optim import StableAdamW
from muad.training import loop
from muad.training.engine import launch
from muad.training.recorded import RecordedStep
from muad.training.runlog import MOST_SKIPPED, RunLog, TrainingError

TrainTiny = Callable[..., object]
SKIPPING = ("optim.skip_nonfinite=true", "detector.dropout_rate=0.0", "optim.amsgrad=false")


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From now on the gradients of some steps are NaN."""
    compute = loop.compute_gradients

    def at(*steps: int) -> None:
        def spoilt(model: Any, batch: Any, step: Any, *rest: Any) -> Losses:
            losses = compute(model, batch, step, *rest)
            bad = sum((torch.as_tensor(step) == one).float() for one in steps)
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.add_(torch.where(torch.as_tensor(bad) > 0, math.nan, 0.0))
            return losses

        monkeypatch.setattr(loop, "compute_gradients", spoilt)

    return at


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def weights(run: Path, step: int) -> dict[str, Tensor]:
    return load_file(run / f"checkpoints/{step:08d}/weights.safetensors")


def test_a_skipped_step_is_counted_and_named(train_tiny: TrainTiny, tmp_path: Path, spoil: Callable[..., None]) -> None:
    notes: list[str] = []
    spoil(0, 7, 8)
    train_tiny(tmp_path / "run", *SKIPPING, note=notes.append)
    assert [note for note in notes if "skipped" in note] == [
        "skipped 1 step, the last 0: no finite gradient",
        "skipped 1 step, the last 7: no finite gradient",
        "skipped 1 step, the last 8: no finite gradient",
    ]
    logged = lines(tmp_path / "run")
    assert [line["skipped_steps"] for line in logged] == [1 if step in (0, 7, 8) else 0 for step in range(12)]
    assert all(("loss" in line) != line["skipped_steps"] for line in logged)
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run", 12).values())


def test_it_is_as_if_there_had_been_no_such_step(
    train_tiny: TrainTiny, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    """Weights after steps 0 to 6 and two that are left out are those after steps 0 to 6."""
    train_tiny(tmp_path / "short", *SKIPPING, "schedule.kind=constant", "schedule.total_steps=7")
    spoil(7, 8)
    train_tiny(tmp_path / "long", *SKIPPING, "schedule.kind=constant", "schedule.total_steps=9")
    short, long = weights(tmp_path / "short", 7), weights(tmp_path / "long", 9)
    assert all(long[name].equal(tensor) for name, tensor in short.items())


def test_a_run_that_skips_goes_on_bit_for_bit(
    train_tiny: TrainTiny, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    """Also from a checkpoint before which not a single step was taken."""
    spoil(0, 1, 5)
    every = ("training.save_every_steps=2",)

    def stop_at_2(what: str, done: int, *_: object) -> None:
        if (what, done) == ("train", 2):
            raise KeyboardInterrupt

    train_tiny(tmp_path / "whole", *SKIPPING, *every)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "parts", *SKIPPING, *every, progress=stop_at_2)
    train_tiny(tmp_path / "parts", *SKIPPING, *every, resume=True)
    whole, parts = weights(tmp_path / "whole", 12), weights(tmp_path / "parts", 12)
    assert all(parts[name].equal(tensor) for name, tensor in whole.items())


class ByHand:
    """Keeps a recorded step's operations and carries them out again."""

    def warm_up(self, operations: Callable[[], None]) -> None:
        operations()

    def record(self, operations: Callable[[], None]) -> None:
        self.replay = operations


def test_a_recorded_step_skips_what_a_plain_one_does(
    train_tiny: TrainTiny, tmp_path: Path, spoil: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(0, 5, 6)
    train_tiny(tmp_path / "plain", *SKIPPING)

    def choose(move: Any, config: Any, detector: object, optimizer: Any, *_: object) -> RecordedStep:
        optimizer.keep_time_on_device(skipping=config.optim.skip_nonfinite)
        return RecordedStep(move, optimizer, ByHand())  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "choose_step", choose)
    train_tiny(tmp_path / "recorded", *SKIPPING)
    assert [line["skipped_steps"] for line in lines(tmp_path / "recorded")] == [
        line["skipped_steps"] for line in lines(tmp_path / "plain")
    ]
    plain, recorded = weights(tmp_path / "plain", 12), weights(tmp_path / "recorded", 12)
    assert max(float((recorded[name] - one).norm() / one.norm()) for name, one in plain.items()) < 1e-3


@pytest.mark.parametrize("amsgrad", [True, False])
def test_on_the_device_a_step_that_is_left_out_changes_no_bit(amsgrad: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(3, 4, generator=draw).requires_grad_(), torch.randn(5, generator=draw).requires_grad_()]
    optimizer = StableAdamW(tensors, lr=1e-2, weight_decay=0.1, amsgrad=amsgrad)
    optimizer.keep_time_on_device(skipping=True)

    def step(spoilt: bool) -> None:
        for tensor in tensors:
            tensor.grad = torch.full_like(tensor, math.nan) if spoilt else torch.randn(tensor.shape, generator=draw)
        optimizer.tell_rates()
        assert optimizer.tell_norm(torch.stack([tensor.grad.norm() for tensor in tensors]).norm())
        optimizer.step()

    def everything() -> Iterator[Tensor]:
        state = optimizer.state_dict()["state"]
        yield from (tensor.detach().clone() for tensor in tensors)
        yield from (torch.as_tensor(value).clone() for one in state.values() for value in one.values())

    for spoilt_first in (True, False):
        before = list(everything())
        step(spoilt=spoilt_first)
        assert all(a.equal(b) for a, b in zip(before, everything(), strict=True)) == spoilt_first
        before = list(everything())
        step(spoilt=True)
        assert all(a.equal(b) for a, b in zip(before, everything(), strict=True))


def test_a_hundred_in_a_row_are_no_accident(tmp_path: Path) -> None:
    notes: list[str] = []
    log = RunLog(tmp_path, 0, launch("32-true", device="cpu"), skipped=notes.append)

    def add(step: int, norm: float) -> None:
        loss = torch.tensor(norm)
        log.add(step, 1e-3, Losses(total=loss, terms={"cosine_group_0": loss}), loss)

    for step in range(MOST_SKIPPED - 1):
        add(step, math.inf)
    assert log.flush() is None
    add(MOST_SKIPPED, 1.0)
    assert log.flush() == 1.0
    for step in range(MOST_SKIPPED):
        add(200 + step, math.nan)
    with pytest.raises(TrainingError, match=r"finite in one of 100 steps in a row, got none up to step 299"):
        log.flush()
    assert notes == [f"skipped {n} steps, the last {last}: no finite gradient" for n, last in ((99, 98), (100, 299))]


def test_a_loss_that_is_not_finite_under_a_gradient_that_is_stops(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, launch("32-true", device="cpu"), skipped=print)
    nan, one = torch.tensor(math.nan), torch.tensor(1.0)
    log.add(4, 1e-3, Losses(total=nan, terms={"cosine_group_0": nan}), one)
    with pytest.raises(TrainingError, match="cosine_group_0 must be finite, got nan at step 4"):
        log.flush()
