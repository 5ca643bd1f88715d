"""What the history holds, as plain values: inspections, words of people, models, changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from muad.capture import Reason
from muad.decisions.limits import Verdict
from muad.decisions.regions import Region
from muad.errors import ConfigError
from muad.service.history.ids import ID_PATTERN

Outcome = Verdict | Literal["no verdict", "error"]
OUTCOMES: tuple[str, ...] = (*get_args(Verdict), "no verdict", "error")
"""What an inspection ends with: a verdict, none because there are no limits, or none because there is no score."""
Source = Literal["http", "watch", "camera", "batch"]
Saying = Literal["good", "bad"]
ModelState = Literal["active", "shadow", "loaded", "retired"]
Direction = Literal["higher", "lower", "wider", "more"]
ChangeKind = Literal["limit", "model", "token", "login", "settings", "retention", "recalibration"]

LONGEST_NAME = 200
"""Most characters of a name somebody gives: station, category, serial, lot, defect type, who."""
LONGEST_TEXT = 4000
"""Most characters of a sentence: note, notice, reason, error."""
MOST_EXTRAS = 64


def require_text(name: str, value: str | None, longest: int = LONGEST_NAME) -> None:
    """Refuse text that a database cannot keep, or nobody can mean.

    Args:
        name: What it is, for the message.
        value: The text; None is always well.
        longest: Most characters.

    Raises:
        ConfigError: It is too long, holds a NUL, or is no Unicode that can be written.
    """
    if value is None:
        return
    if len(value) > longest:
        raise ConfigError(f"{name} must have at most {longest} characters, got {len(value)}.")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"{name} must be text without NUL and lone surrogates, got {value[:40]!r}.")


def require_time(name: str, value: datetime | None) -> None:
    """Refuse a time without its zone, and one that no station can have seen."""
    if value is None:
        return
    if value.tzinfo is None:
        raise ConfigError(f"{name} must have a time zone, got {value.isoformat()}. Write {value.isoformat()}Z for UTC.")
    if not 1970 <= value.year <= 9000:
        raise ConfigError(f"{name} must be a year from 1970 to 9000, got {value.year}.")


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where the pictures of an inspection lie below the station's folder, and what they are.

    Attributes:
        photo: The uploaded bytes, as they came.
        photo_sha256: Their digest.
        photo_bytes: How many.
        map: The anomaly map, at most 512 px on its longer side, 16 bits; None without one.
        map_sha256: Digest of that file.
        map_bytes: Its size.
        map_low: The map value that its darkest level stands for.
        map_high: The one of the brightest.
    """

    photo: str | None = None
    photo_sha256: str | None = None
    photo_bytes: int | None = None
    map: str | None = None
    map_sha256: str | None = None
    map_bytes: int | None = None
    map_low: float | None = None
    map_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInspection:
    """An inspection before it is recorded.

    Attributes:
        id: Made by `new_id(at)`; also the name of its pictures.
        at: When the photograph came in.
        station: Where.
        source: By which way.
        category: The category that was given, or None.
        judged_as: The one whose limits it was judged by, or None.
        recognised: The one it looks like, `unknown product`, or None.
        verdict: What it ended with.
        score: None where there is none.
        p_value: In (0, 1], or None.
        review_above: The limit in force, or None.
        reject_above: The limit in force, or None.
        map_limit: The map value above which a place is anomalous, or None.
        colour_scale: Map values drawn as nothing and as fully anomalous, or None.
        reasons: Why a person has to look at it whatever its score.
        notice: What a person should know, or None.
        regions: Where the map is above its limit, the highest first, in pixels of the photograph.
        highest: The highest place of the map, or None.
        width: Of the photograph; None where it could not be read.
        height: The same.
        model_id: The model that judged it.
        serial: The part's, or None.
        lot: Or None.
        extras: Whatever else was sent along.
        idempotency_key: The same key is recorded once; with several clients the client stands in front of it.
        kept: Its pictures.
        error: Why there is no score, or None.
        times: Milliseconds by stage.
        brightness: Of the photograph, or None.
        sharpness: Of the photograph, or None.
        product_p: How usual the photograph is for its product, in (0, 1], or None.
        in_audit: Whether people are asked about it by the audit sample.
    """

    id: str
    at: datetime
    station: str
    source: Source
    verdict: Outcome
    category: str | None = None
    judged_as: str | None = None
    recognised: str | None = None
    score: float | None = None
    p_value: float | None = None
    review_above: float | None = None
    reject_above: float | None = None
    map_limit: float | None = None
    colour_scale: tuple[float, float] | None = None
    reasons: tuple[Reason, ...] = ()
    notice: str | None = None
    regions: tuple[Region, ...] = ()
    highest: Region | None = None
    width: int | None = None
    height: int | None = None
    model_id: str | None = None
    serial: str | None = None
    lot: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    kept: Kept = field(default_factory=Kept)
    error: str | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    brightness: float | None = None
    sharpness: float | None = None
    product_p: float | None = None
    in_audit: bool = False

    def __post_init__(self) -> None:
        """Refuse what a database would refuse later, or keep as something else.

        Raises:
            ConfigError: A text, time or number cannot be kept.
        """
        if not ID_PATTERN.fullmatch(self.id):
            raise ConfigError(f"id must be 32 hexadecimal digits, got {self.id[:40]!r}.")
        require_time("at", self.at)
        _require_one_of("source", self.source, get_args(Source))
        _require_one_of("verdict", self.verdict, OUTCOMES)
        for name in ("station", "category", "judged_as", "recognised", "serial", "lot", "idempotency_key", "model_id"):
            require_text(name, getattr(self, name))
        for name in ("notice", "error"):
            require_text(name, getattr(self, name), LONGEST_TEXT)
        if len(self.extras) > MOST_EXTRAS:
            raise ConfigError(f"extras must be at most {MOST_EXTRAS} pairs, got {len(self.extras)}.")
        for key, value in self.extras.items():
            require_text("extras", key)
            require_text(f"extras.{key}", value, LONGEST_TEXT)
        for name in ("score", "p_value", "review_above", "reject_above", "map_limit", "brightness", "sharpness"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"{name} must be a finite number or none, got {number}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection(NewInspection):
    """An inspection in the history.

    Attributes:
        number: In the order of recording, rising; what a feed of events goes on from.
        word: The last person's, or None.
        word_at: When that was said.
        pictures_removed: Whether retention has removed its pictures; their digests stay.
    """

    number: int
    word: Saying | None = None
    word_at: datetime | None = None
    pictures_removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowJudgement:
    """What another model than the active one would have said.

    Attributes:
        inspection_id: Of which part.
        model_id: Which model.
        verdict: Its verdict.
        score: Its score, or None.
        p_value: Or None.
        judged_as: By which category's limits, or None.
    """

    inspection_id: str
    model_id: str
    verdict: Outcome
    score: float | None = None
    p_value: float | None = None
    judged_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a person said of a part; a later one stands beside it, never in its place.

    Attributes:
        id: Its own.
        inspection_id: Of which part.
        at: When.
        who: Name of the token it was said with.
        word: Good or bad.
        defect_type: The kind of defect, or None.
        note: Or None.
        mask: Where the drawn mask lies below the station's folder, or None.
    """

    id: str
    inspection_id: str
    at: datetime
    who: str
    word: Saying
    defect_type: str | None = None
    note: str | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            ConfigError: The word is neither good nor bad, or a text cannot be kept.
        """
        _require_one_of("word", self.word, get_args(Saying))
        require_text("who", self.who)
        require_text("defect_type", self.defect_type)
        require_text("note", self.note, LONGEST_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model the station has loaded; its row stays as long as the history.

    Attributes:
        id: First 16 hexadecimal digits of the sha256 of the file that was loaded.
        name: Of that file.
        path: The station's own copy, below its folder.
        loaded_at: When.
        loaded_by: Who.
        state: What it does now.
        detector: Its method.
        categories: What it was trained on.
        muad: The release that trained it.
    """

    id: str
    name: str
    path: str
    loaded_at: datetime
    loaded_by: str
    state: ModelState
    detector: str
    categories: tuple[str, ...] = ()
    muad: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changed what, and why; never edited, never deleted.

    Attributes:
        id: Its own; the order of time.
        at: When.
        who: Name of the token.
        kind: What kind of thing.
        subject: Which one, such as `bolt.reject`.
        old: Its value before, or None.
        new: Its value since, or None.
        reason: In the person's words, or None.
    """

    id: str
    at: datetime
    who: str
    kind: ChangeKind
    subject: str
    old: str | None = None
    new: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            ConfigError: The kind is unknown, or a text cannot be kept.
        """
        _require_one_of("kind", self.kind, get_args(ChangeKind))
        require_text("who", self.who)
        require_text("subject", self.subject, LONGEST_TEXT)
        require_text("reason", self.reason, LONGEST_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSignal:
    """A quantity that has left what the calibration showed.

    Attributes:
        id: Its own.
        station: Where.
        judged_as: Of which product; None for all.
        quantity: What drifts, such as `score` or `brightness`.
        direction: Which way.
        began_at: When it began, as far as can be told.
        raised_at: When it was noticed.
        inspections: After how many parts.
        statistic: What the test had come to.
        threshold: What it must exceed.
        parts: Ids of inspections that show it.
        ended_at: When it was over, or None.
        note: Why it was over, or None.
    """

    id: str
    station: str
    judged_as: str | None
    quantity: str
    direction: Direction
    began_at: datetime
    raised_at: datetime
    inspections: int
    statistic: float
    threshold: float
    parts: tuple[str, ...] = ()
    ended_at: datetime | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            ConfigError: A text or time cannot be kept.
        """
        for name in ("station", "judged_as", "quantity"):
            require_text(name, getattr(self, name))
        require_text("note", self.note, LONGEST_TEXT)
        require_time("began_at", self.began_at)
        require_time("raised_at", self.raised_at)
