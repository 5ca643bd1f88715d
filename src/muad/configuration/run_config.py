"""What a run is made of: the resolved configuration, read from TOML recipes and checked before anything is computed."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError

from muad.configuration.recipe_files import recipe_text
from muad.detectors.base import DetectorConfig, FittingDetector
from muad.detectors.registry import detector_class, loadable_detectors
from muad.encoders.encoder import EncoderConfig
from muad.errors import MOST_STEPS, ConfigError
from muad.images.settings import ImagesConfig
from muad.metrics.published import Published
from muad.runs.faults import explain

Precision = Literal["auto", "32-true", "bf16-mixed"]
Mode = Literal["multi_class", "per_category"]
Cache = Literal["auto", "off", "memory", "disk"]
Augmentation = Literal["none", "few_shot"]
Recording = Literal["auto", "off", "graph", "compiled"]
OptimizerKind = Literal["stable_adamw", "adamw", "adam", "sgd"]
DEFAULT_DETECTOR = "dinomaly"
# Who names an encoder, or several, means it in place of those that were named before.
_REPLACED = {"detector.encoders": "encoder", "detector.encoder.name": "encoders"}
_STRICT: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """Optimizer and gradient clipping; a detector may set some of it otherwise for a group of its weights.

    Attributes:
        kind: `stable_adamw`, Dinomaly's; or torch's `adamw`, `adam` or `sgd`.
        lr: Peak learning rate.
        betas: Decay of the two moments; not of `sgd`.
        eps: Added to the denominator; not of `sgd`.
        weight_decay: Of every trainable tensor: decoupled, but added to the gradient by `adam` and `sgd`.
        amsgrad: Use the largest second moment seen; not of `sgd`.
        momentum: Of `sgd`.
        clip_threshold: RMS of a tensor's scaled gradient above which `stable_adamw` damps its step.
        clip_norm: Largest global gradient norm; 0 to leave gradients as they are.
        skip_nonfinite: Leave out steps whose gradient is not finite, count and name them, and go on; else training
            stops there.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: OptimizerKind = "stable_adamw"
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-10
    weight_decay: float = 1e-4
    amsgrad: bool = True
    momentum: float = 0.9
    clip_threshold: float = 1.0
    clip_norm: float = 0.1
    skip_nonfinite: bool = False

    def __post_init__(self) -> None:
        # Without eps a tensor whose gradient is 0, such as the key bias under a softmax, would become NaN.
        for name, most in (("lr", 100), ("eps", 1), ("clip_threshold", 1e6)):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"optim.{name} must be above 0 and at most {most:g}, got {getattr(self, name)}.")
        for name, most in (("weight_decay", 100), ("clip_norm", 1e6)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"optim.{name} must be from 0 to {most:g}, got {getattr(self, name)}.")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"optim.momentum must be from 0 to below 1, got {self.momentum}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas must be from 0 to below 1, got {list(self.betas)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """Linear warm-up, then half a cosine, one drop, or nothing more.

    Attributes:
        kind: `warmup_cosine` falls to `final_lr`; `drop` falls to `final_lr` at once, late; `constant` stays at
            `optim.lr`.
        total_steps: Optimizer steps of the run.
        warmup_steps: Steps of the rise from 0.
        final_lr: Learning rate the cosine ends at, or that after the drop.
        drop_at: Share of the run after which the drop comes.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: Literal["warmup_cosine", "drop", "constant"] = "warmup_cosine"
    total_steps: int = 10_000
    warmup_steps: int = 100
    final_lr: float = 2e-4
    drop_at: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.total_steps <= MOST_STEPS:
            raise ConfigError(f"schedule.total_steps must be from 1 to {MOST_STEPS}, got {self.total_steps}.")
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ConfigError(
                f"schedule.warmup_steps must be from 0 to schedule.total_steps {self.total_steps}, "
                f"got {self.warmup_steps}."
            )
        if not 0 <= self.final_lr <= 100:
            raise ConfigError(f"schedule.final_lr must be from 0 to 100, got {self.final_lr}.")
        if not 0 <= self.drop_at <= 1:
            raise ConfigError(f"schedule.drop_at must be from 0 to 1, got {self.drop_at}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How the run is carried out.

    Attributes:
        mode: One detector for all categories, or one each.
        batch_size: Images per optimizer step over all processes together.
        accumulate: Parts each process computes its images in, one after the other, to save memory. Losses are those of
            the whole batch; batch norm sees a part at a time.
        ema_decay: Share that a step leaves of the running mean of weights that predicts; 0 to predict with the last
            weights.
        shots: Good training images drawn of each category; the others are set aside, and nothing is done with them. 0
            takes all.
        shots_seed: Of that draw. One of eight images holds the one of four.
        augmentation: `few_shot`: every step sees its images cropped, turned by a multiple of 90 degrees and mirrored at
            random, as Dinomaly2 does with few photographs; features cannot be kept then.
        calibration_share: Part of each category's good images kept out of training, to set limits on: of few images up
            to a third, until there are the 19 that a limit at 5 % needs, and none of fewer than 10. 0 keeps none.
        seed: Initialisation, data order and noise are functions of it.
        precision: `auto` is bf16-mixed where the device has bf16 units, else 32-true.
        log_every_steps: Distance between lines of metrics.jsonl.
        save_every_steps: Distance between checkpoints.
        skip_bad: Leave unreadable training images out and name them, instead of stopping.
        image_cache_mib: Memory for decoded images, so that each file is decoded once if they fit.
        cache: Where features of the frozen encoder are kept so that each image is encoded once; `auto` takes memory
            if they fit, else disk.
        recording: On one graphics card a step is recorded once and replayed; `compiled` also fuses its operations,
            which takes a minute at the start, so that `auto` does it from 3,000 steps on.
        tensorboard: Also write TensorBoard events into the run folder.
        mlflow: Also log to MLflow: to mlflow.db in the working directory, or where MLFLOW_TRACKING_URI says.
        wandb: Also log to Weights & Biases: kept in the run folder, or sent if WANDB_MODE is online.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    mode: Mode = "multi_class"
    batch_size: int = 16
    accumulate: int = 1
    ema_decay: float = 0.0
    shots: int = 0
    shots_seed: int = 1
    augmentation: Augmentation = "none"
    calibration_share: float = 0.0
    seed: int = 1
    precision: Precision = "auto"
    log_every_steps: int = 10
    save_every_steps: int = 500
    skip_bad: bool = False
    image_cache_mib: int = 2048
    cache: Cache = "auto"
    recording: Recording = "auto"
    tensorboard: bool = False
    mlflow: bool = False
    wandb: bool = False

    def __post_init__(self) -> None:
        mosts = {
            "batch_size": 2**20,
            "accumulate": 2**20,
            "log_every_steps": MOST_STEPS,
            "save_every_steps": MOST_STEPS,
        }
        for name, most in mosts.items():
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"training.{name} must be from 1 to {most}, got {getattr(self, name)}.")
        if not 0 <= self.calibration_share <= 0.8:
            raise ConfigError(f"training.calibration_share must be from 0 to 0.8, got {self.calibration_share}.")
        if not 0 <= self.image_cache_mib <= 2**30:
            raise ConfigError(f"training.image_cache_mib must be from 0 to 2^30, got {self.image_cache_mib}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training.ema_decay must be from 0 to below 1, got {self.ema_decay}.")
        for name in ("seed", "shots_seed"):
            if not 0 <= getattr(self, name) < 2**63:
                raise ConfigError(f"training.{name} must be from 0 to below 2^63, got {getattr(self, name)}.")
        if not 0 <= self.shots <= 2**31:
            raise ConfigError(f"training.shots must be from 0 to 2^31, got {self.shots}.")
        if self.augmentation != "none" and self.cache in ("memory", "disk"):
            raise ConfigError(
                f"training.cache must be 'auto' or 'off' with training.augmentation, got {self.cache!r}: every step "
                "sees its images otherwise, so no features of them can be kept."
            )


