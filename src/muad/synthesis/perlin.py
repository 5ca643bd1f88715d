"""Perlin noise for whole batches, and the masks of synthetic anomalies cut out of it.

References:
    Perlin, Improving noise, SIGGRAPH 2002; Zavrtanik et al., DRAEM, ICCV 2021, arXiv:2108.07610, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from muad.synthesis.warp import rotate

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Generator, Tensor


def perlin_noise(
    cells: Int[Tensor, "b 2"], angles: Float[Tensor, "b rows columns"], size: tuple[int, int]
) -> Float[Tensor, "b H W"]:
    """Gradient noise of about -1 to 1, each image with a number of cells of its own.

    Args:
        cells: Cells down and across each image.
        angles: Directions of the gradients at the corners of the cells, in radians; at least one more than `cells` in
            both directions, of which the first are used.
        size: Height and width in pixels.
    """
    device = angles.device
    rows, down = _positions(cells[:, 0], size[0], device)
    columns, across = _positions(cells[:, 1], size[1], device)
    flat, stride = angles.flatten(1), angles.shape[2]

    def corner(below: int, right: int) -> Tensor:
        """What the gradient at one corner of its cell says of every pixel."""
        index = (rows + below)[:, :, None] * stride + (columns + right)[:, None, :]
        angle = flat.gather(1, index.flatten(1)).view_as(index)
        return angle.cos() * (down - below)[:, :, None] + angle.sin() * (across - right)[:, None, :]

    fade_down, fade_across = _fade(down)[:, :, None], _fade(across)[:, None, :]
    upper = torch.lerp(corner(0, 0), corner(0, 1), fade_across)
    lower = torch.lerp(corner(1, 0), corner(1, 1), fade_across)
    return math.sqrt(2) * torch.lerp(upper, lower, fade_down)


def draw_angles(generators: Sequence[Generator], corners: int) -> Float[Tensor, "b corners corners"]:
    """Gradient directions for `perlin_noise`, from one generator per image."""
    return torch.stack([2 * math.pi * torch.rand(corners, corners, generator=generator) for generator in generators])


def draw_cells(generators: Sequence[Generator], max_exponent: int) -> Int[Tensor, "b 2"]:
    """Numbers of cells down and across: powers of two up to `2 ** max_exponent`, independent of one another."""
    exponents = [torch.randint(0, max_exponent + 1, (2,), generator=generator) for generator in generators]
    return 2 ** torch.stack(exponents)


def perlin_masks(
    generators: Sequence[Generator],
    foregrounds: Float[Tensor, "b 1 H W"],
    *,
    max_exponent: int,
    threshold: float,
    attempts: int,
) -> Float[Tensor, "b 1 H W"]:
    """Masks of synthetic anomalies: rotated, thresholded Perlin noise within each image's foreground.

    Where a mask comes out empty, the noise is drawn again at the same numbers of cells, `attempts` times in all; what
    is empty then, stays empty. An image's mask depends on its own generator and foreground only.

    Args:
        generators: One on the CPU per image.
        foregrounds: Where an anomaly may be, 0 to 1; soft borders make soft masks.
        max_exponent: Base-two logarithm of the largest number of cells.
        threshold: Noise above which there is an anomaly.
        attempts: How often the noise is drawn at most.
    """
    masks = torch.zeros_like(foregrounds)
    cells = draw_cells(generators, max_exponent)
    open_ones = list(range(len(generators)))
    for _ in range(attempts):
        if not open_ones:
            break
        drawn = [generators[index] for index in open_ones]
        angles = draw_angles(drawn, 2**max_exponent + 1).to(foregrounds.device)
        degrees = torch.cat([180 * torch.rand(1, generator=generator) - 90 for generator in drawn])
        noise = perlin_noise(cells[open_ones], angles, (foregrounds.shape[2], foregrounds.shape[3]))
        where = torch.tensor(open_ones, device=foregrounds.device)
        cut = (rotate(noise[:, None], degrees) > threshold).to(foregrounds.dtype)
        masks[where] = cut * foregrounds[where]
        empty = (masks[where].flatten(1).sum(dim=1) == 0).tolist()
        open_ones = [index for index, is_empty in zip(open_ones, empty, strict=True) if is_empty]
    return masks


def _positions(
    cells: Int[Tensor, " b"], length: int, device: torch.device
) -> tuple[Int[Tensor, "b length"], Float[Tensor, "b length"]]:
    """The cell of every pixel along one axis, and how far into it the pixel lies, 0 to 1."""
    position = torch.arange(length, device=device) * (cells.to(device)[:, None] / length)
    cell = position.floor()
    return cell.long(), position - cell


def _fade(offset: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """6 t^5 - 15 t^4 + 10 t^3: flat at both ends to the second derivative."""
    return offset**3 * (offset * (offset * 6 - 15) + 10)
