"""Features of made-up products: points around one centre each, in one copy."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def cloud() -> Callable[..., np.ndarray]:
    """`cloud(centre, count, seed)`: features of images of one product, `[count, 1, 8]`."""

    def make(centre: float, count: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(centre, 1.0, (count, 1, 8)).astype(np.float32)

    return make
