"""Every number recorded from the authors' ReContrast, through the code a user runs."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.recontrast import ReContrast, ReContrastConfig
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.nn.reverse_distillation import ResidualConfig

from .conftest import Recording, digest_error, image_batch, relative_error, require_gradients, require_steps

SYSTEM = "recontrast"
UNUSED = ("bottleneck.conv4.", "bottleneck.bn4.")  # in their code, never called


def official_name(name: str) -> str:
    """What the authors call one of our tensors."""
    owner, rest = name.split(".", 1)
    if owner == "trained":
        return f"encoder.{rest}"
    if match := re.fullmatch(r"outputs\.(\d)\.(\d)\.(\w+)", rest):
        return f"decoder.out{int(match[2]) + 1}.{match[1]}.{match[3]}"
    if match := re.fullmatch(r"shrink\.(\d)\.(\d)\.(\w+)", rest):
        layer, is_norm = divmod(int(match[2]), 3)
        return f"bottleneck.{'bn' if is_norm else 'conv'}{3 if match[1] == '1' else layer + 1}.{match[3]}"
    *stage, block, kind, number, last = re.sub(r"^(blocks|stages)\.", "", rest).split(".")
    place = f"decoder.layer{int(stage[0]) + 1}.{block}" if stage else f"bottleneck.bn_layer.{block}"
    if kind == "shortcut":
        return f"{place}.{'upsample' if stage else 'downsample'}.{number}.{last}"
    layer, is_norm = divmod(int(number), 3)
    return f"{place}.{'bn' if is_norm else 'conv'}{layer + 1}.{last}"


def blocks_of(names: set[str]) -> ResidualConfig:
    """The recorded blocks, as far as names tell."""
    decoder = (re.match(r"decoder\.layer(\d)\.(\d+)", name) for name in names)
    found = {(match[1], match[2]) for match in decoder if match}
    fusing = {match[1] for name in names if (match := re.match(r"bottleneck\.bn_layer\.(\d+)", name))}
    return ResidualConfig(
        kind="bottleneck" if "decoder.layer1.0.conv3.weight" in names else "basic",
        fusing_blocks=len(fusing),
        decoder_blocks=tuple(sum(stage == layer for layer, _ in found) for stage in "123"),
    )


BUILT: dict[str, ReContrast] = {}
"""By size and widths: a detector is built once, and its weights are remade for every test."""


@pytest.fixture
def detector(recording: Recording, tmp_path: Path) -> ReContrast:
    key = str(recording.facts)
    if key not in BUILT:
        BUILT[key] = build(recording, tmp_path)
    detector = BUILT[key]
    detector.zero_grad()
    recording.refill((official_name(name), tensor) for name, tensor in detector.trainable_state().items())
    return detector


def build(recording: Recording, tmp_path: Path) -> ReContrast:
    side, names = recording.number("size"), recording.under("step0.grad.")
    cnn = "resnet18" if "encoder.layer1.0.conv3.weight" not in names else "wide_resnet50_2"
    shape = ReContrast(config_of(side, set(names), EncoderConfig(name=f"random-{cnn}")))
    encoder = {name: torch.empty_like(tensor) for name, tensor in shape.trained.state_dict().items()}
    recording.refill((f"encoder.{name}", tensor) for name, tensor in encoder.items())
    save_file(encoder, tmp_path / "encoder.safetensors")
    given = EncoderConfig(name=cnn, weights=tmp_path / "encoder.safetensors")
    detector = ReContrast(config_of(side, set(names), given))
    alphas = [float(recording[f"step{step}.alpha"]) for step in recording.steps()]
    config = detector.config
    assert alphas[0] == config.hard_from
    ramp_steps = (config.hard_to - config.hard_from) / (alphas[1] - alphas[0])
    detector.total_steps = round(ramp_steps / config.hard_ramp_share)
    return detector


def config_of(side: int, names: set[str], encoder: EncoderConfig) -> ReContrastConfig:
    return ReContrastConfig(encoder=encoder, resize_px=(side, side), blocks=blocks_of(names))


def losses_of(recording: Recording, detector: ReContrast, step: int) -> Losses:
    return detector(image_batch(recording[f"step{step}.image"]), step)


def test_encoded_and_restored_stages_are_the_authors(recording: Recording, detector: ReContrast) -> None:
    encoded, decoded = detector.train().contrast(recording["step0.image"])
    for name, stages in (("encoded", encoded), ("decoded", decoded)):
        for number, stage in enumerate(stages):
            assert digest_error(stage, recording[f"step0.{name}.{number}"]) < 1e-5, (name, number)


def test_loss_and_gradients_are_the_authors(recording: Recording, detector: ReContrast) -> None:
    least = 1e-4 * max(float(one[0]) for one in recording.under("step0.grad.").values())
    losses = losses_of(recording, detector.train(), 0)
    require_gradients(recording, losses, detector, official_name, least)


def test_training_steps_with_hard_mining_are_the_authors(recording: Recording, detector: ReContrast) -> None:
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adamw", lr=2e-3, eps=1e-10, weight_decay=1e-5, amsgrad=True),
        schedule=ScheduleConfig(kind="drop", total_steps=detector.total_steps, warmup_steps=0, final_lr=4e-4),
    )
    require_steps(recording, config, detector, lambda step: losses_of(recording, detector, step), official_name, UNUSED)


def test_map_and_score_are_the_authors(recording: Recording, detector: ReContrast) -> None:
    prediction = detector.predict(recording["eval.image"])
    assert relative_error(prediction.anomaly_map, recording["eval.map"]) < 1e-5
    assert relative_error(prediction.score, recording["eval.score"]) < 1e-5
