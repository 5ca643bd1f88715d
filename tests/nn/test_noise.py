"""Noise from seeds and places alone."""

import torch

from muad.nn.noise import keep_mask

SEEDS = torch.tensor([0, 1, 2, 2**32, 2**62 + 12345])


def test_as_many_values_are_kept_as_asked_for() -> None:
    for keep in (0.0, 0.3, 0.8, 1.0):
        share = keep_mask(SEEDS, 0, (400, 250), keep).double().mean((1, 2))
        assert (share - keep).abs().max() <= 4 * (keep * (1 - keep) / 1e5) ** 0.5 + 1e-6


def test_masks_of_seeds_streams_and_places_are_independent() -> None:
    masks = torch.cat([keep_mask(SEEDS, stream, (400, 250), 0.5).double() - 0.5 for stream in range(3)])
    flat = masks.flatten(1)
    correlation = torch.corrcoef(torch.cat([flat, flat.roll(1, 1), flat.roll(250, 1)]))
    assert (correlation - torch.eye(len(correlation))).abs().max() < 5 / 1e5**0.5


def test_a_mask_is_its_seeds_whatever_the_batch() -> None:
    together = keep_mask(SEEDS, 1, (30, 20), 0.8)
    alone = torch.cat([keep_mask(seed[None], 1, (30, 20), 0.8) for seed in SEEDS])
    assert together.equal(alone)