def _default_detector() -> DetectorConfig:
    return detector_class(DEFAULT_DETECTOR).settings()  # type: ignore[call-arg]  # each has defaults for all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run; the defaults are the authors' for MVTec AD, one model for all categories.

    Attributes:
        detector: What is trained.
        optim: How its weights move.
        schedule: How fast, over how many steps.
        training: How the run is carried out.
        images: How photographs are prepared.
        published: Numbers to compare with, for recipes of published results.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    detector: DetectorConfig = field(default_factory=_default_detector)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    published: Published = field(default_factory=Published)

    def __post_init__(self) -> None:
        if self.training.accumulate > 1 and (reason := self.detector.needs_whole_batch):
            raise ConfigError(
                f"training.accumulate must be 1 with {reason}, got {self.training.accumulate}. Turn that off, or take "
                "a smaller training.batch_size."
            )
        if self.training.augmentation != "none":
            self._require_augmentable()

    def _require_augmentable(self) -> None:
        """Refuse an augmentation of images that are looked at once, or that do not keep their shape when turned."""
        if issubclass(detector_class(self.detector.name), FittingDetector):
            raise ConfigError(
                f"training.augmentation must be 'none' for {self.detector.name}, which takes no steps, got "
                f"{self.training.augmentation!r}. Of patchcore, detector.turns remembers turned photographs."
            )
        height, width = self.detector.crop_px
        if height != width:
            raise ConfigError(
                f"detector.crop_px must be square with training.augmentation, which turns images by 90 degrees, got "
                f"{height} x {width}."
            )

    @property
    def encoders(self) -> tuple[EncoderConfig, ...]:
        """The frozen encoder of a detector, or all of one that has several side by side; none of one without."""
        found = (getattr(self.detector, "encoder", None), *getattr(self.detector, "encoders", ()))
        return tuple(encoder for encoder in found if isinstance(encoder, EncoderConfig))

    @property
    def encoder(self) -> EncoderConfig | None:
        """The frozen encoder of a detector with one; None without one, or with several."""
        return self.encoders[0] if len(self.encoders) == 1 else None

    @property
    def encoder_name(self) -> str | None:
        """Name of the frozen encoder, or of all; None without one."""
        return " + ".join(encoder.name for encoder in self.encoders) or None

    @property
    def patch_px(self) -> int:
        """Side of a patch of the encoder, of several the largest, to tell sizes of defects by.

        Without an encoder it is that of the bundled one, which is as good a measure.
        """
        return max(encoder.family().patch_px for encoder in self.encoders or (EncoderConfig(),))


