"""The weights of a run on disk, and how to have the detector back. What else is in its folder: `run_folder`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from muad.configuration.run_config import RunConfig, config_to_dict, config_to_toml, load_config, parse_config
from muad.detectors import detector_class
from muad.encoders.tensors import read_whole_tensors, write_tensors
from muad.errors import CheckpointError, ConfigError
from muad.runs.folder import (
    DRAFT,
    FORMAT_VERSION,
    ROI_FOLDER,
    Checkpoint,
    checkpoints,
    flush_to_disk,
    read_run,
    write_text,
)
from muad.runs.schema import CheckpointState, read_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from muad.detectors.base import Detector, LearningDetector

_KEEP = 2  # the newest checkpoint and the one before it
_FALL_BACK = "Delete its folder to use the checkpoint before it."


def create_run(run_dir: Path, config: RunConfig, facts: Mapping[str, Any]) -> None:
    """Write `config.toml` and `run.json` of a new run.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"run folder must be writable, got {run_dir} ({error}). Name another.") from None
    write_text(run_dir / "config.toml", config_to_toml(config))
    # Last, because a folder that has it is a run.
    write_text(run_dir / "run.json", json.dumps({"format_version": FORMAT_VERSION, **facts}, indent=2) + "\n")


def read_config(run_dir: Path, encoder_weights: Path | None = None) -> RunConfig:
    """The configuration of a run, with the files that lie in its folder, and the encoder's replaced if one is given.

    Raises:
        CheckpointError: No run there.
        ConfigError: The file of an encoder for a detector without one.
    """
    read_run(run_dir)
    config = load_config(run_dir / "config.toml")
    if encoder_weights is not None and len(config.encoders) != 1:
        has = "several, each with its own" if config.encoders else "no encoder"
        raise ConfigError(
            f"encoder weights must be left out for {config.detector.name}, which has {has}, got {encoder_weights}."
        )
    values = config_to_dict(config)
    tables = [values["detector"].get("encoder"), *values["detector"].get("encoders", ())]
    for table in tables:
        if isinstance(table, dict) and (encoder_weights is not None or "weights" in table):
            weights = encoder_weights or Path(table["weights"])
            own = run_dir / weights.name  # wherever the run folder, with the encoder in it, was moved or copied to
            table["weights"] = str(own if encoder_weights is None and own.is_file() else weights)
    if config.images.roi_dir is not None and (run_dir / ROI_FOLDER).is_dir():
        values["images"]["roi_dir"] = str(run_dir / ROI_FOLDER)
    return config if values == config_to_dict(config) else parse_config(values)


