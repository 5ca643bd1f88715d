"""A real Dinomaly, small enough that building it and a step take milliseconds."""

from collections.abc import Callable

import pytest
import torch

from muad.detectors.dinomaly import Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout

SIZE = (56, 42)  # 8 x 6 patches


def tiny_config(**changes: object) -> DinomalyConfig:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=2, position_grid=6)
    settings = {
        "encoder": EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 2, 3, 4)),
        "resize_px": SIZE,
        "crop_px": SIZE,
        "map_px": 32,
        "easy_ramp_steps": 2,
    }
    return DinomalyConfig(**(settings | changes))


def tiny_detector(**changes: object) -> Dinomaly:
    torch.manual_seed(5)
    return Dinomaly(tiny_config(**changes))


@pytest.fixture
def make_config() -> Callable[..., DinomalyConfig]:
    return tiny_config


@pytest.fixture
def make_detector() -> Callable[..., Dinomaly]:
    return tiny_detector


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(seeds: tuple[int, ...] = (0, 1, 2, 3), size: tuple[int, int] = SIZE) -> Batch:
        images = torch.randn(len(seeds), 3, *size, generator=torch.Generator().manual_seed(9))
        return Batch(images=images, seeds=seeds, categories=("screw",) * len(seeds))

    return make
