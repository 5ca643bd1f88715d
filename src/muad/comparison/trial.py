"""One detector with one seed: trained into a run folder, judged, and written down so that it is never done twice.

OUT/trials/<entry>/seed-1/run/           an ordinary run folder: predict with it, export it
trial.json     what was found, or the line that says why nothing was
scores.csv     of every reported image; choice.csv of those set aside to choose by
maps.safetensors  small maps for the page, of the first seed
error.txt      where a failure came from
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from muad.capture.limits import CAPTURE_FILE
from muad.comparison.judging import Judged, judge
from muad.comparison.memory import watch_memory
from muad.configuration.run_config import override
from muad.errors import CheckpointError, DataError, MuadError
from muad.metrics.report import Report
from muad.recognition.products import FACTS_FILE, TENSORS_FILE
from muad.runs.folder import category_folder, make_folder, read_run, write_text
from muad.runs.scores import ImageScore, read_scores, scores_to_csv
from muad.runs.tensor_files import read_whole_arrays, write_arrays
from muad.training.run import train

if TYPE_CHECKING:
    import numpy as np

    from muad.comparison.division import Labelled
    from muad.comparison.entries import Entry, Protocol

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]
_OTHER_WORK = ("compare", "calibrate")  # of `train`, that is not training
_OF_PHOTOGRAPHS = (FACTS_FILE, TENSORS_FILE, CAPTURE_FILE)  # learned from them alone, alike for every detector
_AGAIN = "Remove its folder to have it trained anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is known of one detector with one seed.

    Attributes:
        folder: Where it lies.
        entry: Key of the entry.
        seed: Of its training.
        error: Why there is nothing more, or None.
        report: Figures of the reported images; None with an error, as are the others.
        choice_report: Figures of the images set aside to choose by.
        steps: Of the training; None of one look.
        training_s: Reading, encoding and learning.
        step_s: Median of a step.
        whole_s: From the start until all of it was known.
        image_s: From a photograph in memory to its map, one at a time.
        batched_s: Of the network alone, in batches.
        memory_bytes: Peak of the training; None where the system does not tell.
        disk_bytes: What has to be kept of it, the frozen part included.
        stopped: How many good and defective images there are and how many are above the limit for review.
        scales: By category, see `Judged`.
        map_scale: The run's own, from training images.
        digest: Of the file of maps; None without.
    """

    folder: Path
    entry: str
    seed: int
    error: str | None = None
    report: Report | None = None
    choice_report: Report | None = None
    steps: int | None = None
    training_s: float | None = None
    step_s: float | None = None
    whole_s: float | None = None
    image_s: float | None = None
    batched_s: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    stopped: Mapping[str, int] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    map_scale: tuple[float, float] | None = None
    digest: str | None = None

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.folder / "run"

    def scores(self, *, choice: bool = False) -> tuple[ImageScore, ...]:
        """Scores of the reported images, or of those to choose by."""
        return read_scores(self.folder / ("choice.csv" if choice else "scores.csv"))

    def maps(self) -> dict[str, np.ndarray]:
        """Small maps by name of the image; none but of the first seed."""
        if self.digest is None:
            return {}
        return read_whole_arrays(self.folder / "maps.safetensors", self.digest, _AGAIN)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the folder."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "folder"}
        for name in ("report", "choice_report"):
            values[name] = None if values[name] is None else values[name].to_json()
        return values


def trial_folder(out: Path, entry: Entry, seed: int) -> Path:
    """Where a trial lies."""
    return out / "trials" / entry.key / f"seed-{seed}"


def read_trial(folder: Path) -> Trial | None:
    """The trial of a folder, if it is finished or failed.

    Raises:
        CheckpointError: It cannot be read.
    """
    path = folder / "trial.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        for name in ("report", "choice_report"):
            values[name] = None if values[name] is None else Report.from_json(values[name])
        values["scales"] = {name: None if ends is None else tuple(ends) for name, ends in values["scales"].items()}
        values["map_scale"] = None if values["map_scale"] is None else tuple(values["map_scale"])
        return Trial(folder=folder, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, DataError) as error:
        raise CheckpointError(f"trial.json must be readable, got {path} ({error}). {_AGAIN}") from None


def run_trial(
    entry: Entry,
    seed: int,
    steps: int | None,
    protocol: Protocol,
    labelled: Callable[[Path], Labelled],
    folder: Path,
    *,
    frozen_bytes: int,
    keep_maps: bool,
    like: Path | None,
    progress: Progress,
    note: Notice,
) -> Trial:
    """Train and judge one detector, going on where it was interrupted; what fails is written down, and not raised.

    Args:
        entry: Which.
        seed: Of its training.
        steps: Its length; None of one look.
        protocol: What is the same for all.
        labelled: Gives the labelled images that a run has not seen.
        folder: Where it goes.
        frozen_bytes: What of the network is in no checkpoint.
        keep_maps: Whether small maps are kept for the page.
        like: A run of the same photographs, of a few the same draw, whose products and capture need not be learned
            again.
        progress: Called with what is being done, how much is done, how much there is, and a loss or None.
        note: Called with sentences the user should see.

    Raises:
        KeyboardInterrupt: Ctrl-C; the same call goes on.
        CheckpointError: The folder cannot be written.
    """
    make_folder(folder / "run")
    clock = _Clock(folder / "clock.json", progress)
    try:
        done = _finished(entry, seed, steps, protocol, labelled, folder, keep_maps, like, clock, note)
    except KeyboardInterrupt:
        clock.stop()
        raise
    except Exception as error:  # noqa: BLE001  one detector's fault must not take the others' figures
        clock.stop()
        write_text(folder / "error.txt", traceback.format_exc())
        done = Trial(folder=folder, entry=entry.key, seed=seed, error=_one_line(error), whole_s=clock.whole_s)
    else:
        (folder / "error.txt").unlink(missing_ok=True)
        done = _with(done, disk_bytes=(done.disk_bytes or 0) + frozen_bytes)
    write_text(folder / "trial.json", json.dumps(done.to_json(), indent=1) + "\n")
    return done


