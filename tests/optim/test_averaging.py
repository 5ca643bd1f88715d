"""The running mean of weights."""

import pytest
import torch

from muad.optim import WeightAverage


def test_the_mean_is_the_recursion_with_a_short_memory_at_first() -> None:
    average = WeightAverage({"w": torch.zeros(2)}, 0.9)
    expected = 0.0
    for step in range(200):
        value = float(step % 3)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        average.update({"w": torch.full((2,), value)}, step)
    assert average.tensors["w"].tolist() == pytest.approx([expected] * 2, rel=1e-5)


def test_counters_keep_their_last_value_and_the_source_is_not_touched() -> None:
    source = {"w": torch.ones(1), "seen": torch.tensor(3)}
    average = WeightAverage(source, 0.5)
    source["w"].fill_(5.0)
    assert average.tensors["w"].item() == 1.0
    average.update({"w": torch.zeros(1), "seen": torch.tensor(4)}, 0)
    assert average.tensors["seen"].item() == 4
    assert 0 < average.tensors["w"].item() < 1
    assert source["w"].item() == 5.0
