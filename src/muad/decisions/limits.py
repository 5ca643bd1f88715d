"""`RUN/limits.toml` and `RUN/calibration.json`: the limits of a run, and the scores of good images they come from.

`limits.toml` is for people: it may be edited, and a `Predictor` at work reads it anew (`limits_watch`).

    false_alarm_rate = 0.005     what is wanted; not read when images are judged, kept when limits are set again
    review_rate = 0.05
    confidence = 0.95
    sure = false

    [categories.screw]           a line that is left out is a limit that is not there
    review = 0.3123              above it: for a person to look at
    review_rate = 0.05           what the limit keeps; a larger one than wanted where there are too few images
    reject = 0.3511              above it: rejected
    reject_rate = 0.02
    map = 0.62                   the middle of the colours of overlays, in values of the map

Parts of several views have limits of their own in it, `[objects]`, which `object_limits` reads.

`calibration.json` is what limits are set from again without images, and what p-values are computed from:

    {"format_version": 1, "muad": "0.1.0",
     "weights": "digest of the weights that scored them", "limits_digest": "of limits.toml as it was written",
     "false_alarm_rate": 0.005, "review_rate": 0.05, "confidence": 0.95, "sure": false,
     "good": {"screw": {"count": 64, "images": 66, "scores": [rising], "map_peaks": [rising], "data_hash": "sha256:…",
                        "source": "where the images were", "created": "2026-01-31T12:00:00+00:00"}, …},
     "cross_fit": {"screw": {…the same, of training images, and "folds": 5}},
     "bad":  {"screw": {…the same, of the images given as bad}},
     "objects": {"box": {"views": ["left", "top"], "scores": {"mean_top": {…the same, of parts}, "max": {…}}}},
     "object_rules": {"grouping": "folder", "score": "mean_top"}}

Of near-duplicates, and of images of one object, there is one score, the largest: 66 images may count as 64. Scores are
written with all digits: a limit is exactly one of them, and a score equal to a limit is not above it. Equal means up to
a hundred-thousandth of the limit, because another batch, processor or runtime adds the same numbers in another order.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from muad.decisions.calibration_scores import ObjectScored, Pool, Scored, pool
from muad.decisions.conformal import images_needed, p_values, sure_images_needed
from muad.decisions.object_scores import ObjectRules
from muad.errors import CheckpointError, ConfigError
from muad.runs.schema import CalibrationFacts, ScoredFacts, read_json

Verdict = Literal["pass", "review", "reject", "unknown product"]
CALIBRATION_FILE, LIMITS_FILE = "calibration.json", "limits.toml"
NO_LIMITS = "no limits: run muad calibrate"
_Name = TypeVar("_Name", bound=str)
_FORMAT_VERSION = 1
ROUNDING = 1e-5
"""Part of a limit by which a score must exceed it to be above it."""
_RATES = ("false_alarm_rate", "review_rate", "confidence", "sure")
_LIMIT_NAMES, _RATE_NAMES = ("review", "reject", "map"), ("review_rate", "reject_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What limits are to keep.

    Attributes:
        false_alarm_rate: Part of good images that may be above `reject`.
        review_rate: Part of good images that may be above `review`.
        confidence: Of the bounds that are stated, and of sure limits.
        sure: Set limits so that the rates hold with the confidence, not only on average.
    """

    false_alarm_rate: float = 0.005
    review_rate: float = 0.05
    confidence: float = 0.95
    sure: bool = False

    def __post_init__(self) -> None:
        for name in ("false_alarm_rate", "review_rate", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must be above 0 and below 1, got {getattr(self, name)}. Write 0.5 % as 0.005."
                )
        if self.review_rate < self.false_alarm_rate:
            raise ConfigError(
                f"review_rate must be at least the false_alarm_rate {self.false_alarm_rate}, got {self.review_rate}: "
                "what is rejected is a part of what is not passed."
            )

    def images_for(self, rate: float) -> int:
        """Good images that it takes to keep a rate in the way these are to be kept."""
        return sure_images_needed(rate, self.confidence) if self.sure else images_needed(rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything limits are set from.

    Attributes:
        muad: Version that scored the images.
        weights: Tells which weights scored them.
        limits_digest: Tells whether `limits.toml` is as it was written.
        rates: What the limits are to keep.
        good: By category, images the run was not trained on.
        bad: By category, images given as bad; they never move a limit.
        cross_fit: By category, training images, each scored by a detector that had not seen it.
        objects: By category, parts of several views the run was not trained on.
        object_rules: How photographs become parts.
    """

    muad: str
    weights: str
    limits_digest: str
    rates: Rates
    good: Mapping[str, Scored]
    bad: Mapping[str, Scored] = field(default_factory=dict)
    cross_fit: Mapping[str, Scored] = field(default_factory=dict)
    objects: Mapping[str, ObjectScored] = field(default_factory=dict)
    object_rules: ObjectRules = field(default_factory=ObjectRules)

    @property
    def pools(self) -> dict[str, Pool]:
        """The scores that limits are set from, by category."""
        names = sorted({*self.good, *self.cross_fit})
        return {name: pool(self.good.get(name), self.cross_fit.get(name)) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Plain values for `calibration.json`."""
        return {
            "format_version": _FORMAT_VERSION,
            "muad": self.muad,
            "weights": self.weights,
            "limits_digest": self.limits_digest,
            **asdict(self.rates),
            "good": {name: {"count": scored.count, **asdict(scored)} for name, scored in self.good.items()},
            "cross_fit": {name: {"count": scored.count, **asdict(scored)} for name, scored in self.cross_fit.items()},
            "bad": {name: {"count": scored.count, **asdict(scored)} for name, scored in self.bad.items()},
            **({"objects": {name: asdict(own) for name, own in self.objects.items()}} if self.objects else {}),
            **({"object_rules": asdict(self.object_rules)} if self.objects else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryLimits:
    """Limits of one category; None where there is none.

    Attributes:
        review: Scores above it are for a person to look at.
        reject: Scores above it are rejected.
        map: The middle of the colours of overlays.
        review_rate: Part of good images that `review` was set for; larger than wanted where there were too few.
        reject_rate: The same of `reject`.
    """

    review: float | None = None
    reject: float | None = None
    map: float | None = None
    review_rate: float | None = None
    reject_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a run judges.

    Attributes:
        categories: Limits by category; those that were not calibrated are not in it.
        calibration: Rising scores of good images by category, for p-values.
    """

    categories: Mapping[str, CategoryLimits]
    calibration: Mapping[str, Sequence[float]]

    def verdict(self, category: str | None, score: float) -> Verdict | None:
        """What to do with an image of this score; None where its category has no limits."""
        limits = self.categories.get(category) if category is not None else None
        if limits is None or (limits.review is None and limits.reject is None):
            return None
        if limits.reject is not None and is_above(score, limits.reject):
            return "reject"
        return "review" if limits.review is not None and is_above(score, limits.review) else "pass"

    def p_value(self, category: str | None, score: float) -> float | None:
        """How usual the score is for a good image of the category, in (0, 1]; None where that is not known."""
        known = self.calibration.get(category) if category is not None else None
        return float(p_values(np.array([score]), np.array(known))[0]) if known else None

    def map_limit(self, category: str | None) -> float | None:
        """The map value that good images of the category seldom exceed anywhere; None without one.

        Where the category is not known, or none of the run's, the highest of all is taken.
        """
        known = {name: limits.map for name, limits in self.categories.items() if limits.map is not None}
        if category is not None and category in self.categories:
            return known.get(category)
        return max(known.values(), default=None)

    def colour_scale(self, category: str | None, normal: float) -> tuple[float, float] | None:
        """Map values drawn as nothing and as fully anomalous; None without a map limit.

        The limit is the middle of the colours: they begin half way from the usual value of normal pixels to the limit
        and are full as far beyond it. So one colour means the same in all images, whatever a category's own scale.

        Args:
            category: What the image shows.
            normal: The usual value of normal pixels.
        """
        limit = self.map_limit(category)
        if limit is None or limit <= normal:
            return None
        half = (limit - normal) / 2
        return limit - half, limit + half


def is_above(score: float, limit: float) -> bool:
    """Whether a score exceeds a limit by more than rounding."""
    return score > limit + ROUNDING * abs(limit)


def read_limits(run: Path, categories: Sequence[str]) -> Limits | None:
    """The limits of a run as they are now; None if there are none.

    Args:
        run: Run folder.
        categories: Those the run was trained on.

    Raises:
        ConfigError: `limits.toml` names an unknown category or key, or holds no number, or review lies above reject.
        CheckpointError: `calibration.json` cannot be read.
    """
    values = read_limits_file(run)
    if values is None:
        return None
    stored = read_calibration(run)
    return Limits(
        categories=check_limits(values, categories),
        calibration={} if stored is None else {name: own.scores for name, own in stored.pools.items()},
    )


def check_limits(values: Mapping[str, Any], categories: Sequence[str]) -> dict[str, CategoryLimits]:
    """The limits that a `limits.toml` holds, by category.

    Args:
        values: As it was parsed.
        categories: Those the run was trained on; empty if that is not known.

    Raises:
        ConfigError: It names an unknown category or key, or holds no number, or review lies above reject.
    """
    tables = values.get("categories", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{LIMITS_FILE}: categories must be tables such as [categories.bolt], got {tables!r}.")
    unknown = [name for name in tables if categories and name not in categories]
    if unknown:
        raise ConfigError(f"{LIMITS_FILE} must name categories of the run, {', '.join(categories)}, got {unknown[0]}.")
    return {name: _category_limits(name, table) for name, table in tables.items()}


def read_rates(run: Path) -> Rates:
    """What the limits of a run are to keep: as `limits.toml` says, else `calibration.json`, else the usual rates.

    Raises:
        ConfigError: `limits.toml` cannot be read, or a rate in it is out of range.
        CheckpointError: `calibration.json` cannot be read.
    """
    stored = read_calibration(run)
    rates = Rates() if stored is None else stored.rates
    values = {name: value for name, value in (read_limits_file(run) or {}).items() if name in asdict(rates)}
    for name, value in values.items():
        if name == "sure" and not isinstance(value, bool):
            raise ConfigError(f"{LIMITS_FILE}: sure must be true or false, got {value!r}.")
        if name != "sure" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigError(f"{LIMITS_FILE}: {name} must be a number, got {value!r}. Write 0.5 % as 0.005.")
    return replace(rates, **values)


def read_limits_file(run: Path) -> dict[str, Any] | None:
    """What `limits.toml` holds; None if there is none.

    Raises:
        ConfigError: It is no TOML.
    """
    path = run / LIMITS_FILE
    if not path.is_file():
        return None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{LIMITS_FILE} must be valid TOML, got {path}: {error}. Correct it, or delete it and calibrate again."
        ) from None


def read_calibration(run: Path) -> Calibration | None:
    """The stored scores of a run; None if it was never calibrated.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = run / CALIBRATION_FILE
    if not path.is_file():
        return None
    facts, _ = read_json(path, CalibrationFacts, "Delete it and calibrate again.")
    try:
        rates = Rates(**{name: getattr(facts, name) for name in _RATES})
    except ConfigError as error:
        raise CheckpointError(f"{CALIBRATION_FILE}: {error} It is {path}: delete it and calibrate again.") from None
    return Calibration(
        muad=facts.muad,
        weights=facts.weights,
        limits_digest=facts.limits_digest,
        rates=rates,
        good=_scored(facts.good),
        bad=_scored(facts.bad),
        cross_fit=_scored(facts.cross_fit),
        objects={
            name: ObjectScored(views=own.views, scores=_scored(own.scores)) for name, own in facts.objects.items()
        },
        object_rules=ObjectRules(**asdict(facts.object_rules)) if facts.object_rules else ObjectRules(),
    )


def _scored(tables: Mapping[_Name, ScoredFacts]) -> dict[_Name, Scored]:
    return {
        name: Scored(
            scores=table.scores,
            map_peaks=table.map_peaks,
            images=len(table.scores) if table.images is None else table.images,
            data_hash=table.data_hash,
            source=table.source,
            created=table.created,
            folds=table.folds,
        )
        for name, table in tables.items()
    }


def _category_limits(category: str, table: Any) -> CategoryLimits:  # noqa: ANN401  whatever TOML holds
    where = f"{LIMITS_FILE}: categories.{category}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table of {', '.join(_LIMIT_NAMES)}, got {table!r}.")
    for name, value in table.items():
        if name not in _LIMIT_NAMES + _RATE_NAMES:
            raise ConfigError(f"{where} must hold only {', '.join(_LIMIT_NAMES + _RATE_NAMES)}, got {name!r}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f"{where}.{name} must be a number, got {value!r}. Leave the line out to have no limit.")
        if name in _RATE_NAMES and not 0 < value < 1:
            raise ConfigError(f"{where}.{name} must be above 0 and below 1, got {value!r}. Leave the line out.")
    limits = CategoryLimits(**{name: float(value) for name, value in table.items()})
    if limits.review is not None and limits.reject is not None and limits.review > limits.reject:
        raise ConfigError(
            f"{where}.review must be at most reject {limits.reject}, got {limits.review}. Exchange them, or leave "
            "one out."
        )
    return limits
