"""Checkpoints of the authors' Dinomaly code, turned into run folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from muad.checkpoint import build_detector, copy_tensors, create_run, save_checkpoint
from muad.config import RunConfig
from muad.errors import CheckpointError, ConfigError
from muad.nn.encoder import EncoderConfig
from muad.nn.encoder_families import VitLayout
from muad.nn.encoder_weights import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from muad.detectors import Detector

ENCODER_FILE = "encoder.safetensors"
_NAMED = {384: "dinov2-reg-small", 768: "dinov2-reg-base", 1024: "dinov2-reg-large"}


def official_name(name: str) -> str:
    """Name of one of our trainable tensors in the authors' checkpoints: their bottleneck is a list of one."""
    return name.replace("bottleneck.", "bottleneck.0.", 1) if name.startswith("bottleneck.") else name


def load_official_weights(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Copy trainable tensors in the authors' naming into a detector.

    Raises:
        CheckpointError: Lists every tensor that is missing, unexpected, or of another shape.
    """
    copy_tensors(tensors, {official_name(name): tensor for name, tensor in detector.trainable_state().items()})


def import_official(
    file: Path, run_dir: Path, config: RunConfig, *, heads: int | None = None, encoder_weights: Path | None = None
) -> RunConfig:
    """Make a run folder of a checkpoint of the authors' code.

    Width, depth, patch and registers are read from the file. The encoder it holds is kept in the run folder, so that
    the run needs nothing else; a file without one needs `encoder_weights` or the hub.

    Args:
        file: `.pth`, `.bin` or `.safetensors` with `bottleneck.0.*`, `decoder.N.*` and perhaps `encoder.*`.
        run_dir: Folder to write.
        config: Everything the file does not say: sizes, dropout, scoring.
        heads: Attention heads; width / 64 unless given.
        encoder_weights: Encoder file for a checkpoint without `encoder.*`.

    Returns:
        The configuration of the run.

    Raises:
        CheckpointError: Not such a file, or tensors that do not fit, listed.
        ConfigError: The number of heads does not divide the width.
    """
    tensors = read_tensors(file)
    encoder = {key.removeprefix("encoder."): t for key, t in tensors.items() if key.startswith("encoder.")}
    trainable = {key: t for key, t in tensors.items() if not key.startswith("encoder.")}
    probe = trainable.get("bottleneck.0.fc1.weight")
    if probe is None or probe.ndim != 2:
        raise CheckpointError(
            f"official checkpoint must hold bottleneck.0.fc1.weight, got {file.name} with "
            f"{', '.join(sorted(tensors)[:4]) or 'no tensors'}. Is it a state_dict of the authors' ViTill?"
        )
    width = probe.shape[1]
    heads = heads or max(1, width // 64)
    if width % heads:
        raise ConfigError(
            f"heads must divide the width {width}, got {heads}. Give the number the model was built with."
        )
    if encoder:
        run_dir.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in encoder.items()}, run_dir / ENCODER_FILE)
        encoder_config = EncoderConfig(
            name="custom", weights=run_dir / ENCODER_FILE, layout=_layout(encoder, width, heads)
        )
    elif width in _NAMED:
        encoder_config = EncoderConfig(name=_NAMED[width], weights=encoder_weights)
    else:
        raise CheckpointError(
            f"official checkpoint must hold its encoder or have width {', '.join(map(str, _NAMED))}, got {width}."
        )
    detector_config = dataclasses.replace(config.detector, encoder=encoder_config)
    config = dataclasses.replace(config, detector=detector_config)
    detector = build_detector(config)
    load_official_weights(detector, trainable)
    facts = {"mode": "multi_class", "imported_from": file.name, "fingerprint": detector.fingerprint, "finished": True}
    create_run(run_dir, config, facts)
    save_checkpoint(run_dir, config.schedule.total_steps, detector, None)
    return config


def _layout(encoder: Mapping[str, Tensor], width: int, heads: int) -> VitLayout:
    """Shape of the encoder in the file.

    Raises:
        CheckpointError: It is not a plain vision transformer.
    """
    try:
        blocks = {int(name.split(".")[1]) for name in encoder if name.startswith("blocks.")}
        registers = encoder["register_tokens"].shape[1] if "register_tokens" in encoder else 0
        return VitLayout(
            width=width,
            depth=max(blocks) + 1,
            heads=heads,
            patch_px=encoder["patch_embed.proj.weight"].shape[-1],
            registers=registers,
            class_token="cls_token" in encoder,
            layer_scale=any(name.endswith("ls1.gamma") for name in encoder),
            position_grid=round((encoder["pos_embed"].shape[1] - 1) ** 0.5),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"encoder in the official checkpoint must be a plain vision transformer, got one without {error}."
        ) from None
