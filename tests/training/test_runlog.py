"""metrics.jsonl, TensorBoard events, and the stop when numbers are no longer finite."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from muad.cli.main import run as command_line
from muad.detectors.types import Losses
from muad.errors import CheckpointError
from muad.training.engine import launch
from muad.training.runlog import RunLog, TrainingError

TrainTiny = Callable[..., object]


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path, 0, launch("32-true", device="cpu"))


def add(log: RunLog, step: int, first: float, second: float, norm: float = 1.0) -> None:
    terms = {"cosine_group_0": torch.tensor(first), "cosine_group_1": torch.tensor(second)}
    total = torch.tensor((first + second) / 2)
    log.add(step, 1e-3, Losses(total=total, terms=terms), torch.tensor(norm))


def test_a_line_is_the_mean_of_the_steps_since_the_last(log: RunLog) -> None:
    add(log, 0, 1.0, 2.0)
    add(log, 1, 3.0, 4.0, norm=3.0)
    assert log.flush() == pytest.approx(2.5)
    assert log.flush() is None
    (line,) = (json.loads(text) for text in log.path.read_text(encoding="utf-8").splitlines())
    assert line.pop("seconds_per_step") >= 0
    assert line == {
        "step": 1,
        "cosine_group_0": 2.0,
        "cosine_group_1": 3.0,
        "loss": 2.5,
        "gradient_norm": 2.0,
        "learning_rate": 1e-3,
    }


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((1.0, math.nan), r"cosine_group_1 must be finite, got nan at step 7"),
        ((math.inf, 1.0), r"cosine_group_0 must be finite, got inf at step 7"),
        ((1.0, 1.0, math.inf), r"gradient_norm must be finite, got inf at step 7"),
    ],
)
def test_the_stop_names_the_term_and_the_first_step(log: RunLog, values: tuple[float, ...], named: str) -> None:
    add(log, 6, 1.0, 1.0)
    add(log, 7, *values)
    add(log, 8, math.nan, math.nan)
    with pytest.raises(TrainingError, match=named):
        log.flush()
    assert not log.path.exists()


def test_a_log_that_cannot_be_written_is_a_users_fault(log: RunLog) -> None:
    log.path.mkdir()
    add(log, 0, 1.0, 1.0)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl must be writable"):
        log.flush()


def test_nothing_touched_by_a_loss_that_is_not_finite_is_saved(
    tiny_recipe: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A learning rate that blows the weights up: the command ends with code 2 and a line that says where."""
    arguments = ["muad", "train", str(photos), "--out", str(tmp_path / "run"), "--recipe", str(tiny_recipe)]
    settings = ["optim.lr=100", "optim.weight_decay=100", "schedule.kind=constant", "schedule.warmup_steps=0"]
    settings += ["schedule.total_steps=40", "training.save_every_steps=1"]
    arguments += ["--device", "cpu", *(part for setting in settings for part in ("--set", setting))]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        command_line()
    assert ended.value.code == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error:"))
    found = re.search(r"must be finite, got (?:nan|inf) at step (\d+)\. Continue from the last checkpoint", line)
    assert found is not None, line
    newest = max(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert int(newest) == int(found[1]), "what the step before left is the last that is saved"
    assert len((tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()) == int(found[1])


def test_tensorboard_events_hold_what_metrics_jsonl_holds(train_tiny: TrainTiny, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_tiny(tmp_path / "run", "training.tensorboard=true", "schedule.total_steps=4")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(events.Tags()["scalars"]) == set(lines[0]) - {"step"}
    for tag in ("loss", "learning_rate", "gradient_norm"):
        logged = [(event.step, event.value) for event in events.Scalars(tag)]
        assert logged == [(line["step"], pytest.approx(line[tag], rel=1e-6)) for line in lines]


def test_without_the_option_there_are_no_events(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", "schedule.total_steps=2")
    assert not (tmp_path / "run/tensorboard").exists()
