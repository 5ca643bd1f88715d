"""Where curves go beside `metrics.jsonl`: TensorBoard, MLflow, Weights & Biases, each as a logger of Fabric.

Nothing leaves the machine by itself: MLflow writes to `mlflow.db` in the working directory and W&B keeps its run for
later, unless their own environment variables (`MLFLOW_TRACKING_URI`, `WANDB_MODE`) say otherwise.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from lightning_fabric.loggers.logger import Logger

from muad.configuration.recipe_changes import flat_values
from muad.configuration.run_config import config_to_dict
from muad.errors import ConfigError
from muad.runs.folder import write_text

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig, TrainingConfig

Status = Literal["success", "aborted", "failed"]
_PROJECT = "muad"
_PACKAGES = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
_MOST_PARAMETERS = 100  # MLflow takes in one call


def require_loggers(training: TrainingConfig) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        ConfigError: It is not.
    """
    for name, packages in _PACKAGES.items():
        for package in packages:
            if getattr(training, name) and find_spec(package) is None:
                raise ConfigError(
                    f"training.{name} must be false without the package {package}, got true. "
                    f"Run: pip install 'muad[{name}]'"
                )


class Curves:
    """Passes values on to the loggers of a run. One that fails is told of and left out: it never ends a training.

    Args:
        loggers: All of them.
        note: Called with a sentence of what failed.
    """

    def __init__(self, loggers: Sequence[Logger] = (), note: Callable[[str], None] = lambda _: None) -> None:
        self._loggers, self._note = list(loggers), note

    def values(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step, by name."""
        self._each(lambda logger: logger.log_metrics(dict(values), step))

    def close(self, status: Status) -> None:
        """Nothing more comes."""
        self._each(lambda logger: logger.finalize(status))
        self._loggers.clear()

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self._loggers):
            try:
                call(logger)
            except Exception as error:  # noqa: BLE001  servers that are away, full disks, whatever a client raises
                self._loggers.remove(logger)
                self._note(f"{logger.name} takes no more of this run; metrics.jsonl has all of it ({_sentence(error)})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close("success" if kind is None else "aborted" if issubclass(kind, KeyboardInterrupt) else "failed")


def open_curves(config: RunConfig, run_dir: Path, start: int, note: Callable[[str], None]) -> Curves:
    """The loggers a run asks for, as they were left if it is resumed.

    Args:
        config: The whole run.
        run_dir: Where it lies, and what is needed to find the loggers' runs again.
        start: First step that is logged now.
        note: Called with where each can be looked at.

    Raises:
        ConfigError: One cannot be opened.
    """
    makers: dict[str, Callable[[], Logger]] = {
        "tensorboard": lambda: _tensorboard(run_dir, start),
        "mlflow": lambda: MlflowLogger(run_dir),
        "wandb": lambda: WandbLogger(run_dir),
    }
    loggers: list[Logger] = []
    for name, make in makers.items():
        if not getattr(config.training, name):
            continue
        try:
            logger = make()
            if isinstance(logger, (MlflowLogger, WandbLogger)):
                if logger.is_new:
                    logger.log_hyperparams(dict(flat_values(config_to_dict(config))))
                note(logger.where)
        except Exception as error:
            raise ConfigError(
                f"training.{name} must be false or a logger that can be opened, got {_sentence(error)}."
            ) from error
        loggers.append(logger)
    return Curves(loggers, note)


def _tensorboard(run_dir: Path, start: int) -> Logger:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    # What a killed session logged after its last checkpoint is hidden by what this one logs for the same steps.
    return TensorBoardLogger(run_dir, name="tensorboard", version="", default_hp_metric=False, purge_step=start)


class MlflowLogger(Logger):
    """A run of MLflow, found again by `mlflow.json` in the run folder.

    `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` say where it goes; else to `mlflow.db` in the working directory,
    the file that `mlflow ui` opens, and the experiment `muad`.
    """

    def __init__(self, run_dir: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        file = run_dir / "mlflow.json"
        known = _read(file)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').absolute().as_posix()}"
        uri = known.get("tracking_uri", uri)
        self._client, self._name = MlflowClient(tracking_uri=uri), os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        self._run_id, self.is_new = known.get("run_id"), False
        if self._run_id is not None:
            with suppress(MlflowException):  # it was removed there: a new one is begun
                self._client.update_run(self._run_id, status="RUNNING")
                self._name = self._client.get_experiment(self._client.get_run(self._run_id).info.experiment_id).name
                self.where = f"MLflow: goes on with run {self._run_id} in {uri}"
                return
        self.is_new = True
        found = self._client.get_experiment_by_name(self._name)
        experiment = self._client.create_experiment(self._name) if found is None else found.experiment_id
        self._run_id = self._client.create_run(experiment, run_name=_title(run_dir)).info.run_id
        write_text(file, json.dumps({"tracking_uri": uri, "run_id": self._run_id}) + "\n")
        self.where = f"MLflow: run {self._run_id} of experiment {self._name} in {uri}"

    @property
    def name(self) -> str:
        """Of its kind and experiment."""
        return f"MLflow ({self._name})"

    @property
    def version(self) -> str | None:
        """Of the run in MLflow."""
        return self._run_id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values of a step."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run_id, [Metric(name, value, now, step or 0) for name, value in metrics.items()])

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401  as Fabric has it
        """Write settings down."""
        from mlflow.entities import Param

        all_ = [Param(name, str(value)[:6000]) for name, value in params.items()]
        for first in range(0, len(all_), _MOST_PARAMETERS):
            self._client.log_batch(self._run_id, params=all_[first : first + _MOST_PARAMETERS])

    def finalize(self, status: str) -> None:
        """Say how it ended."""
        ended = {"success": "FINISHED", "aborted": "KILLED"}.get(status, "FAILED")
        self._client.set_terminated(self._run_id, status=ended)


class WandbLogger(Logger):
    """A run of Weights & Biases, found again by `wandb.json` in the run folder; what it keeps lies in `wandb/` there.

    `WANDB_MODE`, `WANDB_PROJECT` and the other variables of its own apply; without a mode nothing is sent.
    """

    def __init__(self, run_dir: Path) -> None:
        import wandb

        file = run_dir / "wandb.json"
        known = _read(file).get("id")
        identity, self.is_new = known or secrets.token_hex(4), known is None
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=_title(run_dir),
            id=identity,
            resume="allow",
            dir=str(run_dir),
            mode=mode,
            settings=wandb.Settings(console="off", silent=True),
        )
        write_text(file, json.dumps({"id": identity}) + "\n")
        kept = Path(self._run.dir).parent
        self.where = (
            f"W&B: run {identity}; send it: wandb sync {kept}" if mode == "offline" else f"W&B: {self._run.url}"
        )

    @property
    def name(self) -> str:
        """Of its kind and project."""
        return f"W&B ({self._run.project})"

    @property
    def version(self) -> str:
        """Of the run in W&B."""
        return str(self._run.id)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values of a step."""
        self._run.log(metrics, step=step)

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401  as Fabric has it
        """Write settings down."""
        self._run.config.update(params, allow_val_change=True)

    def finalize(self, status: str) -> None:
        """Say how it ended."""
        self._run.finish(exit_code=0 if status == "success" else 1)


def _title(run_dir: Path) -> str:
    """A name to know the run by: of its folder, and of the category it is of."""
    return f"{run_dir.parents[1].name}/{run_dir.name}" if run_dir.parent.name == "categories" else run_dir.name


def _sentence(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
