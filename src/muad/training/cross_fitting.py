"""K-fold cross-fitting: every good photograph of a run is scored by a detector that has not seen it.

The photographs a run was trained on are dealt into K folds, those that show the same picture or object into one. For
each fold a detector is trained like the run's, without it, and scores it. `calibration_scores` says what is promised of
limits from those scores, and what is assumed.

    RUN/cross_fit/5-0123abcd/            of 5 folds, for the weights with this digest
        folds.json                       which photographs are in which fold, and which show the same
        fold_1/                          a run of its own: it is trained, stopped and resumed like any other
        fold_1.json                      its scores, once they are there

Interrupted, it goes on where it stopped. Once limits are set the folder may be deleted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from muad.calibration.calibrate import weights_digest
from muad.calibration.image_scoring import count_once, score_images
from muad.calibration.share import first_name
from muad.checkpoints.checkpoint import read_config
from muad.configuration.run_config import config_to_toml
from muad.datasets.alike import alike_groups
from muad.datasets.content_hash import relative_name
from muad.datasets.index import open_catalog
from muad.decisions.calibration_scores import Scored
from muad.errors import CheckpointError, ConfigError, DataError
from muad.recognition.products import FACTS_FILE, TENSORS_FILE
from muad.runs.folder import read_run, write_text
from muad.runs.images import file_digest, read_run_images
from muad.runtime.predictor import Predictor
from muad.training.run import train
from muad.wording import counted

if TYPE_CHECKING:
    from muad.acceleration import Acceleration
    from muad.types import Record

Notice = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]
FOLDER = "cross_fit"
_LEAST_FOLDS = 2


def cross_fit(
    run: str | Path,
    folds: int = 5,
    *,
    device: str = "auto",
    encoder_weights: str | Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    progress: Progress = lambda *_: None,
    note: Notice = lambda _: None,
) -> dict[str, Scored]:
    """Scores of a run's training images by detectors that had not seen them, to be given to `calibrate`.

    Args:
        run: Run folder, trained to its end.
        folds: Detectors to train; each sees all but one in this many of the training images.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; those of later predictions.
        batch_size: Images per forward pass.
        progress: Called with what is being done, how much is done and how much there is, and a loss or None.
        note: Called with sentences the user should see.

    Returns:
        By category; one with all its images in one group is not in it.

    Raises:
        ConfigError: Fewer than two folds.
        DataError: The training images are not where they were and as they were, or there are too few.
        CheckpointError: The run is not finished, does not remember its images, or cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is saved, and the next call goes on there.
    """
    run = Path(run)
    if folds < _LEAST_FOLDS:
        raise ConfigError(f"folds must be at least {_LEAST_FOLDS}, got {folds}.")
    if not read_run(run).get("finished"):
        raise CheckpointError(f"run must be trained to its end to be cross-fitted, got {run}. Train it with --resume.")
    records, root = _training_records(run)
    folder = run / FOLDER / f"{folds}-{weights_digest(run)[:8]}"
    names = {relative_name(record.path, root): record for record in records}
    dealt, alike = _deal(folder, names, folds, root, progress)
    used = max(fold for own in dealt.values() for fold in own.values()) + 1
    if not all((folder / f"fold_{fold + 1}.json").is_file() for fold in range(used)):
        note(_cost(run, used, folder))
    figures: dict[str, dict[Path, tuple[float, float]]] = {category: {} for category in dealt}
    for fold in range(used):
        stored = folder / f"fold_{fold + 1}.json"
        if not stored.is_file():
            news = partial(_labelled, progress, f"(fold {fold + 1} of {used})")
            held = {category: [n for n, own in fold_of.items() if own == fold] for category, fold_of in dealt.items()}
            trained = [record for name, record in names.items() if dealt.get(record.category, {}).get(name) != fold]
            detector = folder / f"fold_{fold + 1}"
            _train(run, detector, trained, device, encoder_weights, news, note if fold == 0 else _unheard)
            predictor = Predictor(
                detector, device=device, encoder_weights=encoder_weights, acceleration=acceleration, note=_unheard
            )
            paths = {category: [names[name].path for name in own] for category, own in held.items() if own}
            found = score_images(predictor, paths, batch_size, partial(_scoring, news), note)
            _store(stored, found, root)
        for category, own in json.loads(stored.read_text(encoding="utf-8")).items():
            figures[category] |= {names[name].path: (score, peak) for name, (score, peak) in own.items()}
    paths_alike = {
        category: [[names[name].path for name in group] for group in groups] for category, groups in alike.items()
    }
    source = f"training images of {root}, cross-fitted"
    return count_once(figures, paths_alike, root, source, note=note, folds=used)


def _training_records(run: Path) -> tuple[list[Record], Path]:
    """The images the run was trained on, and the folder or manifest of their names.

    Raises:
        CheckpointError: It does not remember them.
        DataError: Some are gone or changed.
    """
    known = read_run_images(run)
    if known is None:
        raise CheckpointError(f"run must remember its training images, got {run} without images.json. Train it again.")
    digests = {_whole(known.base / name): digest for own in known.training.values() for name, digest in own.items()}
    catalog = open_catalog(known.data, known.layout, for_training=False)
    records = [record for record in catalog.records if _whole(record.path) in digests]
    found = {_whole(record.path) for record in records}
    changed = [path for path, digest in digests.items() if path not in found or file_digest(Path(path)) != digest]
    if changed:
        raise DataError(
            f"training images must be where they were and as they were, got {len(changed)} that are not, such as "
            f"{changed[0]} of {known.data}. Restore them: the fold detectors are trained on them."
        )
    return records, catalog.root


def _whole(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _deal(
    folder: Path, names: Mapping[str, Record], folds: int, root: Path, progress: Progress
) -> tuple[dict[str, dict[str, int]], dict[str, list[list[str]]]]:
    """The fold of every image, and those that show the same, by category; as it was dealt before, if it was.

    Raises:
        DataError: No category has images of two different things.
        CheckpointError: What was dealt cannot be read, or not be written.
    """
    path = folder / "folds.json"
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return dict(known["folds"]), dict(known["alike"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"folds.json must be readable, got {path} ({error!r}). Delete {folder}.") from None
    groups = alike_groups(list(names.values()), lambda done, total: progress("compare", done, total, None))
    dealt = {category: deal(own, folds, root) for category, own in groups.items() if len(own) > 1}
    if not dealt:
        raise DataError("training images must show at least two different things of a category to be cross-fitted.")
    alike = {
        category: [[relative_name(record.path, root) for record in group] for group in own if len(group) > 1]
        for category, own in groups.items()
    }
    _make(folder)
    write_text(path, json.dumps({"folds": dealt, "alike": alike}, indent=1) + "\n")
    return dealt, alike


def deal(groups: Iterable[Sequence[Record]], folds: int, root: Path) -> dict[str, int]:
    """The fold of every image by name: whole groups, in the order of their first names' hash, to the emptiest fold.

    Args:
        groups: Images that belong together.
        folds: How many folds; of fewer groups each is a fold.
        root: Folder of the names.
    """
    sizes = [0] * folds
    found: dict[str, int] = {}
    for group in sorted(groups, key=lambda group: first_name(group, root)):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(group)
        found |= {relative_name(record.path, root): fold for record in group}
    return found


def _cost(run: Path, folds: int, folder: Path) -> str:
    """What it will take, from what the run itself took."""
    steps = seconds = 0.0
    for log in (run / "metrics.jsonl", *sorted(run.glob("categories/*/metrics.jsonl"))):
        if log.is_file():
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
            taken = sorted(line["seconds_per_step"] for line in lines if "seconds_per_step" in line)
            if taken:
                steps += lines[-1]["step"] + 1
                seconds += taken[len(taken) // 2] * (lines[-1]["step"] + 1)
    if not steps:
        return f"cross-fitting trains {folds} detectors like this one, each without a part of its images"
    whole = folds * seconds
    shown = f"{whole / 3600:.1f} hours" if whole > 5400 else counted(max(1, round(whole / 60)), "minute")
    return (
        f"cross-fitting trains {folds} more detectors of {steps:.0f} steps, about {shown} at the speed of this run; "
        f"interrupted, it goes on where it stopped ({folder})"
    )


def _train(
    run: Path,
    out: Path,
    records: Sequence[Record],
    device: str,
    encoder_weights: str | Path | None,
    progress: Progress,
    note: Notice,
) -> None:
    """Train a detector like the run's, on some of its images."""
    _make(out)
    manifest, recipe = out.with_suffix(".jsonl"), out.with_suffix(".toml")
    rows = [
        {"path": str(record.path.absolute()), "category": record.category, "label": "good", "split": "train"}
        for record in records
    ]
    write_text(manifest, "".join(json.dumps(row) + "\n" for row in rows))
    weights = None if encoder_weights is None else Path(encoder_weights)
    write_text(recipe, config_to_toml(read_config(run, weights)))
    for name in (TENSORS_FILE, FACTS_FILE):  # what is known of products does not depend on the fold
        if (run / name).is_file():
            shutil.copyfile(run / name, out / name)
    train(
        manifest,
        out,
        recipe=recipe,
        overrides=["training.calibration_share=0", "training.shots=0", "training.skip_bad=true"],
        device=device,
        resume=True,
        progress=progress,
        note=note,
    )


def _store(path: Path, found: Mapping[str, Mapping[Path, tuple[float, float]]], root: Path) -> None:
    rows = {
        category: {relative_name(path, root): pair for path, pair in own.items()} for category, own in found.items()
    }
    write_text(path, json.dumps(rows, indent=1) + "\n")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"run folder must be writable, got {folder} ({error}). Free disk space.") from None


def _scoring(progress: Progress, done: int, total: int) -> None:
    progress("score", done, total, None)


def _labelled(progress: Progress, label: str, what: str, done: int, total: int, loss: float | None) -> None:
    progress(f"{what} {label}", done, total, loss)


def _unheard(_: str) -> None:
    """Sentences that were said of the run itself already."""
