"""The verb `compare`: several detectors on one data set, trained in an order that gives early answers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad._version import __version__
from muad.calibration.shots import require_shots
from muad.comparison.budget import LEAST_STEPS, Allowance, affordable, parse_budget
from muad.comparison.division import Labelled, divide_labelled
from muad.comparison.entries import Entry, Protocol, choose_entries, named_detectors
from muad.comparison.pace import measure_pace
from muad.comparison.page import write_comparison
from muad.comparison.plan import Plan, open_plan
from muad.comparison.published import published_rows
from muad.comparison.ranking import rank
from muad.comparison.table import Comparison
from muad.comparison.trial import Trial, read_trial, run_trial, trial_folder
from muad.datasets.content_hash import content_hash
from muad.datasets.index import open_catalog
from muad.device import choose_device, describe_device
from muad.errors import ConfigError, DataError
from muad.evaluation.unseen import select_unseen
from muad.progress import shows_progress
from muad.runs.folder import usable_folder
from muad.types import DeviceName
from muad.wording import counted, duration

if TYPE_CHECKING:
    from muad.types import Catalog

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]
_OVER = 1.1  # times the budget, from which on it is said


def _silent(*_: object) -> None:
    """For callers who want no news."""


@shows_progress
def compare(
    data: str | Path,
    out: str | Path,
    *,
    detectors: str | Iterable[str] = "all",
    encoders: str | Iterable[str] = (),
    seeds: int = 3,
    shots: int | None = None,
    budget: str | float | None = None,
    choose: bool = False,
    image_px: int = 224,
    overrides: Iterable[str] = (),
    layout: str = "auto",
    device: DeviceName = "auto",
    progress: Progress = _silent,
    note: Notice = _silent,
) -> Comparison:
    """Train detectors under one protocol, measure them on the same images, and say which suits and how sure that is.

    After each training the page, the table and the JSON in `out` are written anew, so that there are answers early. The
    same call goes on where it was interrupted; what is finished is not repeated, what failed is tried again.

    Args:
        data: Labelled data set.
        out: Folder for `compare.html`, `.csv`, `.json` and the runs.
        detectors: Names, or a text with commas between them; `all` for every one.
        encoders: Frozen networks to try, each with every detector that can use it, `a+b` for two side by side; none for
            each detector's own.
        seeds: Trainings of each.
        shots: Good training images of each category; every seed draws its own, so that the spread over seeds is that
            over draws. None for all there are.
        budget: Time for all of it, in seconds or such as `30m`; detectors that take steps share it. None for as long
            as each would take alone.
        choose: Set a third of the labelled images aside to choose by, and report the others.
        image_px: Side of the images; a detector that cannot take it keeps its own size, which is said.
        overrides: `section.key=value` for all, or `NAME:section.key=value` for one detector.
        layout: How the data lie on disk; `auto` recognises them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: Called with what is being done, how much is done, how much there is, and a loss or None.
        note: Called with sentences the user should see.

    Raises:
        DataError: There are no images to train or to test on.
        ConfigError: An unknown detector, an encoder none of them can use, a budget that is too small, or `out` holds
            another comparison.
        CheckpointError: `out` cannot be written.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    begun = time.perf_counter()
    folder = usable_folder(Path(out))
    settings = (*overrides, *([] if shots is None else [f"training.shots={shots}"]))
    names = named_detectors(_names(detectors))
    for name, value, least, most in (("seeds", seeds, 1, 1000), ("image_px", image_px, 16, 4096)):
        if not least <= value <= most:
            raise ConfigError(f"{name} must be from {least} to {most}, got {value}.")
    budget_s = None if budget is None else parse_budget(str(budget))
    catalog = open_catalog(Path(data), layout)
    for sentence in (*catalog.notes, *_require_images(catalog)):
        note(sentence)
    if choose:  # said before anything is trained
        divide_labelled(
            catalog.select(split="test"), catalog.root, choose=True,
            progress=lambda done, total: progress("divide", done, total, None),
        )  # fmt: skip
    protocol = Protocol(
        catalog=catalog,
        device=choose_device(device),
        encoders=_names(encoders),
        image_px=image_px,
        settings=settings,
    )
    if protocol.shots:
        require_shots(catalog.select(split="train"), protocol.shots)
    plan = open_plan(folder, _claim(protocol, names, seeds, budget_s, choose))
    study = _Study(protocol, plan, choose=choose, seeds=seeds, begun=begun, progress=progress, note=note)
    study.prepare(names)
    try:
        study.run()
    except KeyboardInterrupt:
        study.write()
        raise
    finally:
        study.account()
    study.end()
    return study.write()