def load_config(recipe: str | Path | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """The configuration of a recipe with `section.key=value` overrides applied; without a recipe, the defaults.

    Raises:
        ConfigError: Unreadable recipe, unknown key, or a value outside its range; the message names the key's path.
    """
    try:
        values = tomllib.loads(recipe_text(recipe)) if recipe is not None else {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe must be valid TOML, got {recipe}: {error}.") from None
    return parse_config(override(values, overrides))


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Check plain values and turn them into a configuration.

    Nothing is converted: a number in quotes, or `true` for 1, is a mistake to report, not to repair.

    Raises:
        ConfigError: Unknown key, wrong type, or a value outside its range.
    """
    named = dict(values)
    detector = named.setdefault("detector", {})
    name = DEFAULT_DETECTOR
    if isinstance(detector, Mapping):
        named["detector"] = {"name": name, **detector}
        name = named["detector"]["name"]
    settings = detector_class(name).settings
    # As JSON, because only there a strict check takes lists for tuples and text for paths.
    text = json.dumps(named, default=str)
    try:
        checked: Any = _adapter(_tree((settings,))).validate_json(text, strict=True)
        return RunConfig(**{entry.name: getattr(checked, entry.name) for entry in dataclasses.fields(RunConfig)})
    except ValidationError as fault:
        # Said against all detectors there are, so that a setting of another one is known for what it is.
        every = settings_tree()
        try:
            _adapter(every).validate_json(text, strict=True)
        except ValidationError as error:
            raise ConfigError(explain(error, every)) from None
        raise ConfigError(explain(fault, _tree((settings,)))) from None


def settings_tree() -> type:
    """A dataclass like `RunConfig` whose detector is any that can be imported, to list and explain settings."""
    return _tree(tuple(detector.settings for detector in loadable_detectors()))


@cache
def _tree(detectors: tuple[type[DetectorConfig], ...]) -> type:
    """A dataclass like `RunConfig` whose detector is one of these."""
    hints = get_type_hints(RunConfig)
    choice: Any = reduce(or_, detectors)
    hints["detector"] = Annotated[choice, Field(discriminator="name")] if len(detectors) > 1 else choice
    tree = dataclasses.make_dataclass(
        "RunConfig",
        [
            (entry.name, hints[entry.name], field(default_factory=entry.default_factory))
            for entry in dataclasses.fields(RunConfig)
        ],
        kw_only=True,
    )
    tree.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    return tree


@cache
def _adapter(tree: type) -> TypeAdapter[Any]:
    return TypeAdapter(tree)


def override(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Values with `section.key=value` settings applied; a value is TOML, and a bare word is a string."""
    result = _copy(values)
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"override must look like section.key=value, got {text!r}.")
        *sections, key = path.strip().split(".")
        table = result
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"override must name a key, got {path!r}: {section!r} holds a value, not a section.")
        table[key] = _toml_value(value.strip())
        replaced = _REPLACED.get(".".join((*sections, key)))
        if replaced is not None:
            result["detector"].pop(replaced, None)
    return result


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain values without the unset ones: what `parse_config` takes back."""
    return plain_values(dataclasses.asdict(config))  # type: ignore[no-any-return]


def config_to_toml(config: RunConfig) -> str:
    """The configuration as a recipe file."""
    return tomli_w.dumps(config_to_dict(config))


def plain_values(value: Any) -> Any:  # noqa: ANN401
    """What a recipe can say: no unset values and no empty tables, lists for tuples, text for paths."""
    if isinstance(value, dict):
        return {key: plain_values(entry) for key, entry in value.items() if entry is not None and entry != {}}
    if isinstance(value, (list, tuple)):
        return [plain_values(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _toml_value(text: str) -> Any:  # noqa: ANN401
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text
