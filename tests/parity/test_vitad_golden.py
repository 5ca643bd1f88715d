"""Every number recorded from the authors' ViTAD, through the code a user runs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.types import Losses
from muad.detectors.vitad import ViTad, ViTadConfig
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout

from .conftest import Recording, image_batch, relative_error, require_gradients, require_steps

SYSTEM = "vitad"
PATCH_PX, DEPTH = 16, 12
UNUSED = ("net_s.cls_token", "net_s.norm.", "net_s.patch_embed.")  # built in their code, never called


def official_name(name: str) -> str:
    """What the authors call one of our tensors."""
    if name == "positions":
        return "net_s.pos_embed"
    owner, rest = name.split(".", 1)
    return f"net_fusion.fc.{rest}" if owner == "fusion" else f"net_s.blocks.{rest}"


BUILT: dict[str, ViTad] = {}
"""By size and widths: a detector is built once, and its weights are remade for every test."""


@pytest.fixture
def detector(recording: Recording, tmp_path: Path) -> ViTad:
    key = str(recording.facts)
    if key not in BUILT:
        BUILT[key] = build(recording, tmp_path)
    detector = BUILT[key]
    detector.zero_grad()
    recording.refill((official_name(name), tensor) for name, tensor in detector.trainable_state().items())
    return detector


def build(recording: Recording, tmp_path: Path) -> ViTad:
    side, targets = recording.number("size"), len(recording.under("step0.teacher."))
    depth = 1 + max(int(name.split(".")[0]) for name in recording.under("step0.grad.net_s.blocks."))
    layout = VitLayout(
        width=recording.number("width"),
        depth=DEPTH,
        heads=recording.number("heads"),
        patch_px=PATCH_PX,
        registers=0,
        layer_scale=False,
        position_grid=side // PATCH_PX,
    )
    shape = ViTad(config_of(side, depth // targets, EncoderConfig(name="random-custom", layout=layout)))
    encoder = {name: torch.empty_like(tensor) for name, tensor in shape.encoder.network.state_dict().items()}
    recording.refill((f"net_t.{name}", tensor) for name, tensor in encoder.items())
    save_file(encoder, tmp_path / "encoder.safetensors")
    given = EncoderConfig(name="custom", layout=layout, weights=tmp_path / "encoder.safetensors")
    return ViTad(config_of(side, depth // targets, given))


def config_of(side: int, blocks_per_target: int, encoder: EncoderConfig) -> ViTadConfig:
    return ViTadConfig(encoder=encoder, resize_px=(side, side), blocks_per_target=blocks_per_target)


def losses_of(recording: Recording, detector: ViTad, step: int) -> Losses:
    return detector(image_batch(recording[f"step{step}.image"]), step)


def test_encoded_and_restored_layers_are_the_authors(recording: Recording, detector: ViTad) -> None:
    targets, restored = detector.train().decode(detector.encode(recording["step0.image"]))
    for name, layers in (("teacher", targets), ("student", restored)):
        for number, tokens in enumerate(layers):
            maps = tokens.transpose(1, 2).unflatten(2, detector.encoder.grid)
            assert relative_error(maps, recording[f"step0.{name}.{number}"]) < 1e-5, (name, number)


def test_loss_and_gradients_are_the_authors(recording: Recording, detector: ViTad) -> None:
    losses = losses_of(recording, detector.train(), 0)
    require_gradients(recording, losses, detector, official_name)


def test_training_steps_are_the_authors(recording: Recording, detector: ViTad) -> None:
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adamw", lr=1e-4, eps=1e-8, weight_decay=1e-4, amsgrad=False),
        schedule=ScheduleConfig(kind="drop", warmup_steps=0, final_lr=1e-5),
    )
    require_steps(recording, config, detector, lambda step: losses_of(recording, detector, step), official_name, UNUSED)


def test_map_and_score_are_the_authors(recording: Recording, detector: ViTad) -> None:
    prediction = detector.predict(recording["eval.image"])
    assert relative_error(prediction.anomaly_map, recording["eval.map"]) < 1e-5
    assert relative_error(prediction.score, recording["eval.score"]) < 1e-5
