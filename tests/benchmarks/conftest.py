"""Tests of the benchmarks call the fixture that loads them by a short name."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def load(load_benchmark: Callable[[str], Any]) -> Callable[[str], Any]:
    """A module of the benchmarks."""
    return load_benchmark
