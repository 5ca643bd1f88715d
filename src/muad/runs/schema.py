"""What the files of a run folder must hold, stated once: everything read from one is checked here and nowhere else.

A wrong type or value is one line that names the file and the key. Keys that are not known are left alone: they are
those of a newer release, and `format_version` says whether this one may read the file at all. Files made to be edited
by hand, `config.toml` and `limits.toml`, are stricter and have their own readers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError, with_config

from muad.errors import CheckpointError
from muad.runs.faults import constraint_of

_SHOWN = 60  # characters of a wrong value
_Schema = TypeVar("_Schema")
_adapters: dict[type, TypeAdapter[Any]] = {}
checked = with_config(ConfigDict(extra="ignore", allow_inf_nan=False))

# Nothing is converted but lists, which JSON has for tuples.
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Number = Annotated[float, Strict()]
Name = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Strict(), Field(ge=1)]
Size = tuple[Side, Side]
Steps = Annotated[int, Strict(), Field(ge=1)]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class GitFacts:
    """The state of the code a run was made by."""

    commit: str
    dirty: Flag


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """Whose frozen weights a run uses."""

    name: str
    fingerprint: str
    licence: str
    source: str


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class SideEncoderFacts:
    """One of several encoders side by side; the fingerprint is that of all together."""

    name: str
    licence: str
    source: str


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """`run.json`; version 1 and imported runs lack much of it."""

    format_version: Whole
    mode: Literal["multi_class", "per_category"]
    categories: Mapping[Name, Count] = field(default_factory=dict)
    calibration: Mapping[Name, Count] = field(default_factory=dict)
    data: str | None = None
    layout: str | None = None
    data_hash: str | None = None
    seed: Whole | None = None
    shots: Count | None = None
    shots_seed: Count | None = None
    created: str | None = None
    processes: Count | None = None
    threads: Count | None = None
    precision: str | None = None
    device: str | None = None
    platform: str | None = None
    muad: str | None = None
    python: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    git: GitFacts | None = None
    encoder: EncoderFacts | None = None
    encoders: tuple[SideEncoderFacts, ...] = ()
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    map_scale: tuple[Number, Number] | None = None
    imported_from: str | None = None
    recipe: str | None = None
    changed_settings: tuple[str, ...] | None = None
    patch_px: Side | None = None
    finished: Flag = False

    def __post_init__(self) -> None:
        if self.mode == "per_category" and not self.categories:
            raise ValueError("categories must name those with a detector in mode per_category, got none")
        if self.map_scale is not None and self.map_scale[0] > self.map_scale[1]:
            raise ValueError(f"map_scale must be two rising numbers, got {list(self.map_scale)}")


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """`state.json` of a checkpoint.

    Attributes:
        step: Optimizer steps taken.
        fingerprint: Of the frozen encoder.
        optimizer: Numbers of its state by parameter; None for a finished run.
        digests: Of the tensor files beside it; empty before releases wrote them.
    """

    step: Count
    fingerprint: str
    optimizer: Mapping[str, Mapping[str, Flag | Whole | Number]] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


Digests = Mapping[str, Mapping[str, str]]  # names of files may be no text here, so they are held to nothing


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesFacts:
    """`images.json`: digests of images by category and name.

    Attributes:
        alike: By category, names of images kept for calibration that show the same; None before releases wrote it.
        objects: Part and view by name, where both are known.
        object_rule: The rule that said so; empty where the data set did.
    """

    format_version: Literal[1]
    data: str
    layout: str
    training: Digests
    calibration: Digests
    alike: Mapping[str, tuple[tuple[str, ...], ...]] | None = None
    set_aside: Digests = field(default_factory=dict)
    calibrated: Digests = field(default_factory=dict)
    pixels: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    object_rule: str = ""


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFacts:
    """What `calibration.json` says of one category's images; older releases did not count them apart from scores."""

    scores: tuple[Number, ...]
    map_peaks: tuple[Number, ...]
    data_hash: str
    source: str
    created: str
    images: Count | None = None
    folds: Count = 0

    def __post_init__(self) -> None:
        for name in ("scores", "map_peaks"):
            values = getattr(self, name)
            if list(values) != sorted(values):
                raise ValueError(f"{name} must rise, got others")
        if len(self.scores) != len(self.map_peaks):
            raise ValueError(f"map_peaks must be as many as scores, {len(self.scores)}, got {len(self.map_peaks)}")


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScoredFacts:
    """What `calibration.json` says of the parts of one category."""

    views: tuple[Name, ...]
    scores: Mapping[Literal["mean_top", "max"], ScoredFacts]

    def __post_init__(self) -> None:
        if len(self.scores) < 2 or not self.views:
            raise ValueError("objects must hold views, and scores by mean_top and max")


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRulesFacts:
    """How photographs become parts."""

    grouping: str
    score: Literal["mean_top", "max"]


