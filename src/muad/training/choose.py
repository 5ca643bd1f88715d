"""Settings for a data set nobody wrote a recipe for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from muad.config import RunConfig, ScheduleConfig, TrainingConfig
from muad.detectors import DinomalyConfig

if TYPE_CHECKING:
    import torch

    from muad.types import Catalog

# Sides that are multiples of both patch sizes in use, 14 and 16, so that any encoder takes them.
_CPU_PX = 224
_GPU_PX = 448


def choose_config(catalog: Catalog, device: torch.device, total_steps: int | None = None) -> RunConfig:
    """A configuration for this data and device, of the length asked for or a sensible one.

    Unlike the published recipes it crops nothing away, so that a defect at the rim of a photograph is seen, samples the
    map where the patches are, and keeps the attention's normaliser from vanishing.
    """
    images = len(catalog.select(split="train"))
    side = _GPU_PX if device.type == "cuda" else _CPU_PX
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
        training=TrainingConfig(save_every_steps=max(50, total_steps // 10)),
    )


def describe_choice(config: RunConfig, catalog: Catalog, device: torch.device) -> str:
    """One sentence that says what was chosen, and for what, after the user's own settings."""
    cores = f" with {os.cpu_count()} cores" if device.type == "cpu" else ""
    images, categories = len(catalog.select(split="train")), len(catalog.categories)
    height, width = config.detector.crop_px
    cropped = "nothing cropped" if config.detector.crop_px == config.detector.resize_px else "cropped"
    return (
        f"no recipe named: {config.schedule.total_steps} steps of {config.training.batch_size} images at "
        f"{height} x {width} px ({cropped}), encoder {config.detector.encoder.name}, chosen for {images} good images "
        f"of {categories} categories on {device.type}{cores}"
    )
