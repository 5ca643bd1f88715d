"""Run folders: what lies where, what a run says of itself, and how its files are written.

    RUN/run.json              the manifest: format version, categories, data and their hash, preprocessing, encoder and
                              its licence, versions, git state, device, seed
    RUN/config.toml           the resolved configuration; a recipe in its own right
    RUN/metrics.jsonl         one line per logged step
    RUN/evaluation.json, .csv figures, and the score of every image, once the run was evaluated
    RUN/products.toml, products.safetensors, naming.json
                              what it recognises products by, and how often the evaluated ones were named rightly
    RUN/images.json           which images it was trained on, and which it kept for calibration (`run_images`)
    RUN/limits.toml, calibration.json
                              limits, to be edited by hand, and the scores they come from (`limits`)
    RUN/checkpoints/00000500/ weights.safetensors, state.json (step, encoder fingerprint, a digest of each file) and,
                              until the run is finished, optimizer.safetensors; with training.ema_decay the weights are
                              the running mean, and those the optimizer moves are in latest.safetensors
    RUN/history.json, data.jsonl
                              what became of it after its training, and the images of a run that was extended
    RUN/roi/                  a region of interest for each category, if there are any
    RUN/categories/NAME/      in per_category mode: one such folder each

Everything is written beside its place and renamed into it, so a crash at any moment leaves the last good state.
Only tensors and JSON: nothing in a run folder can execute code.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from muad.errors import CheckpointError, ConfigError
from muad.file_names import first_clash, name_fault
from muad.images.settings import ImagesConfig
from muad.runs.faults import explain
from muad.runs.schema import RunFacts, check, parse_json

FORMAT_VERSION = 2
ROI_FOLDER = "roi"
CATEGORIES_FOLDER = "categories"
DRAFT = ".partial"
"""Ends the name of what is not yet whole."""
_READABLE = (1, 2)  # version 1 says nothing of data hash, preprocessing and encoder
_RESTORE = "Restore it or train again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights of one step on disk.

    Attributes:
        folder: Where its files lie.
        step: Optimizer steps taken.
    """

    folder: Path
    step: int


def usable_folder(run_dir: Path) -> Path:
    """The folder, if a run can be in it.

    Raises:
        CheckpointError: A file is in its place, or its name is too long for the disk or cannot be looked at.
    """
    try:
        is_taken = run_dir.exists() and not run_dir.is_dir()
    except OSError as error:
        raise CheckpointError(f"run folder must have a usable name, got {error.strerror}: {run_dir}.") from None
    if is_taken:
        raise CheckpointError(f"run folder must be a folder, got {run_dir}, which is a file. Name another.")
    return run_dir


def read_run(run_dir: Path) -> dict[str, Any]:
    """The facts in `run.json`.

    Raises:
        CheckpointError: No run folder, or one of another format.
    """
    path = usable_folder(run_dir) / "run.json"
    if not path.is_file():
        raise CheckpointError(
            f"run must be a folder written by `muad train`, got {run_dir}, which has no run.json. Where a bundle will "
            "do, name the file that `muad export` wrote."
        )
    facts = parse_json(path, _RESTORE)
    version = facts.get("format_version")
    if version is None:
        raise CheckpointError(f"run.json must be readable, got {path} without 'format_version'. {_RESTORE}")
    if version not in _READABLE or type(version) is not int:
        raise CheckpointError(
            f"run folder must have format version {' or '.join(map(str, _READABLE))}, got {version} in {run_dir}. "
            f"Use the release of muad that wrote it ({facts.get('muad', 'unknown')}) or a newer one, or train again."
        )
    check(path, facts, RunFacts, _RESTORE)
    return facts


def settings_text(run_dir: Path) -> str:
    """`config.toml` as it stands there.

    Raises:
        CheckpointError: No run there, or its file cannot be read.
    """
    path = run_dir / "config.toml"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"config.toml must be readable, got {path} ({error}). {_RESTORE}") from None


