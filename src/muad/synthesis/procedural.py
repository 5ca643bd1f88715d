"""Textures computed from nothing, for synthetic anomalies where there is no folder of texture photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from muad.synthesis.perlin import draw_angles, draw_cells, perlin_noise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor


def procedural_textures(
    generators: Sequence[Generator], size: tuple[int, int], device: torch.device
) -> Float[Tensor, "b 3 H W"]:
    """One random texture per generator, in [0, 1], of a random kind, colour and coarseness.

    The generators are on the CPU, and so is all that is drawn from them; an image does not depend on its batch.
    """
    textures = []
    for generator in generators:
        kind = int(torch.randint(len(KINDS), (1,), generator=generator))
        textures.append(KINDS[kind](generator, size).clamp(0, 1))
    return torch.stack(textures).to(device)


def clouds(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """Perlin noise of four octaves between two colours, with some of its own in every channel."""
    field = torch.zeros(4, *size)
    for octave in range(4):
        cells = (2 ** (octave + 1)) * torch.ones(4, 2, dtype=torch.long)
        field += perlin_noise(cells, draw_angles([generator] * 4, 2 ** (octave + 1) + 1), size) / 2**octave
    tint = 0.5 * torch.rand(1, generator=generator)
    return _mix((field[:1] + tint * field[1:]) * 0.6 + 0.5, generator)


def cells(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """Worley cells: every pixel belongs to the nearest of 8 to 60 points and has its colour, darker at the borders."""
    count = int(torch.randint(8, 61, (1,), generator=generator))
    points = torch.rand(count, 2, generator=generator)
    down, across = _coordinates(size)
    pixels = torch.stack([down.expand(size), across.expand(size)], dim=-1).view(-1, 2)
    nearest = torch.cdist(pixels, points).topk(2, dim=1, largest=False)
    colours = torch.rand(count, 3, generator=generator)[nearest.indices[:, 0]]
    border = (nearest.values[:, 1] - nearest.values[:, 0]) * math.sqrt(count)
    dark = 1 - torch.rand(1, generator=generator) * torch.exp(-6 * border)
    return (colours * dark[:, None]).T.reshape(3, *size)


def stripes(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """Two colours in turns along a random direction, with soft or hard borders."""
    return _mix(_wave(generator, size), generator)


def checks(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """The product of two gratings: squares, lozenges or dots."""
    return _mix(_wave(generator, size) * _wave(generator, size), generator)


def speckle(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """Coloured noise at one scale between a pixel and an eighth of the image."""
    share = 2.0 ** -int(torch.randint(0, 4, (1,), generator=generator))
    coarse = [max(8, int(length * share)) for length in size]
    noise = torch.rand(1, 3, *coarse, generator=generator)
    return F.interpolate(noise, size, mode="bilinear", align_corners=False)[0]


def blotches(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """Spots of one colour on another, with sharp borders and a grain."""
    field = perlin_noise(draw_cells([generator], 4), draw_angles([generator], 17), size)
    spots = (field * 40 * torch.rand(1, generator=generator)).sigmoid()
    return _mix(spots, generator) + 0.05 * torch.randn(1, *size, generator=generator)


KINDS: tuple[Callable[[Generator, tuple[int, int]], Tensor], ...] = (clouds, cells, stripes, checks, speckle, blotches)


def _mix(share: Float[Tensor, "c H W"], generator: Generator) -> Float[Tensor, "3 H W"]:
    """Between two random colours."""
    colours = torch.rand(2, 3, 1, 1, generator=generator)
    return torch.lerp(colours[0], colours[1], share.clamp(0, 1))


def _wave(generator: Generator, size: tuple[int, int]) -> Float[Tensor, "1 H W"]:
    """A grating from 0 to 1 of 2 to 30 periods, bent a little."""
    direction, periods, bend, hardness = torch.rand(4, generator=generator).tolist()
    down, across = _coordinates(size)
    bent = down + 0.1 * bend * torch.sin(2 * math.pi * across)
    along = math.cos(math.pi * direction) * across + math.sin(math.pi * direction) * bent
    phase = 2 * math.pi * (2 + 28 * periods) * along
    wave: Tensor = torch.sin(phase) * (1 + 20 * hardness)
    return wave.sigmoid()[None]


def _coordinates(size: tuple[int, int]) -> tuple[Float[Tensor, "H 1"], Float[Tensor, "1 W"]]:
    return torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])[None]
