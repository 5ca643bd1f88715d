"""What is measured of photographs does not depend on their size, and a dead camera has none of it."""

import numpy as np
import pytest

from muad.capture import NO_CONTENT, content_reasons, measure
from muad.data.images import read_image


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


@pytest.mark.parametrize(("level", "deviation"), [(3, 3), (6, 3), (120, 5)])
def test_noise_around_one_grey_is_no_content(level: float, deviation: float) -> None:
    (reason,) = content_reasons(measure(_noise(level, deviation)))
    assert (reason.what, reason.quantity) == (NO_CONTENT, "structure")


def test_a_dim_photograph_of_something_has_content() -> None:
    assert not content_reasons(measure((_scene((512, 512)) * 0.1).astype(np.uint8)))


def test_photographs_of_parts_have_content(tiny_data) -> None:
    for path in tiny_data.glob("*/test/*/*.png"):
        assert not content_reasons(measure(read_image(path)))


@pytest.mark.parametrize("size", [(512, 512), (900, 900), (1024, 1024), (2500, 2500)])
def test_quantities_do_not_depend_on_the_size(size: tuple[int, int]) -> None:
    known, found = measure(_scene((512, 512))), measure(_scene(size))
    assert found.range == pytest.approx(known.range, rel=0.03)
    assert found.structure == pytest.approx(known.structure, rel=0.03)


def test_only_what_is_inspected_counts() -> None:
    frame = np.full((300, 400, 3), 80, np.uint8)
    frame[:, 200:] = _scene((300, 200))
    inspected = np.zeros((300, 400), bool)
    inspected[:, 200:] = True
    assert not content_reasons(measure(frame))
    assert not content_reasons(measure(frame, inspected))
    assert content_reasons(measure(frame, ~inspected))
