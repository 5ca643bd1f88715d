"""TensorBoard, MLflow and W&B get what metrics.jsonl gets, without the network; the same run goes on after a break."""

import json
import logging
import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from muad.errors import ConfigError
from muad.training import loggers
from muad.training.loggers import Curves, Logger

TrainTiny = Callable[..., object]
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="needs pip install 'muad[mlflow]'")
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="needs pip install 'muad[wandb]'")


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_without_its_package_a_logger_is_refused_before_anything_is_written(
    name: str, train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda package: None if package == name else "there")
    said = rf"training\.{name} must be false without the package {name}, got true\. Run: pip install 'muad\[{name}\]'"
    with pytest.raises(ConfigError, match=said):
        train_tiny(tmp_path / "run", f"training.{name}=true")
    assert not (tmp_path / "run").exists()


@needs_mlflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of SQLAlchemy
def test_mlflow_has_settings_and_curves_in_one_run_after_a_break(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    run, told = tmp_path / "run", list[str]()

    def stop(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "train" and done == 2:
            raise KeyboardInterrupt

    changes = ("training.mlflow=true", "schedule.total_steps=4", "training.save_every_steps=1")
    with pytest.raises(KeyboardInterrupt):
        train_tiny(run, *changes, progress=stop, note=told.append)
    database = sqlite3.connect(tmp_path / "mlflow.db")
    assert database.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]
    train_tiny(run, *changes, resume=True, note=told.append)
    (status, name, identity) = database.execute("SELECT status, name, run_uuid FROM runs").fetchone()
    assert (status, name) == ("FINISHED", "run")
    assert json.loads((run / "mlflow.json").read_text(encoding="utf-8"))["run_id"] == identity
    assert [line.split(identity)[0] for line in told if identity in line] == [
        "MLflow: run ",
        "MLflow: goes on with run ",
    ]
    logged = database.execute("SELECT step, value FROM metrics WHERE key = 'loss' ORDER BY step").fetchall()
    assert logged == [(line["step"], pytest.approx(line["loss"])) for line in lines_of(run)]
    settings = dict(database.execute("SELECT key, value FROM params").fetchall())
    assert settings["schedule.total_steps"] == "4"
    assert settings["detector.encoder.name"] == "random-custom"
    database.close()


@needs_wandb
def test_wandb_keeps_one_run_for_later_and_sends_nothing(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    run, told = tmp_path / "run", list[str]()
    train_tiny(run, "training.wandb=true", "schedule.total_steps=2", note=told.append)
    identity = json.loads((run / "wandb.json").read_text(encoding="utf-8"))["id"]
    (kept,) = run.glob(f"wandb/offline-run-*-{identity}")
    (said,) = [line for line in told if line.startswith("W&B")]
    assert said == f"W&B: run {identity}; send it: wandb sync {kept}"
    stored = (kept / f"run-{identity}.wandb").read_bytes()
    assert all(name in stored for name in (b"gradient_norm", b"detector.encoder.name", b"random-custom"))
    (again,) = [loggers.WandbLogger(run)]
    assert (again.version, again.is_new) == (identity, False)
    again.finalize("failed")


class _Failing(Logger):
    name = version = "failing"  # type: ignore[assignment]  # properties there
    ended: str | None = None

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise ConnectionError("server\nis away")

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        pass

    def finalize(self, status: str) -> None:
        self.ended = status


class _Kept(_Failing):
    name = "kept"  # type: ignore[assignment]

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.last = metrics, step


def test_a_logger_that_fails_is_told_of_once_and_ends_nothing() -> None:
    failing, kept, told = _Failing(), _Kept(), list[str]()
    curves = Curves([failing, kept], told.append)
    for step in (1, 2):
        curves.values({"loss": 1.0}, step)
    curves.__exit__(KeyboardInterrupt)
    (said,) = told
    assert said == ("failing takes no more of this run; metrics.jsonl has all of it (ConnectionError: server is away)")
    assert kept.last == ({"loss": 1.0}, 2)
    assert (failing.ended, kept.ended) == (None, "aborted")


def test_a_detector_without_steps_logs_too(photos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from muad import api

    changes = (
        "training.tensorboard=true", "training.cache=off", "detector.name=patchcore",
        "detector.encoder.name=random-vit-tiny", "detector.resize_px=[56, 56]", "detector.crop_px=[56, 56]",
    )  # fmt: skip
    api.train(photos, tmp_path / "run", overrides=changes, device="cpu")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("images")] == [(5, 5), (10, 5)]
    assert all(event.value > 0 for event in events.Scalars("seconds"))
