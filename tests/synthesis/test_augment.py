"""Augmenters against Pillow, OpenCV and their definitions."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from muad.synthesis import augment as module
from muad.synthesis.augment import AUGMENTERS, augment


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((48, 40, 3)), (0, 0), 4)
    image = (noise - noise.min()) / np.ptp(noise) * 200 + 20 + 20 * rng.random((48, 40, 3))
    return torch.from_numpy(image.round()).float().permute(2, 0, 1)[None]


def pillow(photo: torch.Tensor) -> Image.Image:
    return Image.fromarray(photo[0].permute(1, 2, 0).numpy().astype(np.uint8))


def levels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).float().permute(2, 0, 1)[None]


def draws(*values: float) -> torch.Tensor:
    return torch.tensor([[*values, *[0.5] * (4 - len(values))]])


def test_there_are_ten_different_ones() -> None:
    assert len({augmenter.__name__ for augmenter in AUGMENTERS}) == 10


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.5, 0.99])
def test_sharpness_is_pillows(photo: torch.Tensor, draw: float) -> None:
    ours = module.sharpness(photo, draws(draw)).clamp(0, 255).round()
    assert (ours - levels(ImageEnhance.Sharpness(pillow(photo)).enhance(2 * draw))).abs().max() <= 1


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_is_pillows(photo: torch.Tensor, bits: int) -> None:
    ours = module.posterize(photo, draws((bits - 0.5) / 8))
    assert torch.equal(ours, levels(ImageOps.posterize(pillow(photo), bits)))


@pytest.mark.parametrize("threshold", [32, 80, 127])
def test_solarize_is_pillows_in_half_of_the_cases(photo: torch.Tensor, threshold: int) -> None:
    strength = (threshold - 32) / 96
    assert torch.equal(
        module.solarize(photo, draws(0.2, strength)), levels(ImageOps.solarize(pillow(photo), threshold))
    )
    assert torch.equal(module.solarize(photo, draws(0.7, strength)), photo)


def test_invert_is_pillows(photo: torch.Tensor) -> None:
    assert torch.equal(module.invert(photo, draws()), levels(ImageOps.invert(pillow(photo))))


@pytest.mark.parametrize("percent", [0, 5, 19])
def test_autocontrast_is_pillows(photo: torch.Tensor, percent: int) -> None:
    ours = module.autocontrast(photo, draws(percent / 20)).clamp(0, 255).round()
    assert (ours - levels(ImageOps.autocontrast(pillow(photo), cutoff=percent))).abs().max() <= 3


def test_equalize_is_pillows(photo: torch.Tensor) -> None:
    assert torch.equal(module.equalize(photo, draws()), levels(ImageOps.equalize(pillow(photo))))


def test_gamma_of_one_changes_nothing_and_of_two_darkens(photo: torch.Tensor) -> None:
    assert module.gamma(photo, draws(1 / 3, 1 / 3, 1 / 3)).allclose(photo, atol=1e-3)
    darker = module.gamma(photo, draws(1.0, 1 / 3, 0.0))
    assert darker[:, 0].allclose(photo[:, 0] ** 2 / 255, atol=1e-3)
    assert darker[:, 2].allclose((photo[:, 2] * 255).sqrt(), atol=1e-3)


def test_hue_and_saturation_are_those_of_opencv(photo: torch.Tensor) -> None:
    shifted = module.hue_and_saturation(photo, draws(0.9, 0.2))[0].permute(1, 2, 0).numpy() / 255
    hsv = cv2.cvtColor(photo[0].permute(1, 2, 0).numpy() / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 40 / 255 * 360) % 360
    hsv[..., 1] = (hsv[..., 1] - 30 / 255).clip(0, 1)
    assert np.abs(shifted - cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).max() < 1e-3


def test_unshifted_hue_and_saturation_change_nothing(photo: torch.Tensor) -> None:
    grey = torch.full((1, 3, 4, 4), 90.0)
    assert module.hue_and_saturation(photo, draws(0.5, 0.5)).allclose(photo, atol=1e-2)
    assert module.hue_and_saturation(grey, draws(0.5, 0.5)).allclose(grey, atol=1e-2)


@pytest.mark.parametrize("space", [0.0, 0.9])
def test_brightness_scales_and_shifts(photo: torch.Tensor, space: float) -> None:
    grey = photo.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    factor_first = module.brightness(grey, draws(1.0, 0.75, 0.9, space))
    assert factor_first.allclose((grey * 1.2 + 15).clamp(max=255), atol=1e-2)
    offset_first = module.brightness(grey, draws(1.0, 0.75, 0.1, space))
    assert offset_first.allclose(((grey + 15) * 1.2).clamp(max=255), atol=1e-2)
    assert module.brightness(photo, draws(0.5, 0.5, 0.5, space)).allclose(photo, atol=1e-2)


def test_turn_leaves_black_corners(photo: torch.Tensor) -> None:
    assert module.turn(photo, draws(0.0))[0, :, 0, 0].tolist() == [0, 0, 0]
    assert module.turn(photo, draws(0.5)).allclose(photo, atol=1e-2)


def test_results_are_grey_levels_and_depend_on_the_seed_alone(photo: torch.Tensor) -> None:
    images = photo.expand(12, -1, -1, -1) / 255

    def run(seeds: range) -> torch.Tensor:
        return augment(images[: len(seeds)], [torch.Generator().manual_seed(seed) for seed in seeds])

    together = run(range(12))
    assert 0 <= together.min() < together.max() <= 1
    assert (together * 255).sub((together * 255).round()).abs().max() < 1e-3
    assert run(range(5, 8)).allclose(together[5:8], atol=1e-6)
    assert len({image.sum().item() for image in together}) == 12
