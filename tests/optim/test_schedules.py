"""The learning rate against the authors' table, written out where it can be checked by hand."""

import itertools
import math

import pytest

from muad.errors import ConfigError
from muad.optim import warmup_cosine_rate


def rate(step: int, total_steps: int = 10_000, warmup_steps: int = 100) -> float:
    return warmup_cosine_rate(step, total_steps=total_steps, warmup_steps=warmup_steps, peak=2e-3, final=2e-4)


# Recorded from the authors' WarmCosineScheduler: 10,000 steps, warm-up 100, 2e-3 to 2e-4.
RECORDED = {
    0: 0.0,
    1: 2.0202020202020203e-05,
    50: 0.00101010101010101,
    99: 0.002,
    100: 0.002,
    101: 0.001999999954685012,
    5050: 0.0011,
    9998: 0.00020000018125994616,
    9999: 0.00020000004531498767,
}


@pytest.mark.parametrize(("step", "expected"), RECORDED.items())
def test_entries_of_the_authors_table(step: int, expected: float) -> None:
    assert rate(step) == pytest.approx(expected, rel=1e-12, abs=0)


def test_short_run_is_the_authors() -> None:
    """Twelve steps, warm-up three: the run recorded with the reference weights."""
    recorded = [0.0, 0.001, 0.002, 0.002, 0.0019457233587073177, 0.00178943999880708, 0.00155, 0.0012562833599002376]
    recorded += [0.0009437166400997627, 0.00065, 0.0004105600011929199, 0.00025427664129268253]
    assert [rate(step, 12, 3) for step in range(12)] == pytest.approx(recorded, rel=1e-12)


def test_rise_is_linear_and_the_fall_is_half_a_cosine() -> None:
    rising = [rate(step) for step in range(100)]
    steps = [b - a for a, b in itertools.pairwise(rising)]
    assert steps == pytest.approx([2e-3 / 99] * 99)
    for j in (0, 17, 4950, 9899):
        assert rate(100 + j) == pytest.approx(2e-4 + 0.9e-3 * (1 + math.cos(math.pi * j / 9900)), rel=1e-12)


def test_warmup_may_be_absent_or_the_whole_run() -> None:
    assert rate(0, 10, 0) == 2e-3
    assert rate(0, 10, 1) == 0.0
    assert rate(1, 10, 1) == 2e-3
    assert rate(9, 10, 10) == 2e-3


@pytest.mark.parametrize("step", [-1, 10])
def test_steps_outside_the_run_are_refused(step: int) -> None:
    with pytest.raises(ConfigError, match=f"step must be from 0 to 9, got {step}"):
        rate(step, 10, 2)