def _finished(
    entry: Entry,
    seed: int,
    steps: int | None,
    protocol: Protocol,
    labelled: Callable[[Path], Labelled],
    folder: Path,
    keep_maps: bool,
    like: Path | None,
    clock: _Clock,
    note: Notice,
) -> Trial:
    run, catalog = folder / "run", protocol.catalog
    if like is not None:
        for name in _OF_PHOTOGRAPHS:
            if (like / name).is_file() and not (run / name).is_file():
                shutil.copyfile(like / name, run / name)
    # Each seed draws its few images; a draw that the user fixed stays.
    own_draw = [f"training.shots_seed={seed}"] if override({}, entry.settings).get("training", {}).get("shots") else []
    settings = [*own_draw, *entry.settings, f"training.seed={seed}"]
    settings += [*([] if steps is None else [f"schedule.total_steps={steps}"])]
    with watch_memory(protocol.device) as peak:
        train(
            catalog.root, run, overrides=settings, layout=catalog.layout, device=str(protocol.device),
            resume=(run / "run.json").is_file(), progress=clock, note=note,
        )  # fmt: skip
    parts = labelled(run)
    judged = judge(
        run, parts.reported, parts.choice, catalog.root, device=str(protocol.device), keep_maps=keep_maps,
        progress=lambda count, total: clock("evaluate", count, total, None), note=note,
    )  # fmt: skip
    digest = None
    write_text(folder / "scores.csv", scores_to_csv(judged.scores))
    write_text(folder / "choice.csv", scores_to_csv(judged.choice_scores))
    if judged.maps:
        try:
            digest = write_arrays(judged.maps, folder / "maps.safetensors")
        except OSError as error:
            raise CheckpointError(f"maps must be writable, got {folder} ({error}). Free disk space.") from None
    clock.stop()
    return _trial(entry, seed, steps, folder, judged, peak.bytes, clock, digest)


def _trial(
    entry: Entry,
    seed: int,
    steps: int | None,
    folder: Path,
    judged: Judged,
    memory_bytes: int | None,
    clock: _Clock,
    digest: str | None,
) -> Trial:
    facts = read_run(folder / "run")
    return Trial(
        folder=folder,
        entry=entry.key,
        seed=seed,
        report=judged.report,
        choice_report=judged.choice_report,
        steps=steps,
        training_s=clock.training_s,
        step_s=None if steps is None else _step_s(folder / "run", facts),
        whole_s=clock.whole_s,
        image_s=judged.image_s,
        batched_s=judged.batched_s,
        memory_bytes=memory_bytes,
        disk_bytes=judged.disk_bytes,
        stopped=judged.stopped,
        scales=judged.scales,
        map_scale=tuple(facts["map_scale"]) if "map_scale" in facts else None,
        digest=digest,
    )


def _with(trial: Trial, **values: Any) -> Trial:  # noqa: ANN401  of any field
    return Trial(**{**{name: getattr(trial, name) for name in trial.__dataclass_fields__}, **values})


def _step_s(run: Path, facts: Mapping[str, Any]) -> float | None:
    """Median of the seconds of a step, as the log of the training has them."""
    per_category = facts["mode"] == "per_category"
    folders = [category_folder(run, name) for name in facts["categories"]] if per_category else [run]
    seconds: list[float] = []
    for folder in folders:
        log = folder / "metrics.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        seconds += [float(json.loads(line)["seconds_per_step"]) for line in lines]
    return median(seconds[1:] or seconds) if seconds else None  # the first has the start in it


def _one_line(error: Exception) -> str:
    """What a user is told of a failure."""
    text = " ".join(str(error).split())
    if isinstance(error, MuadError):
        return text
    if "out of memory" in text.lower():
        return f"ran out of memory: {text[:200]}"
    return f"{type(error).__name__}: {text[:300]}"


class _Clock:
    """Passes progress on, and adds up how long training took, and all of it, over interruptions.

    Args:
        file: Where the sums are kept.
        progress: Whom to pass it on to.
    """

    def __init__(self, file: Path, progress: Progress) -> None:
        self._file, self._progress = file, progress
        self.training_s, self._before = 0.0, 0.0
        if file.is_file():
            try:
                before = json.loads(file.read_text(encoding="utf-8"))
                self.training_s, self._before = float(before["training_s"]), float(before["whole_s"])
            except (ValueError, KeyError, TypeError):
                pass  # half-written: the times of this session alone are known
        self._begun = time.perf_counter()
        self._last: float | None = None  # when training was last heard of
        self.whole_s = self._before

    def __call__(self, what: str, done: int, total: int, loss: float | None) -> None:
        """Take news."""
        now = time.perf_counter()
        is_training = not what.startswith((*_OTHER_WORK, "evaluate"))
        if is_training and self._last is not None:
            self.training_s += now - self._last
        self._last = now if is_training else None
        self._progress(what, done, total, loss)

    def stop(self) -> None:
        """Write the sums down."""
        self.whole_s = self._before + time.perf_counter() - self._begun
        write_text(self._file, json.dumps({"training_s": self.training_s, "whole_s": self.whole_s}) + "\n")
