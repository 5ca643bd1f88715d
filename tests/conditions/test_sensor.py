"""Noise by its moments, JPEG against another decoder and encoder."""

import io

import numpy as np
import pytest
from PIL import Image

from muad.conditions.sensor import compressed, noisy


def test_noise_has_the_deviation_that_is_stated_and_no_colour_in_grey_photographs() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    found = noisy(grey, 5.0, np.random.default_rng(0)).astype(float)
    assert (found[..., 0] == found[..., 1]).all()
    assert found.mean() == pytest.approx(128, abs=0.1)
    assert found[..., 0].std() == pytest.approx(np.sqrt(25 + 1 / 12), rel=0.02)  # with that of rounding


def test_noise_of_coloured_photographs_is_independent_in_every_channel() -> None:
    coloured = np.full((200, 200, 3), (100, 128, 150), np.uint8)
    noise = noisy(coloured, 5.0, np.random.default_rng(0)).astype(float) - coloured
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("quality", [30, 50, 90])
def test_jpeg_is_what_another_library_makes_of_it(quality: int) -> None:
    ramp = np.linspace(0, 255, 64)
    image = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.subtract.outer(ramp, ramp) / 2 + 128, ramp[None] + 0 * ramp[:, None]], -1
    )
    image = np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    other = np.asarray(Image.open(file)).astype(float)
    assert np.abs(compressed(image, quality) - other).mean() < 0.5
    assert np.abs(image - other).mean() > 1


def test_less_quality_loses_more_and_a_grey_photograph_stays_grey() -> None:
    image = np.repeat(np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)
    lost = [float(np.abs(compressed(image, quality).astype(float) - image).mean()) for quality in (95, 50, 10)]
    assert lost == sorted(lost)
    assert np.ptp(compressed(image, 50), axis=2).max() <= 1
