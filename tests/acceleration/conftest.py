"""Small real detectors: fresh ones of every kind, and one trained until its maps are low."""

from collections.abc import Callable

import pytest
import torch

from muad.detectors.dinomaly import Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout

SIZE = (56, 42)  # 8 x 6 patches


def build(
    layout: dict[str, object] | None = None, *, taps: tuple[int, ...] = (1, 2, 3, 4), seed: int = 5, **changes: object
) -> Dinomaly:
    shape = {"width": 32, "depth": 5, "heads": 2, "patch_px": 7, "registers": 2, "position_grid": 6} | (layout or {})
    settings = {
        "encoder": EncoderConfig(name="random-custom", layout=VitLayout(**shape), tap_layers=taps),
        "resize_px": SIZE,
        "crop_px": SIZE,
        "map_px": 32,
        "easy_ramp_steps": 2,
    }
    torch.manual_seed(seed)
    return Dinomaly(DinomalyConfig(**(settings | changes)))


def photos(count: int, seed: int = 9) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def make_detector() -> Callable[..., Dinomaly]:
    """A detector in which no norm, scale or bias is the identity, as it is after initialisation."""

    def make(layout: dict[str, object] | None = None, *, seed: int = 5, **changes: object) -> Dinomaly:
        detector = build(layout, seed=seed, **changes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in detector.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if parameter.ndim == 1:
                    parameter.add_(0.3 * noise)
                elif "encoder" not in name:
                    parameter.copy_(noise * parameter.shape[1] ** -0.5)
        return detector

    return make


@pytest.fixture
def make_images() -> Callable[..., torch.Tensor]:
    return photos


@pytest.fixture(scope="session")
def trained_detector() -> Dinomaly:
    detector = build({"width": 64}, seed=5)
    optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], lr=3e-3)
    for step in range(60):
        batch = Batch(images=photos(16), seeds=tuple(range(step, step + 16)), categories=("screw",) * 16)
        optimizer.zero_grad()
        detector(batch, step).total.backward()
        optimizer.step()
    return detector
