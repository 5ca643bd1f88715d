"""What a run folder tells of its settings to those who build no detector: advice, reports, published figures.

`config.toml` holds every setting with its default written out, so nothing else is needed to say what was set.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from muad.images.preprocessing import Preprocessing
from muad.images.settings import ImagesConfig
from muad.metrics.published import Published
from muad.runs.folder import read_images_config, read_settings
from muad.runs.schema import Name, Size, Steps, check, checked

_RESTORE = "Restore it or train again."


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """The table `[detector.encoder]`.

    Attributes:
        name: Which frozen encoder.
    """

    name: Name


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """The table `[detector]`.

    Attributes:
        name: Which detector.
        resize_px: Height and width images are resized to.
        crop_px: Height and width of the centre that is looked at; None for all of it.
        encoder: Its frozen encoder, if it has one.
        encoders: Those of a detector that has several side by side.
    """

    name: Name
    resize_px: Size
    crop_px: Size | None = None
    encoder: EncoderSettings | None = None
    encoders: tuple[EncoderSettings, ...] = ()


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """The table `[schedule]`.

    Attributes:
        total_steps: Optimizer steps of the run.
    """

    total_steps: Steps


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What there is to tell.

    Attributes:
        detector: What was trained.
        schedule: For how long.
        published: Figures of the recipe's source.
        images: How photographs are prepared.
    """

    detector: DetectorSettings
    schedule: ScheduleSettings
    published: Published = field(default_factory=Published)
    images: ImagesConfig = field(default_factory=ImagesConfig)

    @property
    def looked_at_px(self) -> tuple[int, int]:
        """Height and width of what the detector sees of a view."""
        return self.detector.crop_px or self.detector.resize_px

    @property
    def encoder(self) -> str | None:
        """Name of the frozen encoder, or of all, for a detector that has any."""
        found = (self.detector.encoder, *self.detector.encoders)
        return " + ".join(encoder.name for encoder in found if encoder is not None) or None

    def views(self) -> Preprocessing:
        """Where in its views each part of a photograph comes to lie."""
        placed = Preprocessing(resize_px=self.detector.resize_px, crop_px=self.looked_at_px)
        return self.images.applied_to(placed)


def run_settings(run: Path) -> RunSettings:
    """What a run's `config.toml` tells.

    Raises:
        CheckpointError: No run there, or its file cannot be read.
        ConfigError: The table `[images]` holds what it must not.
    """
    tables = {name: table for name, table in read_settings(run).items() if name != "images"}
    told = check(run / "config.toml", tables, RunSettings, _RESTORE)
    return dataclasses.replace(told, images=read_images_config(run))
