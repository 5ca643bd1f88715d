"""Settings for a data set nobody wrote a recipe for."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from muad.calibration.share import LEAST_IMAGES
from muad.configuration.run_config import (
    Mode,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    TrainingConfig,
    config_to_dict,
    override,
    parse_config,
)
from muad.detectors import DiffusionAdConfig, DinomalyConfig, PatchCoreConfig, detector_class
from muad.detectors.base import DetectorConfig, FittingDetector
from muad.encoders.encoder import EncoderConfig
from muad.encoders.packages import is_installed
from muad.nn.denoiser import DenoiserConfig
from muad.wording import counted

if TYPE_CHECKING:
    import torch

    from muad.types import Catalog

# Sides that are multiples of both patch sizes in use, 14 and 16, so that any encoder takes them.
_CPU_PX = 224
_GPU_PX = 448
# The packaged encoder's own: its table of positions needs no resampling, and defects are found better than at 224 px.
_PACKAGED_CPU_PX = 280
_SHARE = 0.2  # of good images, for calibration
# Measured best without a foundation encoder (rule: docs/default-detector.md): a memory of patches of two encoders,
# at the size where both have whole patches. A search in so many patches takes about as long as encoding the image.
_SIDE_BY_SIDE = ("muad-tiny", "efficientnet-lite2")
_MEMORY_PX = 504
_PLACES, _FINEST_PX = 36, 8  # of a side, for a smaller image as for that one; down to the stride of the finest stage
_REMEMBERED, _CANDIDATES = 6_000, 16_000  # patches of all categories together; of each, among which is chosen
_FOUNDATION = (
    "; an encoder of DINOv2 finds more, at a larger cost: --encoder dinov2-reg-base trains Dinomaly on it "
    "(docs/encoders.md)"
)


def choose_config(catalog: Catalog, device: torch.device, asked: Mapping[str, Any]) -> RunConfig:
    """A configuration for this data and device, without what was asked for beyond detector and length.

    Args:
        catalog: The data.
        device: What it will be trained on.
        asked: The user's own settings; `detector.name`, `detector.encoder.name` and `schedule.total_steps` decide
            about others.
    """
    steps = _asked_for(asked, "schedule.total_steps")
    length = steps if isinstance(steps, int) and steps > 0 else None
    name = _asked_for(asked, "detector.name")
    counts = trained_counts(catalog, _asked_for(asked, "training.shots"))
    if name in (None, "patchcore") and _suits_memory(asked):
        return _memory(counts, _asked_for(asked, "detector.crop_px"), _asked_for(asked, "detector.turns"))
    if name == "diffusion_ad":
        return _diffusion_ad(counts, device, length)
    if name not in (None, "dinomaly"):
        return _suggested(name, counts, device, length)
    packaged = _asked_for(asked, "detector.encoder.name") in (None, EncoderConfig().name)
    cpu_px = _PACKAGED_CPU_PX if packaged else _CPU_PX
    return _dinomaly(counts, device, cpu_px, length)


def trained_counts(catalog: Catalog, shots: object) -> Counter[str]:
    """Good images of each category that a run trains on or keeps: all, or so many of each where a few are drawn."""
    counts = Counter(record.category for record in catalog.select(split="train"))
    if isinstance(shots, int) and shots > 0:
        return Counter({name: min(count, shots) for name, count in counts.items()})
    return counts


def adapt_config(catalog: Catalog, device: torch.device, overrides: Iterable[str]) -> RunConfig:
    """The configuration chosen for this data and device, with `section.key=value` settings on top.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    settings = tuple(overrides)
    chosen = choose_config(catalog, device, override({}, settings))
    return parse_config(override(config_to_dict(chosen), settings))


def _suits_memory(asked: Mapping[str, Any]) -> bool:
    """Whether nothing was asked for that a memory of patches of the encoders at hand does not have.

    An encoder, a length or a setting of the optimizer is of a training, and so are settings of another detector.
    """
    detector = asked.get("detector", {})
    if not isinstance(detector, Mapping) or {"schedule", "optim"} & set(asked):
        return False
    return set(detector) <= {entry.name for entry in dataclasses.fields(PatchCoreConfig)} - {"encoder"}


