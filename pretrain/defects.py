"""Defects drawn into views, so that the network learns what a defect changes and what a pose or a light does not.

A defect is a region (blob, stroke or patch), what is seen in it (another image, another place of this one, a stain, a
flat colour, a blur, a dent, a rough texture), and how opaque it is. All of it is batched tensor work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = TypeVar("Kind")

VISIBLE = 0.05
"""Change of the grey level, of 1, from which a pixel counts as changed."""
FAINT = 0.02
"""Change up to which it counts as unchanged."""
SHARE = 0.06
"""Share of changed pixels from which a patch counts as damaged."""


class Damage(NamedTuple):
    """Views with defects, and per patch whether it is `hit` and whether that is `unsure`: 0 or 1, [n, 1, h, w]."""

    images: Tensor
    hit: Tensor
    unsure: Tensor


class Draw:
    """Random numbers for `n` images from a CPU generator, each of its own.

    Args:
        n: Number of images.
        rng: A CPU generator; the same state gives the same numbers on every device.
        device: Where they are needed.
    """

    def __init__(self, n: int, rng: torch.Generator, device: torch.device) -> None:
        self.n, self.rng, self.device = n, rng, device

    def uniform(self, low: float, high: float, *rest: int) -> Tensor:
        """Numbers between `low` and `high`, [n, *rest]."""
        return (torch.rand((self.n, *rest), generator=self.rng) * (high - low) + low).to(self.device)

    def log_uniform(self, low: float, high: float, *rest: int) -> Tensor:
        """Numbers of uniform logarithm between `low` and `high`, [n, *rest]."""
        return torch.exp(self.uniform(math.log(low), math.log(high), *rest))

    def normal(self, *rest: int) -> Tensor:
        """Standard normal numbers, [n, *rest]."""
        return torch.randn((self.n, *rest), generator=self.rng).to(self.device)


def _axes(px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    line = torch.linspace(-1, 1, px, device=device)
    return line[None, None, :], line[None, :, None]


# ------------------------------------------------------------------------------------------------------ regions
# Each gives soft masks [n, px, px] in 0..1.


def blobs(draw: Draw, px: int) -> Tensor:
    """Cut out of smooth noise of three finenesses, inside a round window."""
    cells = (4, 8, 18)[int(torch.randint(0, 3, (1,), generator=draw.rng))]
    noise = F.interpolate(draw.normal(1, cells, cells), size=(px, px), mode="bicubic")[:, 0]
    x, y = _axes(px, draw.device)
    radius = draw.log_uniform(0.12, 0.6, 1, 1)
    away = torch.hypot(x - draw.uniform(-0.8, 0.8, 1, 1), y - draw.uniform(-0.8, 0.8, 1, 1)) / radius
    return ((noise - away) * px * 0.15 * radius + 0.5).clamp(0, 1)


def strokes(draw: Draw, px: int) -> Tensor:
    """Bent lines of 1 to 5 pixels' width."""
    length = draw.log_uniform(0.15, 1.4, 1, 1)
    along = torch.linspace(0, 1, 24, device=draw.device)[:, None]
    angle = draw.uniform(0, 2 * math.pi, 1, 1) + draw.uniform(-1.5, 1.5, 1, 1) * along
    steps = torch.cat([angle.cos(), angle.sin()], -1) * length / 24
    points = draw.uniform(-0.9, 0.9, 1, 2) + steps.cumsum(1)
    x, y = _axes(px, draw.device)
    nearest = torch.full((draw.n, px, px), torch.inf, device=draw.device)
    for k in range(24):
        nearest = torch.minimum(nearest, (x - points[:, k, :1, None]) ** 2 + (y - points[:, k, 1:, None]) ** 2)
    return (draw.log_uniform(0.6, 2.5, 1, 1) - nearest.sqrt() * px / 2 + 0.5).clamp(0, 1)


def patches(draw: Draw, px: int) -> Tensor:
    """Turned ellipses and rectangles."""
    x, y = _axes(px, draw.device)
    x, y = x - draw.uniform(-0.85, 0.85, 1, 1), y - draw.uniform(-0.85, 0.85, 1, 1)
    angle = draw.uniform(0, math.pi, 1, 1)
    width, height = draw.log_uniform(0.05, 0.45, 1, 1), draw.log_uniform(0.05, 0.45, 1, 1)
    u = (x * angle.cos() + y * angle.sin()).abs() / width
    v = (y * angle.cos() - x * angle.sin()).abs() / height
    reach = torch.where(draw.uniform(0, 1, 1, 1) < 0.5, torch.maximum(u, v), torch.hypot(u, v))
    return ((1 - reach) * torch.minimum(width, height) * px / 2 + 0.5).clamp(0, 1)