def save_checkpoint(
    run_dir: Path,
    step: int,
    detector: Detector,
    optimizer: torch.optim.Optimizer | None,
    average: Mapping[str, Tensor] | None = None,
) -> None:
    """Save trainable tensors after `step` steps, with the optimizer's state unless the run is finished.

    Args:
        run_dir: Run folder.
        step: Optimizer steps taken.
        detector: Its tensors are what the optimizer moves.
        optimizer: None for a finished run.
        average: The running mean of the tensors, if there is one: what predicts.

    Raises:
        CheckpointError: The disk is full or the folder not writable; earlier checkpoints stay.
    """
    place = run_dir / "checkpoints" / f"{step:08d}"
    draft = place.with_name(place.name + DRAFT)
    for left_by_a_crash in place.parent.glob(f"*{DRAFT}"):
        shutil.rmtree(left_by_a_crash, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        latest = detector.trainable_state()
        parts: dict[str, Mapping[str, Tensor]] = {"weights.safetensors": latest if average is None else average}
        if average is not None and optimizer is not None:
            parts["latest.safetensors"] = latest
        state: dict[str, Any] = {"step": step, "fingerprint": detector.fingerprint}
        if optimizer is not None:
            parts["optimizer.safetensors"], state["optimizer"] = _split_optimizer(optimizer)
        state["digests"] = {name: write_tensors(tensors, draft / name) for name, tensors in parts.items()}
        (draft / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
        for file in draft.iterdir():
            flush_to_disk(file)
        draft.rename(place)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        last = checkpoints(run_dir)
        kept = f"The checkpoint of step {last[-1].step} is intact" if last else "No earlier checkpoint exists"
        raise CheckpointError(
            f"checkpoint of step {step} must be written to {run_dir}, got {error}. "
            f"{kept}; free disk space and continue with --resume."
        ) from None
    for old in checkpoints(run_dir)[:-_KEEP]:
        # Renamed first: half of a deleted checkpoint must not look like a whole one.
        with suppress(OSError):
            shutil.rmtree(old.folder.rename(old.folder.with_name(old.folder.name + DRAFT)))


def load_weights(checkpoint: Checkpoint, detector: Detector) -> None:
    """Copy saved tensors into a detector.

    Raises:
        CheckpointError: Unreadable file, another encoder, or tensors that do not fit; they are listed.
    """
    state = _read_state(checkpoint)
    if state.fingerprint != detector.fingerprint:
        raise CheckpointError(
            f"encoder weights must be those the run was trained with ({state.fingerprint[:12]}), "
            f"got {detector.fingerprint[:12]}. Pass the original file as the encoder weights."
        )
    saved = _read_tensors(checkpoint, state, "weights.safetensors")
    detector.make_room({name: tensor.shape for name, tensor in saved.items()})
    copy_tensors(saved, detector.trainable_state())


def load_latest(checkpoint: Checkpoint, detector: Detector) -> None:
    """Copy the tensors the optimizer moved into a detector, where `load_weights` takes their running mean.

    Raises:
        CheckpointError: Unreadable or missing file, or tensors that do not fit; they are listed.
    """
    copy_tensors(_read_tensors(checkpoint, _read_state(checkpoint), "latest.safetensors"), detector.trainable_state())


def load_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer the state it had when the checkpoint was saved.

    Raises:
        CheckpointError: The checkpoint is of a finished run or cannot be read.
    """
    path = checkpoint.folder / "optimizer.safetensors"
    if not path.is_file():
        raise CheckpointError(f"checkpoint must hold the optimizer's state to resume, got {checkpoint.folder}.")
    saved = _read_state(checkpoint)
    if saved.optimizer is None:
        raise CheckpointError(f"state.json must hold 'optimizer', got {checkpoint.folder} without it. {_FALL_BACK}")
    try:
        state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in saved.optimizer.items()}
    except ValueError:
        raise CheckpointError(
            f"state.json: optimizer must have a number for each parameter, got other keys in {checkpoint.folder}. "
            f"{_FALL_BACK}"
        ) from None
    for key, tensor in _read_tensors(checkpoint, saved, path.name).items():
        index, _, name = key.partition(".")
        # A copy: what is read is a view of the file, which is going to be deleted.
        state.setdefault(int(index), {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_detector(run_dir: Path, encoder_weights: Path | None = None) -> LearningDetector:
    """The trained detector of a multi-category run (or of one category's folder), on the CPU.

    Args:
        run_dir: Folder written by training.
        encoder_weights: Where the encoder's file lies now, if it is not where it was at training.

    Raises:
        CheckpointError: No usable run or checkpoint there, or other encoder weights.
    """
    config = read_config(run_dir, encoder_weights)
    found = checkpoints(run_dir)
    if not found:
        raise CheckpointError(f"run must hold a checkpoint, got {run_dir} without one. Train it, or --resume it.")
    detector = build_detector(config)
    load_weights(found[-1], detector)
    return detector


def build_detector(config: RunConfig) -> LearningDetector:
    """An untrained detector; its initial weights come from torch's global generator.

    Raises:
        ConfigError: The detector does not take two senses, and the images have them.
    """
    kind = detector_class(config.detector.name)
    if len(config.images.senses) > 1 and not kind.joins_senses:
        raise ConfigError(
            f"images.senses must be one sense for the detector {config.detector.name}, got "
            f"{list(config.images.senses)}. Take one of them, or a detector that joins two: dinomaly or patchcore."
        )
    detector = kind(config.detector)
    detector.preprocessing = config.images.applied_to(detector.preprocessing)
    return detector


def copy_tensors(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy tensors by name into equally named ones of the same shape.

    Raises:
        CheckpointError: Lists every tensor that is missing, unexpected, or of another shape.
    """
    faults = [f"{name} missing" for name in target if name not in source]
    faults += [f"{name} unexpected" for name in source if name not in target]
    faults += [
        f"{name} {tuple(source[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in target.items()
        if name in source and source[name].shape != tensor.shape
    ]
    if faults:
        raise CheckpointError(f"weights must fit the detector, got {len(faults)} that do not: {', '.join(faults)}.")
    for name, tensor in target.items():
        tensor.copy_(source[name])


def _split_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[int, dict[str, float]]]:
    """Tensors as `index.name` for safetensors, plain numbers for JSON."""
    tensors, numbers = {}, {}
    for index, entries in optimizer.state_dict()["state"].items():
        numbers[index] = {name: value for name, value in entries.items() if isinstance(value, (int, float))}
        for name, value in entries.items():
            if name not in numbers[index]:
                tensors[f"{index}.{name}"] = value.detach().contiguous().cpu()
    return tensors, numbers


def _read_state(checkpoint: Checkpoint) -> CheckpointState:
    path = checkpoint.folder / "state.json"
    state, _ = read_json(path, CheckpointState, _FALL_BACK)
    if state.step != checkpoint.step:
        raise CheckpointError(
            f"state.json: step must be that of its folder, {checkpoint.step}, got {state.step}, in {path}. {_FALL_BACK}"
        )
    return state


def _read_tensors(checkpoint: Checkpoint, state: CheckpointState, name: str) -> dict[str, Tensor]:
    return read_whole_tensors(checkpoint.folder / name, state.digests.get(name), _FALL_BACK)
