"""Random numbers on the device, as a pure function of each image's seed and of the place: no generator, no host.

A generator has a state that the host sets, one image after the other. Here every value is a hash of seed, stream and
place, so that a whole batch is drawn by one kernel, may be recorded in a graph, and is the same wherever it is drawn.
The hash is the 32-bit mixer `lowbias32` of Chris Wellons (public domain), applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Int32
    from torch import Generator, Tensor

Noise: TypeAlias = "Sequence[Generator] | Int[Tensor, ' b']"
"""One random generator for each image, or their seeds on the device."""

_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - 2**32  # int32 has no room for the second without its sign
_GOLDEN = 0x9E3779B9 - 2**32
_LARGEST = 2**31


def keep_mask(seeds: Int[Tensor, " b"], stream: int, shape: tuple[int, ...], keep: float) -> Bool[Tensor, b * shape]:
    """Which values of each image are kept: True with probability `keep`, in steps of 2^-31.

    Args:
        seeds: One for each image, on the device where the mask is wanted.
        stream: Number of the mask among those of one step; other numbers give independent masks.
        shape: Of one image's mask; at most 2^31 values.
        keep: Share that is kept, 0 to 1.
    """
    low, high = seeds.to(torch.int32), (seeds >> 32).to(torch.int32)  # the lower and upper half of 64 bits
    key = _mix(_mix(low ^ (_GOLDEN * (2 * stream + 1) & 0x7FFFFFFF)) ^ high)
    places = torch.arange(prod(shape), dtype=torch.int32, device=seeds.device)
    drawn = _mix(_mix(places[None] ^ key[:, None]) + key[:, None]) & (_LARGEST - 1)
    return (drawn < min(int(keep * _LARGEST), _LARGEST - 1)).view(len(seeds), *shape)


def dropout(values: Float[Tensor, "b ..."], rate: float, noise: Noise | None, *, place: int) -> Float[Tensor, "b ..."]:
    """Elementwise dropout: from seeds on the device and the place, or from generators; without either, none.

    Args:
        values: Of a batch.
        rate: Share that is dropped, 0 to below 1.
        noise: What it is drawn from.
        place: Number of the dropout among those of one step.
    """
    if noise is None or rate == 0:
        return values
    if isinstance(noise, torch.Tensor):
        return values * keep_mask(noise, place, tuple(values.shape[1:]), 1 - rate) / (1 - rate)
    return seeded_dropout(values, rate, noise)


def seeded_dropout(
    values: Float[Tensor, "b ..."], rate: float, noise: Sequence[Generator] | None
) -> Float[Tensor, "b ..."]:
    """Elementwise dropout, drawn from one generator per image; without generators, none."""
    if noise is None or rate == 0:
        return values
    kept = torch.empty_like(values, requires_grad=False)
    for image, generator in zip(kept, noise, strict=True):
        image.bernoulli_(1 - rate, generator=generator)
    return values * kept.div_(1 - rate)


def _mix(values: Int32[Tensor, "*size"]) -> Int32[Tensor, "*size"]:
    """Every bit of a number decides about every bit of what it becomes; products wrap around."""
    values = (values ^ _shifted(values, 16)) * _FIRST
    values = (values ^ _shifted(values, 15)) * _SECOND
    return values ^ _shifted(values, 16)


def _shifted(values: Int32[Tensor, "*size"], bits: int) -> Int32[Tensor, "*size"]:
    """Moved to the right with zeros from the left, which `>>` of a signed number does not do."""
    return (values >> bits) & ((1 << (32 - bits)) - 1)
