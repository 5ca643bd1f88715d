"""`manifest.json` of a bundle: what is in it and what it was made from, stated once.

Whoever writes a bundle builds a `Manifest`, whoever opens one checks against it, and `json_schema` publishes it for
those who use neither (docs/bundle.schema.json). A key that is not known is left alone, as in a run folder: it is of a
newer release that may still be read. What may not be read has another `schema_version`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field, Strict, TypeAdapter

from muad.decisions.object_limits import ObjectLimits
from muad.decisions.object_scores import TOP_FRACTION
from muad.errors import LARGEST_PX, ConfigError
from muad.images.preprocessing import MIN_SIDE_PX, Fit, Preprocessing
from muad.runs.schema import Count, EncoderFacts, Name, Number, Size, Whole, checked

SCHEMA_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
NETWORKS, GOLDEN, RUN = "networks/", "golden/", "run/"
"""Where members lie: networks, golden samples, and the run folder's own small files."""
Precision = Literal["fp32", "bf16", "int8"]
Digest = Annotated[str, Strict(), Field(pattern="^[0-9a-f]{64}$")]
Pixels = Annotated[int, Strict(), Field(ge=1, le=LARGEST_PX)]
Parts = Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in the bundle.

    Attributes:
        sha256: Of its bytes.
        bytes: How many there are.
    """

    sha256: Digest
    bytes: Count


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorFacts:
    """What was trained.

    Attributes:
        name: Of the detector, as in a recipe.
        settings: The table `[detector]` with every default written out.
    """

    name: Name
    settings: Mapping[str, Any] = field(default_factory=dict)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingFacts:
    """How a photograph becomes views; regions of interest lie in `run/roi`.

    Attributes:
        resize_px: Height and width after resizing.
        crop_px: Height and width of the centre that is kept.
        mean: Subtracted per channel, for values in [0, 1].
        std: Divided by per channel.
        fit: `stretch` or `letterbox`.
        tiles: Rows and columns of tiles.
        tile_overlap: Share of a tile's side that its neighbour has too.
        value_range: Values that become black and white where a channel has more than 8 bits.
        interpolation: How views are resized.
    """

    resize_px: tuple[Pixels, Pixels]
    crop_px: tuple[Pixels, Pixels]
    mean: tuple[Number, Number, Number]
    std: tuple[Number, Number, Number]
    fit: Fit = "stretch"
    tiles: Size = (1, 1)
    tile_overlap: Number = 0.0
    value_range: tuple[Number, Number] | None = None
    interpolation: str = "bilinear, antialiased when shrinking, rows first (Pillow)"

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {list(self.std)}")
        if any(2 * side > MIN_SIDE_PX * kept for side, kept in zip(self.resize_px, self.crop_px, strict=True)):
            raise ValueError(
                f"crop_px must keep at least one in {MIN_SIDE_PX // 2} of resize_px {list(self.resize_px)}, of which "
                f"small photographs leave no pixel else, got {list(self.crop_px)}"
            )
        if self.tiles[0] * self.tiles[1] > 64 or not 0 <= self.tile_overlap <= 0.5:
            raise ValueError(f"tiles must be at most 64, overlapping by at most 0.5, got {list(self.tiles)}")
        try:
            self.as_preprocessing()
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from None

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> PreprocessingFacts:
        """The facts of a detector's preprocessing."""
        names = [entry.name for entry in dataclasses.fields(Preprocessing) if entry.name not in {"interest", "senses"}]
        return cls(**{name: getattr(preprocessing, name) for name in names})

    def as_preprocessing(self) -> Preprocessing:
        """The same at work, without regions of interest."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        values.pop("interpolation")
        return Preprocessing(**values)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """What turns a network's tensors into map and score.

    Attributes:
        kind: Its class in `muad.runtime.heads`.
        settings: What it is made of.
    """

    kind: Name
    settings: Mapping[str, Any] = field(default_factory=dict)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class CombineFacts:
    """What is computed from a network's outputs before its head.

    Attributes:
        kind: `cosine_distance`: of every output `encoded_k` to `decoded_k`, one minus their cosine along the last axis,
            norms held to at least 1e-8; the mean over the pairs.
        outputs: How many pairs there are.
        grid: Rows and columns the distances are laid out in.
        name: Of the tensor that comes out.
    """

    kind: Literal["cosine_distance"]
    outputs: Annotated[int, Strict(), Field(ge=1, le=64)]
    grid: tuple[Pixels, Pixels]
    name: Name = "distance"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """The members of a network; of a list, each part's outputs are the next one's inputs.

    Attributes:
        network: ONNX, from normalised images to the tensors that the head reads, by precision.
        complete: ONNX, from uint8 RGB views to map and score, by precision.
        openvino: As `network`, as OpenVINO's `.xml`; its `.bin` lies beside it.
    """

    network: Mapping[Precision, Parts]
    complete: Mapping[Precision, Parts] = field(default_factory=dict)
    openvino: Mapping[Precision, Parts] = field(default_factory=dict)

    @property
    def members(self) -> Iterator[str]:
        """Every member that is named."""
        for form in (self.network, self.complete, self.openvino):
            for parts in form.values():
                for part in parts:
                    yield part
                    if part.endswith(".xml"):
                        yield f"{part.removesuffix('.xml')}.bin"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """One detector.

    Attributes:
        input_px: Height and width of the views it takes.
        map_px: Height and width of its maps.
        batch: Whether it takes any number of images at once, or one.
        files: Where it is.
        outputs: Names of what `network` gives, in its order.
        lowered: Which part of several a lower precision is of; all others are float32.
        combine: What is computed from them first; None for nothing.
        head: What makes map and score of the result.
    """

    input_px: tuple[Pixels, Pixels]
    map_px: tuple[Pixels, Pixels]
    batch: Literal["dynamic", 1]
    files: NetworkFiles
    outputs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=256)]
    lowered: Literal["first", "last"] = "last"
    combine: CombineFacts | None = None
    head: HeadFacts

    def __post_init__(self) -> None:
        if "fp32" not in self.files.network:
            raise ValueError("files.network must hold fp32, which every machine can compute, got none")


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserFacts:
    """What tells products apart.

    Attributes:
        member: ONNX, from uint8 RGB photographs of `side_px` to tokens.
        input: Name of what it takes.
        output: Name of what it gives.
        side_px: Height and width.
        prefix: Tokens before the patches.
        fingerprint: Of the encoder the products were learned with.
    """

    member: Name
    input: Name
    output: Name
    side_px: Pixels
    prefix: Count
    fingerprint: Name


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFacts:
    """A sample to measure by: safetensors of `pixels`, `maps` and `scores`, computed by the run in float32.

    Attributes:
        member: Where it is.
        network: Which detector: a category, or empty for the one of all.
        category: What it shows.
    """

    member: Name
    network: str
    category: str | None = None


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenLimits:
    """How far a runtime may be off on golden samples before the approved figures hold no more.

    Attributes:
        map: Largest difference of a map's value.
        score: Largest difference of a score.
    """

    map: Annotated[float, Strict(), Field(ge=0)]
    score: Annotated[float, Strict(), Field(ge=0)]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """How parts of one category are judged.

    Attributes:
        views: Those that a part must have; without one of them it never passes.
        review: Scores of parts above it are for a person to look at; None for no limit.
        reject: Scores of parts above it are rejected, also of a part that lacks a view.
    """

    views: Annotated[tuple[Name, ...], Field(min_length=1)]
    review: Number | None = None
    reject: Number | None = None


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsFacts:
    """How photographs become parts, and parts are judged; `run/limits.toml` says the same, and is what counts.

    Attributes:
        grouping: `folder`, a pattern with `{object}` and `{view}`, or `manifest`: a list says.
        score: `mean_top`: mean of the largest share of all views' map values together; `max`: of the views' scores.
        top_fraction: That share.
        categories: By category.
    """

    grouping: str
    score: Literal["mean_top", "max"]
    top_fraction: Annotated[float, Strict(), Field(gt=0, le=1)]
    categories: Mapping[Name, PartFacts]

    @classmethod
    def of(cls, limits: ObjectLimits | None) -> ObjectsFacts | None:
        """The facts of limits in force; None without limits of parts."""
        if limits is None:
            return None
        return cls(
            grouping=limits.rules.grouping,
            score=limits.rules.score,
            top_fraction=TOP_FRACTION,
            categories={
                name: PartFacts(views=limits.views[name], review=own.review, reject=own.reject)
                for name, own in limits.categories.items()
            },
        )


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A limit that was changed in the bundle.

    Attributes:
        when: Time with time zone.
        what: Which, such as `screw.reject`.
        old: What it was; None for none.
        new: What it is; None for none.
        by: The verb that changed it.
    """

    when: str
    what: Name
    old: Number | None
    new: Number | None
    by: str = "limits"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All of it.

    Attributes:
        schema_version: Of this structure.
        muad: Release that wrote it.
        created: When it was made, with time zone.
        detector: What was trained.
        mode: One detector for all categories, or one each.
        categories: Training images by category; empty for an imported run that does not know.
        preprocessing: How photographs become views.
        encoders: Frozen weights in it, with their licences.
        data_hash: Of the training data.
        weights: Of the trained weights, as calibration names them.
        accuracy: The run's evaluation as it stands in `evaluation.json`; None for a run not evaluated.
        map_scale: Map values drawn as nothing and as fully anomalous.
        made_with: Versions of what exported it.
        members: Every file but this one.
        networks: By category, or one under the empty name.
        recogniser: What tells products apart; None where nothing was learned.
        golden: Samples to measure by.
        golden_limits: How far a runtime may be off on them in float32.
        lower_limits: The same in lower precisions, twice what they were off when they were approved; where it says
            nothing of one, as in float32.
        history: Limits that were changed since it was made, oldest first.
        objects: How parts of several views are judged; None where photographs are judged one by one.
    """

    schema_version: Whole
    muad: Name
    created: str
    detector: DetectorFacts
    mode: Literal["multi_class", "per_category"]
    categories: Mapping[Name, Count] = field(default_factory=dict)
    preprocessing: PreprocessingFacts
    encoders: tuple[EncoderFacts, ...] = ()
    data_hash: str | None = None
    weights: str = ""
    accuracy: Mapping[str, Any] | None = None
    map_scale: tuple[Number, Number] | None = None
    made_with: Mapping[str, str | None] = field(default_factory=dict)
    members: Mapping[Name, Member] = field(default_factory=dict)
    networks: Mapping[str, NetworkFacts]
    recogniser: RecogniserFacts | None = None
    golden: tuple[GoldenFacts, ...] = ()
    golden_limits: GoldenLimits | None = None
    lower_limits: Mapping[Precision, GoldenLimits] = field(default_factory=dict)
    history: tuple[LimitChange, ...] = ()
    objects: ObjectsFacts | None = None

    def __post_init__(self) -> None:
        wanted = {""} if self.mode == "multi_class" else set(self.categories)
        if set(self.networks) != wanted or not wanted:
            names = ", ".join(sorted(wanted)) or "the categories"
            raise ValueError(f"networks must be those of {self.mode} ({names}), got {', '.join(self.networks)}")
        for name in self.needed:
            if name not in self.members:
                raise ValueError(f"members must hold {name}, got none")
        for sample in self.golden:
            if sample.network not in self.networks:
                raise ValueError(f"golden must name networks of the bundle, got {sample.network!r}")
        if any(facts.input_px != self.preprocessing.crop_px for facts in self.networks.values()):
            raise ValueError("networks must take what preprocessing makes, got another input_px")

    def limits_of(self, precision: str) -> GoldenLimits | None:
        """How far a runtime may be off in a precision; None where nobody said."""
        return next((own for name, own in self.lower_limits.items() if name == precision), self.golden_limits)

    @property
    def needed(self) -> Iterator[str]:
        """Members without which it cannot be used."""
        yield from (f"{RUN}run.json", f"{RUN}config.toml")
        for facts in self.networks.values():
            yield from facts.files.members
        if self.recogniser is not None:
            yield self.recogniser.member
        for sample in self.golden:
            yield sample.member

    def to_json(self) -> dict[str, Any]:
        """Plain values for `manifest.json`."""
        plain: dict[str, Any] = TypeAdapter(Manifest).dump_python(self, mode="json")
        return plain


def json_schema() -> dict[str, Any]:
    """What `manifest.json` must hold, as JSON Schema."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(Manifest).json_schema()}
