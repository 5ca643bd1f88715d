"""Checkpoints of the authors' Dinomaly code, turned into run folders."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from muad.checkpoints.checkpoint import build_detector, copy_tensors, create_run, save_checkpoint
from muad.configuration.run_config import RunConfig
from muad.detectors import DinomalyConfig
from muad.encoders.encoder import EncoderConfig
from muad.encoders.tensors import write_tensors
from muad.encoders.weights import infer_layout, read_tensors
from muad.errors import CheckpointError, ConfigError, MuadError
from muad.runs.folder import usable_folder

if TYPE_CHECKING:
    from torch import Tensor

    from muad.detectors import Detector

ENCODER_FILE = "encoder.safetensors"
_OF_DINOMALY2 = {"narrow": "0.0", "fc1": "1.0", "fc2": "1.3"}
_NAMED = {384: "dinov2-reg-small", 768: "dinov2-reg-base", 1024: "dinov2-reg-large"}


def official_name(name: str, *, narrow: bool = False) -> str:
    """Name of one of our trainable tensors in the authors' checkpoints.

    Args:
        name: Ours.
        narrow: Whether the bottleneck begins with a narrow layer: it is then a list of two sequences, else of one MLP.
    """
    part, _, rest = name.partition(".")
    if part != "bottleneck":
        return name
    layer, _, kind = rest.partition(".")
    return f"bottleneck.{_OF_DINOMALY2[layer]}.{kind}" if narrow else f"bottleneck.0.{rest}"


def load_official_weights(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Copy trainable tensors in the authors' naming into a detector.

    Raises:
        CheckpointError: Lists every tensor that is missing, unexpected, or of another shape.
    """
    own = detector.trainable_state()
    narrow = "bottleneck.narrow.weight" in own
    copy_tensors(tensors, {official_name(name, narrow=narrow): tensor for name, tensor in own.items()})


def import_official(
    file: Path, run_dir: Path, config: RunConfig, *, heads: int | None = None, encoder_weights: Path | None = None
) -> RunConfig:
    """Make a run folder of a checkpoint of the authors' code.

    Width, depth, patch and registers are read from the file, blocks to tap from the configuration. The encoder it holds
    is kept in the run folder, so that the run needs nothing else; a file without one needs `encoder_weights` or the
    hub.

    Args:
        file: `.pth`, `.bin` or `.safetensors` with `bottleneck.N.*`, `decoder.N.*` and perhaps `encoder.*`.
        run_dir: Folder to write.
        config: Everything the file does not say: sizes, dropout, targets, scoring.
        heads: Attention heads; width / 64 unless given.
        encoder_weights: Encoder file for a checkpoint without `encoder.*`.

    Returns:
        The configuration of the run.

    Raises:
        CheckpointError: Not such a file, tensors that do not fit, listed, or a folder that is not empty.
        ConfigError: The number of heads does not divide the width, or the configuration is of the other Dinomaly or
            does not fit the encoder.
    """
    if usable_folder(run_dir).exists() and not (run_dir.is_dir() and not any(run_dir.iterdir())):
        raise CheckpointError(f"run folder must be new or empty, got {run_dir}, which is not. Name another.")
    if not file.is_file():
        raise CheckpointError(f"official checkpoint must be an existing file, got {file}.")
    tensors = read_tensors(file, "official checkpoint")
    encoder = {key.removeprefix("encoder."): t for key, t in tensors.items() if key.startswith("encoder.")}
    trainable = {key: t for key, t in tensors.items() if not key.startswith("encoder.")}
    narrow = trainable.get("bottleneck.0.0.weight")
    probe = trainable.get("bottleneck.0.fc1.weight") if narrow is None else narrow
    if probe is None or probe.ndim != 2:
        raise CheckpointError(
            "official checkpoint must hold bottleneck.0.fc1.weight, or that of Dinomaly2 bottleneck.0.0.weight, got "
            f"{file.name} with "
            f"{', '.join(sorted(tensors)[:4]) or 'no tensors'}. Is it a state_dict of the authors' ViTill?"
        )
    width = probe.shape[1]
    heads = heads or max(1, width // 64)
    if width % heads:
        raise ConfigError(
            f"heads must divide the width {width}, got {heads}. Give the number the model was built with."
        )
    detector_config = config.detector
    if not isinstance(detector_config, DinomalyConfig):
        raise ConfigError(f"recipe must be one of Dinomaly, got one of {detector_config.name}. Name another.")
    _require_same_bottleneck(detector_config, None if narrow is None else narrow.shape[0])
    given = detector_config.encoder
    if encoder and encoder_weights is not None:
        raise ConfigError(
            f"encoder weights must be left out for a checkpoint that holds its encoder, got {encoder_weights}."
        )
    if encoder:
        encoder_config = EncoderConfig(
            name="custom",
            weights=run_dir.absolute() / ENCODER_FILE,
            layout=infer_layout(encoder, heads),
            tap_layers=given.tap_layers,
            position_interpolation=given.position_interpolation,
        )
    elif width in _NAMED:
        encoder_config = EncoderConfig(
            name=_NAMED[width],
            weights=encoder_weights.absolute() if encoder_weights is not None else None,
            tap_layers=given.tap_layers,
            position_interpolation=given.position_interpolation,
        )
    else:
        raise CheckpointError(
            f"official checkpoint must hold its encoder or have width {', '.join(map(str, _NAMED))}, got {width}."
        )
    config = dataclasses.replace(config, detector=dataclasses.replace(detector_config, encoder=encoder_config))
    try:
        if encoder:
            _write_encoder(encoder, run_dir / ENCODER_FILE)
        detector = build_detector(config)
        load_official_weights(detector, trainable)
        save_checkpoint(run_dir, config.schedule.total_steps, detector, None)
        facts = {"mode": "multi_class", "imported_from": file.name, "patch_px": config.patch_px, "finished": True}
        create_run(run_dir, config, facts)
    except MuadError:
        shutil.rmtree(run_dir, ignore_errors=True)  # half a run would be in the way of the next attempt
        raise
    return config


def _require_same_bottleneck(config: DinomalyConfig, width: int | None) -> None:
    """Settings of one Dinomaly would give weights of the other a meaning they were not trained for."""
    if config.bottleneck_width != width:
        kind, recipe = ("Dinomaly", "dinomaly-mvtec") if width is None else ("Dinomaly2", "dinomaly2-mvtec")
        asked = "none" if config.bottleneck_width is None else config.bottleneck_width
        raise ConfigError(
            f"detector.bottleneck_width must be {'left out' if width is None else width} for a checkpoint of {kind}, "
            f"got {asked}. Name a recipe of {kind}, such as {recipe}."
        )


def _write_encoder(encoder: Mapping[str, Tensor], file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(encoder, file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file.name} must be writable, got {file} ({error}). Free space or name another."
        ) from None
