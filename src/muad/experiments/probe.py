"""Judge an encoder: the same short Dinomaly run and the same nearest-neighbour baseline for every candidate."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from muad.configuration.run_config import RunConfig, ScheduleConfig, TrainingConfig
from muad.datasets.content_hash import content_hash
from muad.datasets.index import open_catalog
from muad.detectors import DinomalyConfig, PatchCore, PatchCoreConfig
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import FAMILIES, TIMM_PREFIX
from muad.encoders.weights import infer_layout, read_tensors
from muad.errors import CheckpointError, ConfigError
from muad.evaluation.evaluate import Progress
from muad.evaluation.figures import evaluate_detector
from muad.metrics.report import METRIC_NAMES, Report
from muad.runs.folder import write_text
from muad.runs.schema import ProbeFacts, read_json
from muad.training import train_detector
from muad.training.batches import look_through
from muad.training.engine import launch

_BATCH_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was measured of one encoder.

    Attributes:
        encoder: As asked for.
        dinomaly: One report for each seed of the Dinomaly run.
        nearest_neighbour: The baseline's report; it has no seed worth repeating.
        steps: Length of each Dinomaly run.
        image_px: Side of the images.
    """

    encoder: str
    dinomaly: tuple[Report, ...]
    nearest_neighbour: Report
    steps: int
    image_px: int

    def to_json(self) -> dict[str, Any]:
        """Everything, and mean and spread over the seeds."""
        return {
            "encoder": self.encoder,
            "steps": self.steps,
            "image_px": self.image_px,
            "dinomaly": [report.to_json() for report in self.dinomaly],
            "dinomaly_mean": {name: spread(self.dinomaly, name) for name in METRIC_NAMES},
            "nearest_neighbour": self.nearest_neighbour.to_json(),
        }


def spread(reports: Sequence[Report], metric: str, category: str | None = None) -> tuple[float, float] | None:
    """Mean and sample standard deviation over seeds of one metric, of a category or of the mean over all."""
    values = [
        report.mean[metric] if category is None else report.categories[category].values()[metric] for report in reports
    ]
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def encoder_named(name: str) -> EncoderConfig:
    """The encoder of a known name, or of a weights file whose tensors tell its shape.

    Raises:
        ConfigError: Neither.
        CheckpointError: The file does not hold a vision transformer.
    """
    if name in FAMILIES or name.startswith(TIMM_PREFIX):
        return EncoderConfig(name=name)
    file = Path(name)
    if file.is_file():
        return EncoderConfig(name="custom", weights=file.absolute(), layout=infer_layout(read_tensors(file)))
    raise ConfigError(f"encoder must be a weights file or one of {', '.join(FAMILIES)}, got {name!r}.")


def probe_encoder(
    encoder: EncoderConfig,
    data: Path,
    *,
    name: str,
    seeds: int = 1,
    first_seed: int = 1,
    steps: int = 400,
    image_px: int = 224,
    out: Path | None = None,
    device: str = "auto",
    progress: Progress,
    note: Callable[[str], None],
) -> Probe:
    """Train and measure on all categories of a data set together.

    Args:
        encoder: The candidate.
        data: Data set with train and test split.
        name: What to call it in the result.
        seeds: How many Dinomaly runs.
        first_seed: Seed of the first; each after it has the next.
        steps: Length of each, at batch 16.
        image_px: Side of the images, a multiple of the patch; nothing is cropped.
        out: Folder to keep the runs in; those found there, of the same probe, are continued. Without one, none is kept.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: Called with what is being done, how much is done, how much there is, and a loss or None.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: `out` holds another probe, or a setting is out of range.
        CheckpointError: `out` cannot be written, or the encoder's weights cannot be had.
        DataError: The data set cannot be used as it is.
        KeyboardInterrupt: Ctrl-C; the runs in `out` are continued by the same call.
    """
    catalog = open_catalog(data)
    train, test = catalog.select(split="train"), catalog.select(split="test")
    detector = DinomalyConfig(
        encoder=encoder,
        resize_px=(image_px, image_px),
        crop_px=(image_px, image_px),
        attention_eps=1e-6,
        align_corners=False,
        easy_ramp_steps=max(1, steps // 10),
    )
    fabric = launch("auto", device=device)
    size = (image_px, image_px)
    baseline = PatchCore(PatchCoreConfig(encoder=encoder, resize_px=size, crop_px=size)).to(fabric.device)
    if out is not None:
        data_hash = content_hash([*train, *test], catalog.root)
        _claim(out, {"encoder": baseline.fingerprint, "steps": steps, "image_px": image_px, "data_hash": data_hash})
    save_every = steps if out is None else max(50, steps // 10)  # only what is kept is worth saving on the way
    reports = []
    with contextlib.nullcontext(out) if out is not None else tempfile.TemporaryDirectory() as folder:
        for seed in range(first_seed, first_seed + seeds):
            config = RunConfig(
                detector=detector,
                schedule=ScheduleConfig(total_steps=steps, warmup_steps=steps // 10),
                training=TrainingConfig(seed=seed, batch_size=_BATCH_SIZE, save_every_steps=save_every),
            )
            run_dir = Path(folder) / f"seed-{seed}"
            run_dir.mkdir(exist_ok=True)
            trained = train_detector(config, train, run_dir, fabric, progress=progress, note=note)
            reports.append(evaluate_detector(trained, test, progress=_evaluating(f"seed {seed}", progress)))
    looking = TrainingConfig(batch_size=_BATCH_SIZE)
    for category in catalog.categories:
        own = [record for record in train if record.category == category]
        told = _naming(category, progress)
        with torch.no_grad():
            baseline.fit(look_through(own, baseline, looking, progress=told, note=note), 0, lambda *_: None)
    nearest = evaluate_detector(baseline, test, progress=_evaluating("nearest neighbour", progress))
    return Probe(encoder=name, dinomaly=tuple(reports), nearest_neighbour=nearest, steps=steps, image_px=image_px)


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Say in `out` which probe its runs are of, or refuse if they are of another.

    Raises:
        ConfigError: They are of another.
        CheckpointError: The folder cannot be written, or what it says cannot be read.
    """
    file = out / "probe.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            write_text(file, json.dumps(settings, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"out must be a folder to write, got {out} ({error}). Name another.") from None
    before, _ = read_json(file, ProbeFacts, "Name another folder.")
    for name, value in settings.items():
        if getattr(before, name) != value:
            raise ConfigError(
                f"out must be new or hold the same probe, got {out}, whose {name} is {getattr(before, name)}, not "
                f"{value}. Name another folder."
            )


def _evaluating(name: str, progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"evaluate {name}", done, total, None)


def _naming(category: str, progress: Progress) -> Progress:
    return lambda _, done, total, loss: progress(f"remember {category}", done, total, loss)
