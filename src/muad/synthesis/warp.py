"""Moves pixels of whole batches: rotation, and the two ways of shuffling parts of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Generator, Tensor

STRIPS = 8
"""Parts an image is cut into, in each direction, before they are shuffled."""


def rotate(images: Float[Tensor, "b c H W"], degrees: Float[Tensor, " b"]) -> Float[Tensor, "b c H W"]:
    """Images turned about their centres, bilinearly, with zeros where nothing came from."""
    radians = torch.deg2rad(degrees).to(images)
    ratio = images.shape[2] / images.shape[3]  # grid_sample measures height and width alike in -1 to 1
    zero = torch.zeros_like(radians)
    first = torch.stack([radians.cos(), -radians.sin() * ratio, zero], dim=1)
    second = torch.stack([radians.sin() / ratio, radians.cos(), zero], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def shuffle_strips(images: Float[Tensor, "b c H W"], generators: Sequence[Generator]) -> Float[Tensor, "b c H W"]:
    """Rows and columns of 8x8 parts permuted independently, as the authors' code does.

    Of the vertical strips first the even-numbered ones, shuffled, then the odd-numbered ones, shuffled; the same with
    horizontal strips, which are shuffled among one another before. Parts that were in one row stay in one row.
    """
    orders = [(_evens_then_odds(g), torch.randperm(STRIPS, generator=g)[_evens_then_odds(g)]) for g in generators]
    columns = torch.stack([order for order, _ in orders])
    rows = torch.stack([order for _, order in orders])
    return _rearrange(images, rows[:, :, None].expand(-1, -1, STRIPS), columns[:, None, :].expand(-1, STRIPS, -1))


def shuffle_patches(images: Float[Tensor, "b c H W"], generators: Sequence[Generator]) -> Float[Tensor, "b c H W"]:
    """All 8x8 parts shuffled among one another."""
    order = torch.stack([torch.randperm(STRIPS**2, generator=generator) for generator in generators])
    order = order.view(-1, STRIPS, STRIPS)
    return _rearrange(images, order // STRIPS, order % STRIPS)


def _evens_then_odds(generator: Generator) -> Int[Tensor, " strips"]:
    half = STRIPS // 2
    first, second = torch.randperm(half, generator=generator), torch.randperm(half, generator=generator)
    return torch.cat([2 * first, 2 * second + 1])


def _rearrange(
    images: Float[Tensor, "b c H W"], rows: Int[Tensor, "b 8 8"], columns: Int[Tensor, "b 8 8"]
) -> Float[Tensor, "b c H W"]:
    """Images whose part (i, j) is the part (rows[i, j], columns[i, j]) of the original."""
    batch, _, height, width = images.shape
    parts = images.reshape(batch, -1, STRIPS, height // STRIPS, STRIPS, width // STRIPS)
    which = torch.arange(batch, device=images.device)[:, None, None]
    moved: Tensor = parts.permute(0, 2, 4, 1, 3, 5)[which, rows.to(images.device), columns.to(images.device)]
    return moved.permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
