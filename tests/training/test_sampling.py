"""The order of training images."""

import itertools

import pytest

from muad.errors import ConfigError
from muad.training.sampling import batch_indices, image_seed, share_of


def batches(steps: range, *, count: int, batch_size: int, seed: int = 1) -> list[list[int]]:
    return [batch_indices(step, count=count, batch_size=batch_size, seed=seed) for step in steps]


def test_a_step_has_the_same_images_whatever_was_asked_before() -> None:
    forwards = batches(range(12), count=10, batch_size=3)
    backwards = batches(range(11, -1, -1), count=10, batch_size=3)
    assert forwards == backwards[::-1]


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    drawn = batches(range(9), count=12, batch_size=4)
    epochs = [list(itertools.chain(*drawn[start : start + 3])) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_an_incomplete_last_batch_is_dropped() -> None:
    drawn = batches(range(6), count=10, batch_size=3)
    for start in (0, 3):
        epoch = list(itertools.chain(*drawn[start : start + 3]))
        assert len(set(epoch)) == 9
    left_out = [set(range(10)) - set(itertools.chain(*drawn[start : start + 3])) for start in range(0, 6, 3)]
    assert all(len(images) == 1 for images in left_out)


def test_fewer_images_than_a_batch_come_round_equally_often() -> None:
    drawn = batches(range(3), count=4, batch_size=8)
    assert all(len(batch) == 8 for batch in drawn)
    assert all(sorted(batch) == sorted([0, 1, 2, 3] * 2) for batch in drawn)
    uneven = list(itertools.chain(*batches(range(3), count=3, batch_size=4)))
    assert [sorted(uneven[start : start + 3]) for start in range(0, 12, 3)] == [[0, 1, 2]] * 4


def test_a_single_image_can_be_trained_on() -> None:
    assert batches(range(2), count=1, batch_size=3) == [[0, 0, 0]] * 2


def test_another_seed_is_another_order() -> None:
    assert batches(range(3), count=12, batch_size=4, seed=1) != batches(range(3), count=12, batch_size=4, seed=2)


def test_what_a_caller_does_to_a_batch_stays_with_the_caller() -> None:
    first = batch_indices(0, count=12, batch_size=4, seed=1)
    expected = list(first)
    first.clear()
    assert batch_indices(0, count=12, batch_size=4, seed=1) == expected


def test_image_seeds_differ_by_run_step_and_position() -> None:
    seeds = [image_seed(*key) for key in itertools.product((1, 2), range(20), range(16))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert image_seed(1, 2, 3) == image_seed(1, 2, 3)


@pytest.mark.parametrize(("processes", "batch_size"), [(1, 5), (2, 8), (4, 16)])
def test_shares_of_the_processes_partition_the_batch(processes: int, batch_size: int) -> None:
    shares = [share_of(process, processes, batch_size) for process in range(processes)]
    assert sorted(itertools.chain(*shares)) == list(range(batch_size))
    assert len({len(share) for share in shares}) == 1


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.batch_size must be a multiple of .* processes 3, got 16"):
        share_of(0, 3, 16)