def _memory(counts: Counter[str], asked_px: object, asked_turns: object) -> RunConfig:
    """PatchCore on the encoders that need no network; on the one in the package where the others are not installed."""
    categories = max(1, len(counts))
    side = (_MEMORY_PX, _MEMORY_PX)
    seen = _sides(asked_px) or side
    grid_px = min(max(min(seen) // _PLACES, _FINEST_PX), EncoderConfig().family().patch_px)
    looks = 1 + (len(asked_turns) if isinstance(asked_turns, list) else 0)
    places = max(1, counts.total() * looks * (seen[0] // grid_px) * (seen[1] // grid_px))
    share = min(1.0, _CANDIDATES * categories / places)
    detector = PatchCoreConfig(
        encoders=_SIDE_BY_SIDE if is_installed(_SIDE_BY_SIDE[1]) else (_SIDE_BY_SIDE[0],),
        resize_px=side,
        crop_px=side,
        grid_px=grid_px,
        coreset_fraction=share,
        candidate_fraction=share,
        most_patches=max(1, _REMEMBERED // categories),
        precision="auto",
    )
    return RunConfig(detector=detector, training=TrainingConfig(calibration_share=_share(counts)))


def _dinomaly(counts: Counter[str], device: torch.device, cpu_px: int, total_steps: int | None) -> RunConfig:
    """Dinomaly as published, but for what inspection wants otherwise.

    Unlike the published recipes it crops nothing away, so that a defect at the rim of a photograph is seen, samples the
    map where the patches are, and keeps the attention's normaliser from vanishing.
    """
    images = counts.total()
    side = _GPU_PX if device.type == "cuda" else cpu_px
    # The authors show each image about 44 times (MVTec AD, 10,000 steps); small sets need fewer looks than steps.
    longest = 10_000 if device.type == "cuda" else 1_000
    total_steps = total_steps or min(longest, max(300, round(images * 44 / 16 / 100) * 100))
    return RunConfig(
        detector=DinomalyConfig(
            resize_px=(side, side),
            crop_px=(side, side),
            attention_eps=1e-6,
            align_corners=False,
            easy_ramp_steps=max(1, total_steps // 10),
        ),
        schedule=ScheduleConfig(total_steps=total_steps, warmup_steps=min(100, total_steps // 10)),
        training=TrainingConfig(save_every_steps=max(50, total_steps // 10), calibration_share=_share(counts)),
    )


def _diffusion_ad(counts: Counter[str], device: torch.device, total_steps: int | None) -> RunConfig:
    """One detector per category, as published: in the authors' size on a GPU, elsewhere in one of some minutes."""
    if device.type == "cuda":
        total_steps = total_steps or 10_000
        detector = DiffusionAdConfig()
        optim = OptimConfig(kind="adamw", lr=1e-4, eps=1e-8, weight_decay=0.0, amsgrad=False, clip_norm=1.0)
        schedule = ScheduleConfig(total_steps=total_steps, warmup_steps=min(100, total_steps // 10), final_lr=1e-6)
        batch_size = 16
    else:
        total_steps = total_steps or 500
        detector = DiffusionAdConfig(
            resize_px=(128, 128),
            denoiser=DenoiserConfig(width=16, blocks_per_level=1, attention_levels=1),
            segmenter_width=16,
            segmenter_lr_factor=1.0,
            segmenter_swing_steps=0,
        )
        optim = OptimConfig(lr=1e-3, weight_decay=0.0, clip_norm=1.0)
        schedule = ScheduleConfig(total_steps=total_steps, warmup_steps=total_steps // 25, final_lr=1e-5)
        batch_size = 4
    mode: Mode = "per_category" if len(counts) > 1 else "multi_class"
    training = TrainingConfig(
        mode=mode,
        batch_size=batch_size,
        save_every_steps=max(50, total_steps // 10),
        calibration_share=_share(counts),
    )
    return RunConfig(detector=detector, optim=optim, schedule=schedule, training=training)


def _suggested(name: object, counts: Counter[str], device: torch.device, total_steps: int | None) -> RunConfig:
    """What a detector itself suggests for as many images, with what suits any of them."""
    own = detector_class(name).settings.suggest(counts.total(), device.type)
    values: dict[str, dict[str, Any]] = {"detector": {"name": name}, "training": {"calibration_share": _share(counts)}}
    for table, settings in own.items():
        values[table] = {**values.get(table, {}), **settings}
    if total_steps is not None:
        schedule = values.setdefault("schedule", {})
        if first := values["detector"].get("autoencoder_steps"):  # a first phase keeps its share of the run
            values["detector"]["autoencoder_steps"] = first * total_steps // schedule["total_steps"]
        schedule["total_steps"] = total_steps
        schedule["warmup_steps"] = min(schedule.get("warmup_steps", 100), total_steps // 10)
    return parse_config(values)


def _asked_for(asked: Mapping[str, Any], name: str) -> object:
    """One of the user's settings, None where it is not given; what is malformed is named when it is parsed."""
    value: object = asked
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _sides(asked: object) -> tuple[int, int] | None:
    """Height and width, where they were asked for and can be."""
    if isinstance(asked, list) and len(asked) == 2 and all(isinstance(side, int) and side > 0 for side in asked):
        return asked[0], asked[1]
    return None


def _share(counts: Counter[str]) -> float:
    """A share for calibration where at least one category has enough images to give it."""
    return _SHARE if max(counts.values(), default=0) >= LEAST_IMAGES else 0.0


def describe_choice(config: RunConfig, catalog: Catalog, device: torch.device) -> str:
    """One sentence that says what was chosen, and for what, after the user's own settings."""
    cores = f" with {os.cpu_count()} cores" if device.type == "cpu" else ""
    images, categories = trained_counts(catalog, config.training.shots).total(), len(catalog.categories)
    detector = config.detector
    height, width = detector.crop_px
    cropped = "nothing cropped" if detector.crop_px == detector.resize_px else "cropped"
    cropped += ", padded to keep the aspect ratio" if config.images.fit == "letterbox" else ""
    rows, columns = config.images.tiles
    cropped += f", {rows} x {columns} tiles of each image" if rows * columns > 1 else ""
    network = f"{detector.name} with encoder {config.encoder_name}" if config.encoders else detector.name
    if isinstance(detector, DinomalyConfig):
        network = f"encoder {detector.encoder.name}"
    elif isinstance(detector, DiffusionAdConfig):
        network = f"DiffusionAD of width {detector.denoiser.width}"
    one_look = issubclass(detector_class(detector.name), FittingDetector)
    length = "one look at" if one_look else f"{counted(config.schedule.total_steps, 'step')} of"
    each = ", one detector per category" if config.training.mode == "per_category" else ""
    share = config.training.calibration_share
    kept = f"; about {100 * share:g} % of them kept for calibration (of few up to a third)" if share else ""
    turned = f", each remembered at {len(turns)} more angles" if (turns := getattr(detector, "turns", ())) else ""
    gains = getattr(detector, "exposure_gains", ())
    whose = "half of them" if getattr(detector, "exposure_looks", "every") == "one" else "each"
    lit = f", {whose} remembered in {' and '.join(f'{gain:g}' for gain in gains)} times the light" if gains else ""
    return (
        f"no recipe named: {length} {'all images' if one_look else counted(config.training.batch_size, 'image')} at "
        f"{height} x {width} px ({cropped}), {network}{turned}{lit}{each}, chosen for {counted(images, 'good image')} "
        f"of {counted(categories, 'category')} on {device.type}{cores}{kept}"
        f"{_FOUNDATION if _is_memory(detector) else ''}"
    )


def _is_memory(detector: DetectorConfig) -> bool:
    return isinstance(detector, PatchCoreConfig) and detector.side_by_side[0].name == _SIDE_BY_SIDE[0]
