"""Which image is trained on when: a pure function of seed and step, so that a resumed run sees what it would have."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import torch

from muad.errors import ConfigError


def batch_indices(step: int, *, count: int, batch_size: int, seed: int) -> list[int]:
    """Indices of the images of one step over all processes together.

    Every epoch is a fresh permutation; its incomplete last batch is dropped, as in the authors' loader. Fewer images
    than a batch are drawn from permutations laid end to end.

    Args:
        step: Optimizer step, from 0.
        count: Number of training images.
        batch_size: Images per step.
        seed: Seed of the run.
    """
    batches = count // batch_size
    if batches:
        epoch, batch = divmod(step, batches)
        return list(_permutation(epoch, count, seed)[batch * batch_size : (batch + 1) * batch_size])
    first = step * batch_size
    positions = range(first, first + batch_size)
    return [_permutation(position // count, count, seed)[position % count] for position in positions]


def image_seed(seed: int, step: int, position: int) -> int:
    """Seed of all randomness spent on the image at `position` of the global batch of `step`."""
    digest = blake2b(f"{seed} {step} {position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def name_seed(seed: int, category: str, name: str) -> int:
    """A number drawn for an image by the seed, its category and the name of its file, wherever the file lies."""
    return int.from_bytes(blake2b(f"{seed} {category}/{name}".encode(), digest_size=8).digest(), "little")


def share_of(process: int, processes: int, batch_size: int, parts: int = 1) -> range:
    """Positions of the global batch that one process computes, in that many equal parts.

    Raises:
        ConfigError: The batch cannot be divided evenly.
    """
    if batch_size % (processes * parts):
        times = f" times training.accumulate {parts}" if parts > 1 else ""
        raise ConfigError(
            f"training.batch_size must be a multiple of the number of processes {processes}{times}, got {batch_size}."
        )
    each = batch_size // processes
    return range(process * each, (process + 1) * each)


@lru_cache(maxsize=4)  # the steps of one epoch share it; a batch larger than the set needs several
def _permutation(epoch: int, count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(image_seed(seed, -1, epoch))
    return tuple(torch.randperm(count, generator=generator).tolist())
