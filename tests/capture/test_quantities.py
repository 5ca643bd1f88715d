"""What is measured of photographs does not depend on their size, and a dead camera has none of it."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from muad.capture import NO_CONTENT, content_reasons, measure
from muad.images.reading import read_image


def _noise(level: float, deviation: float, size: tuple[int, int] = (512, 640)) -> np.ndarray:
    noise = np.random.default_rng(0).normal(level, deviation, (*size, 1))
    return np.repeat(np.clip(noise, 0, 255).astype(np.uint8), 3, axis=2)


def _scene(size: tuple[int, int]) -> np.ndarray:
    """Discs on a ramp, the same picture at any size."""
    y, x = (np.arange(length)[:, None] / length for length in size)
    shade = 90 + 80 * y + 40 * np.sin(12 * x.T) * np.sin(9 * y)
    return np.repeat(shade[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("grey", [0, 1, 77, 128, 255])
@pytest.mark.parametrize("size", [(16, 16), (64, 96), (512, 512), (1500, 2100)])
def test_a_frame_of_one_grey_has_no_content(grey: int, size: tuple[int, int]) -> None:
    (reason,) = content_reasons(measure(np.full((*size, 3), grey, np.uint8)))
    assert (reason.what, reason.quantity, reason.value, reason.limit) == (NO_CONTENT, "range", 0.0, 2.0)
    assert str(reason) == "no content (range 0, at least 2)"


def test_a_few_hot_pixels_are_no_content() -> None:
    frame = np.full((512, 512, 3), 6, np.uint8)
    frame[::64, ::64] = 255
    assert content_reasons(measure(frame))


@pytest.mark.parametrize(("level", "deviation"), [(3, 3), (6, 3), (120, 5), (128, 40), (128, 200)])
@pytest.mark.parametrize("size", [(260, 300), (512, 640), (700, 900), (1500, 2000)])
def test_noise_around_one_grey_is_no_content(level: float, deviation: float, size: tuple[int, int]) -> None:
    (reason,) = content_reasons(measure(_noise(level, deviation, size)))
    assert (reason.what, reason.quantity) == (NO_CONTENT, "structure")


def test_a_dim_photograph_of_something_has_content() -> None:
    assert not content_reasons(measure((_scene((512, 512)) * 0.1).astype(np.uint8)))


def test_photographs_of_parts_have_content(tiny_data: Path) -> None:
    for path in tiny_data.glob("*/test/*/*.png"):
        assert not content_reasons(measure(read_image(path)))


@pytest.mark.parametrize("size", [(512, 512), (900, 900), (1024, 1024), (2500, 2500)])
def test_quantities_do_not_depend_on_the_size(size: tuple[int, int]) -> None:
    known, found = measure(_scene((512, 512))), measure(_scene(size))
    assert found.range == pytest.approx(known.range, rel=0.03)
    assert found.structure == pytest.approx(known.structure, rel=0.05)
    assert found.brightness == pytest.approx(known.brightness, rel=0.01)
    assert found.contrast == pytest.approx(known.contrast, rel=0.03)


def test_only_what_is_inspected_counts() -> None:
    frame = np.full((300, 400, 3), 80, np.uint8)
    frame[:, 200:] = _scene((300, 200))
    inspected = np.zeros((300, 400), bool)
    inspected[:, 200:] = True
    assert not content_reasons(measure(frame))
    assert not content_reasons(measure(frame, inspected))
    assert content_reasons(measure(frame, ~inspected))
    alone = measure(frame[:, 200:])
    for name in ("brightness", "highlights", "contrast", "range", "dark", "bright", "blank"):
        assert getattr(measure(frame, inspected), name) == pytest.approx(getattr(alone, name), rel=0.05, abs=0.01)


def _textured(seed: int = 0) -> np.ndarray:
    """Blobs of all sizes, as a camera with some noise sees them."""
    random = np.random.default_rng(seed)
    layers = [cv2.resize(random.normal(0, 1, (side, side)), (512, 512)) for side in (8, 32, 128, 512)]
    grey = 120 + 15 * np.sum(layers, axis=0) + random.normal(0, 1, (512, 512))
    return np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2).astype(np.uint8)


def test_blur_lowers_sharpness_and_grain_and_noise_raises_grain() -> None:
    sharp = measure(_textured())
    blurred = [measure(cv2.GaussianBlur(_textured(), (0, 0), sigma)) for sigma in (1, 2, 4)]
    for one, other in itertools.pairwise([sharp, *blurred]):
        assert other.sharpness < one.sharpness
    assert blurred[0].grain < 0.8 * sharp.grain
    noisy = np.clip(_textured() + np.random.default_rng(1).normal(0, 20, (512, 512, 1)), 0, 255).astype(np.uint8)
    assert measure(noisy).grain > 1.05 * sharp.grain


def test_light_moves_brightness_and_clipping_and_leaves_contrast_and_sharpness() -> None:
    whole, half = measure(_textured()), measure((_textured() * 0.5).astype(np.uint8))
    assert half.brightness == pytest.approx(whole.brightness / 2, rel=0.02)
    assert half.highlights == pytest.approx(whole.highlights / 2, rel=0.02)
    for name in ("contrast", "sharpness", "grain"):
        assert getattr(half, name) == pytest.approx(getattr(whole, name), rel=0.05)
    double = measure(np.clip(_textured().astype(float) * 3, 0, 255).astype(np.uint8))
    assert double.bright > 0.5
    assert measure(np.zeros((64, 64, 3), np.uint8)).dark == 1


def test_half_a_frame_that_never_came_is_blank() -> None:
    frame = _textured()
    frame[256:] = 128
    assert measure(_textured()).blank == 0
    assert measure(frame).blank == pytest.approx(0.5, abs=0.05)