def read_settings(run_dir: Path) -> dict[str, Any]:
    """The tables of `config.toml` as they stand there, for those who only tell of a run and need no detector.

    Raises:
        CheckpointError: No run there, or its file cannot be read.
    """
    try:
        return tomllib.loads(settings_text(run_dir))
    except tomllib.TOMLDecodeError as error:
        path = run_dir / "config.toml"
        raise CheckpointError(f"config.toml must be readable, got {path} ({error}). {_RESTORE}") from None


def read_images_config(run_dir: Path) -> ImagesConfig:
    """How a run prepares photographs, with the regions of interest that lie in its folder.

    Raises:
        CheckpointError: No run there, or its file cannot be read.
        ConfigError: The table `[images]` holds what it must not.
    """
    table = dict(read_settings(run_dir).get("images", {}))
    if table.get("roi_dir") is not None and (run_dir / ROI_FOLDER).is_dir():
        table["roi_dir"] = str(run_dir / ROI_FOLDER)
    try:
        # As JSON, because only there a strict check takes lists for tuples and text for paths.
        return TypeAdapter(ImagesConfig).validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, ImagesConfig)) from None


def unfinished(run_dir: Path) -> str | None:
    """A sentence that says how far the training of a run came and how it goes on; None for a finished one.

    Raises:
        CheckpointError: No run there.
    """
    facts = read_run(run_dir)
    if facts.get("finished"):
        return None
    total = read_settings(run_dir).get("schedule", {}).get("total_steps", "?")
    per_category = facts["mode"] == "per_category"
    folders = {name: category_folder(run_dir, name) for name in facts["categories"]} if per_category else {"": run_dir}
    done = {name: found[-1].step if (found := checkpoints(folder)) else 0 for name, folder in folders.items()}
    steps = ", ".join(f"{name} {step}".strip() for name, step in done.items())
    return (
        f"training is not finished: step {steps} of {total} is used, so scores will change. "
        f"Go on with: muad train {facts.get('data', 'DATA')} --out {run_dir} --resume"
    )


def category_folder(run_dir: Path, category: str) -> Path:
    """Folder of one category's detector in a `per_category` run.

    Raises:
        CheckpointError: The category's name cannot be a folder's name.
    """
    if not category or category in (".", "..") or any(sign in category for sign in '/\\:*?"<>|'):
        raise CheckpointError(f"category must be usable as a folder name in per_category mode, got {category!r}.")
    return run_dir / CATEGORIES_FOLDER / category


def category_folders(run_dir: Path, categories: Iterable[str]) -> dict[str, Path]:
    """The folders of a `per_category` run that is about to be trained.

    Raises:
        CheckpointError: A category's name cannot be a folder's name, or two are one on Windows and macOS.
    """
    names = list(categories)
    for name in names:
        if (fault := name_fault(name)) is not None:
            raise CheckpointError(
                f"category must be usable as a folder name in per_category mode, got {name!r}: {fault}. Rename it."
            )
    if (clash := first_clash(names)) is not None:
        raise CheckpointError(
            f"categories must differ by more than case in per_category mode, got {clash[0]!r} and {clash[1]!r}: their "
            "folders would be one on Windows and macOS. Rename one."
        )
    return {name: category_folder(run_dir, name) for name in names}


def checkpoints(run_dir: Path) -> list[Checkpoint]:
    """Complete checkpoints, oldest first."""
    folder = run_dir / "checkpoints"
    steps = [entry for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
    return [
        Checkpoint(folder=entry, step=int(entry.name)) for entry in sorted(steps, key=lambda entry: int(entry.name))
    ]


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        CheckpointError: It cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"output folder must be writable, got {folder} ({error}). Name another.") from None
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either the old one or the new one, never half of it.

    Raises:
        CheckpointError: The disk is full or the folder not writable; the old file stays.
    """
    draft = path.with_name(path.name + DRAFT)
    try:
        draft.write_text(text, encoding="utf-8")
        flush_to_disk(draft)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path.name} must be writable, got {path} ({error}). Free disk space or name another folder."
        ) from None


def flush_to_disk(path: Path) -> None:
    """Wait until a file is on the disk, whatever happens to the machine then."""
    with path.open("rb+") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())