# -------------------------------------------------------------------------------------------------------- looks
# Each gives what would be seen [n, 3, px, px] if the region were opaque, from images, other images and the masks.


def foreign(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Another image."""
    return others


def displaced(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Another place of the same image, turned or mirrored."""
    px = images.shape[-1]
    turn = int(torch.randint(0, 4, (1,), generator=draw.rng))
    turned = torch.rot90(images, turn, (2, 3)) if turn else images.flip(3)
    return turned.roll((px // 3 + 1, px // 4), (2, 3))


def stain(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Darker or lighter, half of the time coloured."""
    sign = torch.where(draw.uniform(0, 1, 1, 1, 1) < 0.5, -1.0, 1.0)
    tint = torch.where(draw.uniform(0, 1, 1, 1, 1) < 0.5, draw.uniform(0.2, 1, 3, 1, 1), 1.0)
    return images + sign * draw.uniform(0.12, 0.6, 1, 1, 1) * tint


def flat(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """One colour."""
    return (draw.uniform(0, 1, 1, 1, 1) + draw.uniform(-0.15, 0.15, 3, 1, 1)).expand_as(images)


def blurred(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Smooth, as if melted or smeared."""
    for _ in range(2):
        images = F.avg_pool2d(images, 7, 1, 3, count_include_pad=False)
    return images


def dented(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Pushed aside by 3 to 9 pixels."""
    n, _, px, _ = images.shape
    angle = draw.uniform(0, 2 * math.pi, 1, 1)
    push = torch.stack([angle.cos(), angle.sin()], -1) * draw.uniform(3, 9, 1, 1, 1) * 2 / px
    x, y = _axes(px, draw.device)
    soft = F.avg_pool2d(masks[:, None], 5, 1, 2)[:, 0, ..., None]
    grid = torch.stack([x.expand(n, px, px), y.expand(n, px, px)], -1) + push * soft
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def rough(images: Tensor, others: Tensor, masks: Tensor, draw: Draw) -> Tensor:  # noqa: ARG001
    """Grain of about 3 pixels."""
    px = images.shape[-1]
    grain = F.interpolate(draw.normal(1, px // 3, px // 3), size=(px, px), mode="bilinear")
    return images + grain * draw.uniform(0.08, 0.25, 1, 1, 1)


Region = Callable[[Draw, int], Tensor]
Look = Callable[[Tensor, Tensor, Tensor, Draw], Tensor]
REGIONS: tuple[Region, ...] = (blobs, strokes, patches)
LOOKS: tuple[Look, ...] = (foreign, displaced, stain, flat, blurred, dented, rough)


def damage(images: Tensor, share: float, patch_px: int, rng: torch.Generator) -> Damage:
    """Draw one or two defects into a share of the views.

    Args:
        images: Views in 0..1, [n, 3, px, px].
        share: Of the views that get a defect.
        patch_px: Side of the encoder's patch.
        rng: A CPU generator.
    """
    n, _, px, _ = images.shape
    device = images.device
    result = images.clone()
    for part in (share, share / 2):
        chosen = (torch.rand(n, generator=rng) < part).nonzero()[:, 0]
        masks = torch.zeros((n, px, px), device=device)
        for region, rows in _dealt(REGIONS, chosen, rng):
            masks[rows] = region(Draw(len(rows), rng, device), px)
        before = result.clone()
        for look, rows in _dealt(LOOKS, chosen, rng):
            draw, x, mask = Draw(len(rows), rng, device), before[rows], masks[rows]
            seen = look(x, before[(rows + 1) % n], mask, draw)
            result[rows] = x + mask[:, None] * draw.uniform(0.35, 1, 1, 1, 1) * (seen - x)
    result = result.clamp(0, 1)
    change = (result - images).abs().mean(1, keepdim=True)
    hit = (F.avg_pool2d((change > VISIBLE).float(), patch_px) >= SHARE).float()
    untouched = (F.max_pool2d(change, patch_px) < FAINT).float()
    return Damage(result, hit, (1 - hit) * (1 - untouched))


def _dealt(kinds: tuple[Kind, ...], rows: Tensor, rng: torch.Generator) -> list[tuple[Kind, Tensor]]:
    """Every kind with the rows that fall to it by lot, those without any left out."""
    lots = torch.randint(0, len(kinds), (len(rows),), generator=rng)
    dealt = [(kind, rows[lots == number]) for number, kind in enumerate(kinds)]
    return [(kind, own) for kind, own in dealt if len(own)]