class _Study:
    """A comparison at work."""

    def __init__(
        self,
        protocol: Protocol,
        plan: Plan,
        *,
        choose: bool,
        seeds: int,
        begun: float,
        progress: Progress,
        note: Notice,
    ) -> None:
        self.protocol, self.plan = protocol, plan
        self.choose, self.seeds = choose, seeds
        self.budget_s: float | None = plan.claim["budget_s"]
        self.progress, self.note = progress, note
        self.notes: list[str] = []
        self.trials: dict[str, list[Trial]] = {}
        self.failures: dict[str, str] = {}
        self._labelled: Labelled | None = None
        self._images = protocol.trained_on
        tested = len(protocol.catalog.select(split="test"))
        self.time = Allowance(
            plan, self.trials, self.failures, budget_s=self.budget_s, images=self._images, tested=tested, begun=begun
        )

    # ------------------------------------------------------------------------------------------------ beforehand

    def prepare(self, names: Sequence[str]) -> None:
        """Choose what is compared and measure how fast each is, unless that was done before."""
        plan = self.plan
        if not plan.entries or any(entry.error for entry in plan.entries):
            plan.entries = choose_entries(
                names, self.protocol, lambda done, total: self.progress("look at detectors", done, total, None)
            )
        able = plan.able
        if not able:
            raise ConfigError(f"detectors must be such as can be trained here, got none: {plan.entries[0].error}")
        for done, entry in enumerate(able, start=1):
            if entry.key not in plan.paces:
                try:
                    plan.paces[entry.key] = measure_pace(entry, self.protocol)
                except Exception as error:  # noqa: BLE001  one detector's fault must not end the others' comparison
                    fault = " ".join(f"{type(error).__name__}: {error}".split())[:400]
                    plan.entries[plan.entries.index(entry)] = dataclasses.replace(entry, error=fault)
            self.progress("measure paces", done, len(able), None)
            plan.save()
        plan.entries.sort(key=self._order)
        for entry in plan.entries:
            if entry.error is not None:
                self._fail(entry, entry.error)
            for sentence in entry.notes:
                self._say(f"{entry.key}: {sentence}")
        if self.budget_s is not None:
            needs = {entry.key: self.time.need(entry) for entry in plan.able}
            enough = affordable(self.budget_s, needs, self.seeds)
            self.seeds = enough.seeds
            self.failures |= enough.left_out
            for key, line in enough.left_out.items():
                self.note(f"{key} {line}")
            if self.seeds < plan.claim["seeds"]:
                self._say(f"budget: enough for {counted(self.seeds, 'seed')} of each, not {plan.claim['seeds']}")
        plan.save()

    def _order(self, entry: Entry) -> tuple[bool, bool, float]:
        """What cannot be trained last; what looks once, then the quick, before what takes long."""
        if entry.error is not None:
            return True, True, 0.0
        return False, entry.steps is not None, self.time.training_s(entry, entry.steps)

    # ------------------------------------------------------------------------------------------------ the trials

    def run(self) -> None:
        """First one seed of all, so that there is an answer early, then the further ones."""
        dropped: list[str] = []
        for seed in range(1, self.seeds + 1):
            for entry in self.plan.able:
                if entry.key in self.failures:
                    continue
                folder = trial_folder(self.plan.out, entry, seed)
                known = read_trial(folder)
                if known is not None and known.error is None:
                    self.trials.setdefault(entry.key, []).append(known)
                elif seed > 1 and not self.time.fits(entry):
                    dropped.append(f"{entry.key} seed {seed}")
                else:
                    self._train(entry, seed, folder)
        if dropped:
            self._say(f"not run, because the budget is spent: {', '.join(dropped)}")

    def _train(self, entry: Entry, seed: int, folder: Path) -> None:
        steps = self.time.steps(entry, self.seeds)
        one = f"{entry.key}, seed {seed} of {self.seeds}"
        length = "one look at all images" if steps is None else counted(steps, "step")
        self.note(f"{one}: {length}{self.time.left()}")
        done = run_trial(
            entry, seed, steps, self.protocol, self._labelled_for, folder,
            frozen_bytes=self.plan.paces[entry.key].frozen_bytes,
            keep_maps=seed == 1,
            like=self._like(seed),
            progress=lambda what, count, total, loss: self.progress(f"{what} ({one})", count, total, loss),
            note=_silent,
        )  # fmt: skip
        if done.error is not None:
            self._fail(entry, done.error)
        else:
            self.trials.setdefault(entry.key, []).append(done)
            auroc = done.report.mean["image_auroc"] if done.report is not None else None
            told = "" if auroc is None else f", image AUROC {auroc:.3f}"
            self.note(f"{one}: done in {duration(done.whole_s or 0)}{told}")
        self.account()
        self.write()

    def _like(self, seed: int) -> Path | None:
        """A finished run of the same photographs: of a few, those of the same seed alone are."""
        done = (one for trials in self.trials.values() for one in trials)
        return next((one.run for one in done if not self.protocol.shots or one.seed == seed), None)

    def _labelled_for(self, run: Path) -> Labelled:
        """Labelled images no run has seen: they divide the good images alike, so the first one tells for all."""
        if self._labelled is None:
            unseen = select_unseen(run, self.protocol.catalog)
            for sentence in unseen.notes:
                self._say(sentence)
            self._labelled = divide_labelled(unseen.records, self.protocol.catalog.root, choose=self.choose)
        return self._labelled

    # ---------------------------------------------------------------------------------------------------- account

    def account(self) -> None:
        """Write down how much time was spent."""
        self.plan.spent_s = self.time.spent_s
        self.plan.save()

    def end(self) -> None:
        """Say so where the budget was not kept."""
        if self.budget_s is not None and self.plan.spent_s > _OVER * self.budget_s:
            self._say(
                f"budget: {duration(self.plan.spent_s)} instead of {duration(self.budget_s)}; reading, calibration and "
                f"figures took longer than was measured, and no detector is trained shorter than {LEAST_STEPS} steps"
            )

    def _say(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.note(sentence)

    def _fail(self, entry: Entry, line: str) -> None:
        self.failures[entry.key] = line
        self.note(f"{entry.key} failed: {line}")

    def write(self) -> Comparison:
        """Write page, table and JSON of what there is."""
        made = self._comparison()
        write_comparison(made, self.protocol.catalog)
        return made

    def _comparison(self) -> Comparison:
        entries = tuple(self.plan.entries)
        finished = {key: tuple(trials) for key, trials in self.trials.items()}
        scores = {key: [trial.scores(choice=self.choose) for trial in trials] for key, trials in finished.items()}
        labelled = self._labelled or self._known_labelled(finished)
        return Comparison(
            out=self.plan.out,
            facts=self._facts(labelled),
            entries=entries,
            trials=finished,
            failures=dict(self.failures),
            ranking=rank(scores),
            chosen_on="choice" if self.choose else "reported",
            published=tuple(published_rows(entry.detector for entry in entries)),
            notes=tuple(self.notes),
        )

    def _known_labelled(self, finished: dict[str, tuple[Trial, ...]]) -> Labelled | None:
        """The same images as when the trials that are there were judged."""
        run = next((trials[0].run for trials in finished.values()), None)
        return None if run is None else self._labelled_for(run)

    def _facts(self, labelled: Labelled | None) -> dict[str, Any]:
        claim, catalog = self.plan.claim, self.protocol.catalog
        reported = () if labelled is None else labelled.reported
        choice = () if labelled is None else labelled.choice
        return {
            "muad": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": str(catalog.root.absolute()),
            "data_hash": claim["data_hash"],
            "layout": catalog.layout,
            "categories": list(catalog.categories),
            "trained_on": self._images,
            "shots": self.protocol.shots or None,
            "reported": {"good": sum(not one.is_anomalous for one in reported),
                         "defective": sum(one.is_anomalous for one in reported)},
            "choice": {"good": sum(not one.is_anomalous for one in choice),
                       "defective": sum(one.is_anomalous for one in choice)},
            "protocol": "dinomaly",
            "image_px": self.protocol.image_px,
            "seeds": claim["seeds"],
            "budget_s": self.budget_s,
            "spent_s": self.plan.spent_s,
            "settings": list(self.protocol.settings),
            "device": describe_device(self.protocol.device),
        }  # fmt: skip


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    """Names in order, given as such or in a text with commas between them."""
    parts = given.split(",") if isinstance(given, str) else [part for one in given for part in one.split(",")]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _claim(
    protocol: Protocol, names: Sequence[str], seeds: int, budget_s: float | None, choose: bool
) -> dict[str, Any]:
    """What a comparison is of, to tell it from another."""
    catalog = protocol.catalog
    return {
        "data_hash": content_hash(catalog.records, catalog.root),
        "image_px": protocol.image_px,
        "settings": list(protocol.settings),
        "device": protocol.device.type,
        "choose": choose,
        "budget_s": budget_s,
        "seeds": seeds,
        "detectors": list(names),
        "encoders": list(protocol.encoders),
    }


def _require_images(catalog: Catalog) -> list[str]:
    """Sentences on what cannot be said of these images.

    Raises:
        DataError: There is nothing to train or nothing to test on.
    """
    train, test = catalog.select(split="train"), catalog.select(split="test")
    if not train or not test:
        missing = "good training images" if not train else "test images"
        raise DataError(
            f"data must hold {missing} to compare detectors on, got none in {catalog.root}. "
            + ("Name the folder that holds them." if not train else "Put defective ones beside the good: PRODUCT/bad.")
        )
    if not any(record.is_anomalous for record in test):
        return ["no defective test image: no AUROC and no ranking, only costs and false alarms"]
    if all(record.is_anomalous for record in test):
        return ["no good test image: no AUROC and no ranking, only costs and defects stopped"]
    return []
