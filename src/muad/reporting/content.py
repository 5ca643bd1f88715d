"""What a report of a run says: read from the run folder alone, judged at its limits, put into words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from muad.capture import has_capture
from muad.decisions.conformal import binomial_interval
from muad.decisions.limit_sentences import NOT_COVERED
from muad.decisions.limit_setting import CategoryResult, results_of
from muad.decisions.limits import CategoryLimits, Limits, read_calibration, read_limits
from muad.errors import CheckpointError, DataError
from muad.metrics.ranking import rank_metrics
from muad.metrics.report import CategoryReport, Report, Seen
from muad.recognition.naming import Naming, read_names
from muad.runs.folder import read_run, settings_text
from muad.runs.history import HistoryEntry, read_history
from muad.runs.scores import SCORES_FILE, ImageScore, read_scores
from muad.runs.settings import RunSettings, run_settings
from muad.wording import counted

Level = Literal["yes", "partly", "no", "unknown"]
_CONFIDENCE = 0.95
_FOUND_LEVELS: tuple[tuple[float, Level, str], ...] = (
    (0.95, "yes", "finds nearly all"),
    (0.80, "partly", "finds most"),
    (0.50, "no", "misses many"),
    (0.0, "no", "misses most"),
)
_RANK_LEVELS: tuple[tuple[float, Level, str], ...] = (
    (0.98, "yes", "separates nearly all"),
    (0.90, "partly", "separates most"),
    (0.70, "no", "separates some"),
    (0.0, "no", "close to guessing"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What becomes of some images at the limits.

    Attributes:
        total: How many there are.
        rejected: Above the upper limit.
        review: Between the limits.
        passed: The rest.
    """

    total: int
    rejected: int
    review: int
    passed: int

    @property
    def stopped(self) -> int:
        """Those that do not pass."""
        return self.rejected + self.review

    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the share that is stopped; None of no images."""
        return binomial_interval(self.stopped, self.total, _CONFIDENCE) if self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryContent:
    """One category of a report.

    Attributes:
        name: Its name.
        trained: Good photographs it was trained on; None where the run does not say.
        scores: Its evaluated images.
        figures: The seven metrics, or None if it was not evaluated.
        limits: Its limits, or None.
        calibrated: What its calibration gave, or None.
        good: What becomes of good images at the limits; None without limits.
        bad: What becomes of defective ones.
        level: How far its answers go.
        words: The same in words.
    """

    name: str
    trained: int | None
    scores: tuple[ImageScore, ...]
    figures: CategoryReport | None
    limits: CategoryLimits | None
    calibrated: CategoryResult | None
    good: Counts | None
    bad: Counts | None
    level: Level
    words: str

    @property
    def is_judged(self) -> bool:
        """Whether its limits judge its images."""
        return self.good is not None and self.bad is not None

    @property
    def labels(self) -> np.ndarray:
        """True for each anomalous image."""
        return np.array([row.is_anomalous for row in self.scores], dtype=bool)

    @property
    def values(self) -> np.ndarray:
        """Scores of the images."""
        return np.array([row.score for row in self.scores])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContent:
    """A whole report.

    Attributes:
        run: The run folder.
        facts: Its manifest.
        settings: What it was trained with.
        settings_text: All of it, as its file says.
        figures: Its evaluation, or None.
        categories: Those trained on or evaluated, by name.
        has_limits: Whether it gives verdicts.
        judges_capture: Whether it also sends photographs to review that were not taken as the good ones were.
        missing: Sentences on what the report lacks, and how to get it.
        promise: What limits promise in general; empty without any.
        seen_before: What is known of whether the run had seen the tested images, as a sentence; empty without figures.
        names: How often the product on them was named rightly.
        history: What became of the run after its training, the first first.
    """

    run: Path
    facts: dict[str, Any]
    settings: RunSettings
    settings_text: str
    figures: Report | None
    categories: tuple[CategoryContent, ...]
    has_limits: bool
    judges_capture: bool
    missing: tuple[str, ...] = field(default=())
    promise: str = ""
    seen_before: str = ""
    names: tuple[Naming, ...] = field(default=())
    history: tuple[HistoryEntry, ...] = field(default=())

    @property
    def is_unseen(self) -> bool:
        """Whether the tested images were compared with those of the run, and are none of them."""
        return self.figures is not None and self.figures.seen is not None and self.figures.seen.checked


def read_content(run: Path) -> RunContent:
    """Everything a report says, without looking at a photograph.

    Raises:
        CheckpointError: No usable run there.
        DataError: Its evaluation cannot be read.
        ConfigError: Its limits cannot be read.
    """
    facts, settings = read_run(run), run_settings(run)
    trained = facts.get("categories", {})
    figures = _read_figures(run)
    scores = read_scores(run / SCORES_FILE) if (run / SCORES_FILE).is_file() else ()
    limits, calibration = read_limits(run, tuple(trained)), read_calibration(run)
    names = sorted({*trained, *(row.category for row in scores), *(figures.categories if figures else ())})
    in_force = None if limits is None else limits.categories
    results = results_of(calibration, names, in_force) if calibration is not None else {}
    categories = tuple(
        _category(
            name,
            trained.get(name),
            tuple(row for row in scores if row.category == name),
            figures.categories.get(name) if figures else None,
            limits,
            results.get(name),
        )
        for name in names
    )
    return RunContent(
        run=run,
        facts=facts,
        settings=settings,
        settings_text=settings_text(run),
        figures=figures,
        categories=categories,
        has_limits=limits is not None,
        judges_capture=limits is not None and has_capture(run),
        missing=tuple(_missing(run, facts, figures, scores, limits)),
        promise=NOT_COVERED if limits is not None else "",
        seen_before="" if figures is None else _seen_before(figures.seen),
        names=() if figures is None else tuple(read_names(run, figures.data_hash)),
        history=read_history(run),
    )


def _read_figures(run: Path) -> Report | None:
    path = run / "evaluation.json"
    if not path.is_file():
        return None
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"evaluation.json must be readable, got {path} ({error}). Evaluate again.") from None
    except DataError as error:
        raise DataError(f"evaluation.json must be a report, got {path}: {error}") from None


def _category(
    name: str,
    trained: int | None,
    scores: tuple[ImageScore, ...],
    figures: CategoryReport | None,
    limits: Limits | None,
    result: CategoryResult | None,
) -> CategoryContent:
    good, bad = (
        _judge([row for row in scores if row.is_anomalous is wanted], limits) if limits is not None else None
        for wanted in (False, True)
    )
    level, words = _in_words(scores, bad)
    return CategoryContent(
        name=name,
        trained=trained,
        scores=scores,
        figures=figures,
        limits=limits.categories.get(name) if limits is not None else None,
        calibrated=result,
        good=good,
        bad=bad,
        level=level,
        words=words,
    )


def _judge(rows: Sequence[ImageScore], limits: Limits) -> Counts | None:
    """Verdicts counted; None where the category has no limits."""
    verdicts = [limits.verdict(row.category, row.score) for row in rows]
    if None in verdicts:
        return None
    return Counts(
        total=len(rows),
        rejected=verdicts.count("reject"),
        review=verdicts.count("review"),
        passed=verdicts.count("pass"),
    )


def _in_words(scores: Sequence[ImageScore], bad: Counts | None) -> tuple[Level, str]:
    """How far one may rely on a category: by the share of defective parts stopped, without limits by the AUROC."""
    if not scores:
        return "unknown", "not tested"
    if not any(row.is_anomalous for row in scores):
        return "unknown", "no defective parts tested"
    if bad is not None and bad.total:
        share = bad.stopped / bad.total
        return next((level, words) for least, level, words in _FOUND_LEVELS if share >= least)
    auroc = rank_metrics([row.is_anomalous for row in scores], [row.score for row in scores]).auroc
    if auroc is None:
        return "unknown", "no good parts tested"
    return next((level, words) for least, level, words in _RANK_LEVELS if auroc >= least)


def _seen_before(seen: Seen | None) -> str:
    """What is known of whether the run had seen the tested images."""
    if seen is None or not seen.checked:
        return (
            "It is not known whether the run had seen the tested photographs: figures on such would promise too much. "
            + ("The run does not remember its own." if seen is not None else "Evaluate again: they are compared then.")
        )
    ways = "files and pixels" if seen.by_pixels else "files"
    if not seen.trained_on + seen.calibrated_on:
        return f"None of the tested photographs is one it was trained or calibrated on ({ways} compared)."
    return (
        f"Of {counted(seen.compared, 'photograph')} given for testing, {seen.trained_on} it was trained on and "
        f"{seen.calibrated_on} it was calibrated on were left out ({ways} compared)."
    )


def _missing(
    run: Path, facts: dict[str, Any], figures: Report | None, scores: Sequence[ImageScore], limits: Limits | None
) -> list[str]:
    missing = []
    if figures is None:
        missing.append(f"The run was not evaluated: no figures, curves or pictures. Run: muad evaluate {run} DATA")
    elif not scores:
        missing.append(
            f"Scores of single images were not kept: no histograms and curves. Run again: muad evaluate {run} DATA"
        )
    if limits is None:
        missing.append(
            f"No limits are set: scores rank parts but give no verdict. Run: muad calibrate {run} GOOD_IMAGES"
        )
    if figures is not None and all(report.pixel_auroc is None for report in figures.categories.values()):
        missing.append("No masks of defects were given: no pixel figures, and no outlines in the pictures.")
    if figures is not None and not any(row.is_anomalous for row in scores) and scores:
        missing.append("No defective parts were tested: whether defects are found is not known.")
    if not facts.get("finished"):
        missing.append("The training was not finished.")
    if "data_hash" not in facts:
        missing.append("The run was written by an older release, which did not record a hash of its data.")
    return missing