Share = Annotated[float, Strict(), Field(gt=0, lt=1)]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFacts:
    """`calibration.json`."""

    format_version: Literal[1]
    muad: str
    weights: str
    limits_digest: str
    false_alarm_rate: Share
    review_rate: Share
    confidence: Share
    sure: Flag
    good: Mapping[str, ScoredFacts]
    bad: Mapping[str, ScoredFacts] = field(default_factory=dict)
    cross_fit: Mapping[str, ScoredFacts] = field(default_factory=dict)
    objects: Mapping[str, ObjectScoredFacts] = field(default_factory=dict)
    object_rules: ObjectRulesFacts | None = None


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """`digests.json` of an exported network."""

    digests: Mapping[Name, str]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """`probe.json`: which probe the runs of a folder are of."""

    encoder: str
    steps: Whole
    image_px: Whole
    data_hash: str


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsFacts:
    """`products.toml`.

    Attributes:
        unknown_rate: Share of good photographs that may be called unknown; may be edited.
        encoder_fingerprint: Of the encoder that looked at them.
        tensors_digest: Of the tensor file beside it; None before releases wrote it.
        format_version: Of both files.
        doubts: By category, why it is not recognised safely.
    """

    unknown_rate: Number
    encoder_fingerprint: str
    tensors_digest: str | None = None
    format_version: Count = 1
    doubts: Mapping[Name, str] = field(default_factory=dict)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class NamingFacts:
    """`naming.json`.

    Attributes:
        data_hash: Of the images, as in `evaluation.json`.
        names: By kind of photograph, how many were named `right`, `unknown` and `misnamed`.
    """

    data_hash: str
    names: Mapping[Literal["good", "bad", "strangers"], Mapping[Literal["right", "unknown", "misnamed"], Count]]

    def __post_init__(self) -> None:
        if any(len(counts) < 3 for counts in self.names.values()):
            raise ValueError("names must hold right, unknown and misnamed of every kind")


def read_json(path: Path, kind: type[_Schema], remedy: str) -> tuple[_Schema, dict[str, Any]]:
    """A JSON file of a run folder, checked; also as it stands there, keys of newer releases included.

    Args:
        path: The file.
        kind: What it must hold.
        remedy: What a user may do about a damaged one, as a sentence.

    Raises:
        CheckpointError: It cannot be read, or holds something else; the message names file and key.
    """
    values = parse_json(path, remedy)
    return check(path, values, kind, remedy), values


def parse_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON file that holds an object, as it is.

    Raises:
        CheckpointError: It cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"{_shown(values)} instead of an object")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} must be readable, got {path} ({error}). {remedy}") from None
    return values


def check(path: Path, content: Mapping[str, Any], kind: type[_Schema], remedy: str) -> _Schema:
    """The content of a file of a run folder as what it must be.

    Args:
        path: Where it was read, for the message.
        content: As it was parsed.
        kind: What it must be.
        remedy: What a user may do, as a sentence.

    Raises:
        CheckpointError: It is something else; the message names file and key.
    """
    try:
        return _adapter(kind).validate_python(content)
    except ValidationError as error:
        fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    if fault["type"] == "value_error":
        where = f"{key}." if key else ""
        raise CheckpointError(f"{path.name}: {where}{fault['ctx']['error']}, in {path}. {remedy}")
    if fault["type"] == "missing" and not isinstance(fault["loc"][-1], int):
        raise CheckpointError(f"{path.name} must hold {key!r}, got {path} without it. {remedy}")
    raise CheckpointError(
        f"{path.name}: {key} must be {constraint_of(fault)}, got {_shown(fault['input'])}, in {path}. {remedy}"
    )


def _adapter(kind: type[_Schema]) -> TypeAdapter[_Schema]:
    """Making one takes longer than most files, so each is kept."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
