"""What a photograph looks like in numbers."""

import numpy as np
import pytest

from muad.recognition import COPIES, Appearance, shrink
from muad.recognition.appearance import SIDE_PX, colours_of, copies_of


def test_colours_are_those_of_the_places() -> None:
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    image[: SIDE_PX // 2] = 255  # the upper half white
    image[:, : SIDE_PX // 8] = (255, 0, 0)  # the left column red
    places = colours_of(image).reshape(8, 8, 4)
    assert places[1, 4] == pytest.approx([1, 0, 0, 0], abs=1e-3)
    assert places[6, 4] == pytest.approx([0, 0, 0, 0], abs=1e-3)
    assert places[6, 0] == pytest.approx([0.532, 0.801, 0.672, 0], abs=2e-3)
    striped = np.repeat(np.tile(np.uint8([0, 255]), SIDE_PX // 2)[None, :, None], SIDE_PX, axis=0).repeat(3, axis=2)
    assert colours_of(striped)[0, 3] == pytest.approx(0.5, abs=1e-2)


def test_copies_are_the_photograph_turned_darker_and_brighter() -> None:
    image = np.random.default_rng(0).integers(0, 200, (60, 90, 3), np.uint8)
    copies = copies_of(image, seed=1)
    assert len(copies) == COPIES
    np.testing.assert_array_equal(copies[0], shrink(image))
    assert copies[3].mean() < copies[0].mean() < copies[4].mean()
    assert all(np.array_equal(one, other) for one, other in zip(copies, copies_of(image, seed=1), strict=True))


def test_tokens_become_unit_vectors() -> None:
    tokens = np.random.default_rng(0).normal(size=(2, 69, 192)).astype(np.float32)
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    seen = Appearance.of_tokens(tokens, 5, [image, image])
    assert (seen.whole.shape, seen.patches.shape, seen.colours.shape) == ((2, 384), (2, 64, 192), (2, 64, 4))
    np.testing.assert_allclose(np.linalg.norm(seen.patches, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(seen.whole, axis=-1), np.sqrt(2), rtol=1e-5)
    assert len(seen[1:]) == 1
