"""SimpleNet: what it refuses, what it learns, what its settings do; its numbers are in tests/parity."""

import pytest
import torch

from muad.detectors.simplenet import SimpleNet, SimpleNetConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.pyramids import reading_strides
from muad.errors import ConfigError


def make(**changes: object) -> SimpleNet:
    torch.manual_seed(3)
    settings = {"encoder": EncoderConfig(name="random-resnet18"), "resize_px": (32, 48), "crop_px": (32, 48),
                "stage_width": 12, "width": 12, "hidden": 8}  # fmt: skip
    return SimpleNet(SimpleNetConfig(**(settings | changes)))


def batch(seeds: tuple[int, ...] = (0, 1, 2, 3)) -> Batch:
    images = torch.randn(len(seeds), 3, 32, 48, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, seeds=seeds, categories=("nut",) * len(seeds))


def test_stages_of_strides_8_and_16_are_read_of_any_cnn_unless_others_are_named() -> None:
    def stages(**encoder: object) -> tuple[int, ...] | None:
        return reading_strides(EncoderConfig(**encoder), (8, 16)).tap_layers

    assert stages(name="wide_resnet50_2") == (2, 3)
    assert stages(name="efficientnet-lite0") == (2, 4)
    assert stages(name="random-resnet18", tap_layers=(1,)) == (1,)
    assert make().encoder.tap_layers == (2, 3)


def test_a_vision_transformer_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"detector\.encoder\.name must be a CNN such as .*, got random-vit-tiny"):
        make(encoder=EncoderConfig(name="random-vit-tiny"))


def test_without_noise_to_tell_a_patch_costs_twice_the_margin() -> None:
    detector = make(noise_std=1e-12).eval()
    with torch.no_grad():
        losses = detector(batch(), 0)
    assert losses.total.item() == pytest.approx(1.0, abs=0.2)


def test_noise_belongs_to_each_image_and_is_as_strong_as_asked() -> None:
    detector = make()
    patches = torch.zeros(2, 500, 12)
    noise = detector.draw_noise(patches, (7, 8))
    assert noise[1].equal(detector.draw_noise(patches[:1], (8,))[0])
    assert noise.std().item() == pytest.approx(0.015, rel=0.05)


def test_it_learns_to_tell_noise() -> None:
    detector = make(noise_std=1.0).train()
    optimizer = torch.optim.Adam(detector.parameter_groups()[0]["params"], lr=0.01)
    losses = []
    for step in range(30):
        loss = detector(batch((4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3)), step).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_without_an_adaptor_there_is_one_group() -> None:
    assert [group["name"] for group in make(projection_layers=0).parameter_groups()] == ["discriminator"]
    assert [group["name"] for group in make().parameter_groups()] == ["discriminator", "projection"]
