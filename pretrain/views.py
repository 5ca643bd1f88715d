"""Two augmented views of every image, with the map from the patches of one to the places of the other.

Everything is batched tensor work, so that it runs where the images are: on a GPU no loader process is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from defects import damage
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How the views are drawn.

    Attributes:
        view_px: Side of a view.
        min_extent, max_extent: Side of the region that a view shows, as a fraction of the image.
        max_offset: Largest distance of the two views' centres, as a fraction of the smaller extent.
        rotation_deg: Rotations are uniform in plus or minus this.
        stretch: Largest log aspect ratio.
        colour: Strength of the colour changes; 1 is moderate.
        damaged: Share of the views that get a defect.
    """

    view_px: int = 112
    min_extent: float = 0.35
    max_extent: float = 1.0
    max_offset: float = 0.25
    rotation_deg: float = 180.0
    stretch: float = 0.15
    colour: float = 1.0
    damaged: float = 0.6


class Views(NamedTuple):
    """Two normalised views `a` and `b` [n, 3, px, px] and, for patch centres of one, the place in the other.

    `a_in_b` [n, h, w, 2] gives x, y in -1..1 of view b; values outside were not seen by view b. `damage` [2n, 2, h, w]
    says of every patch of a, then of b, whether a defect was drawn into it, and whether that is unsure.
    """

    a: Tensor
    b: Tensor
    a_in_b: Tensor
    b_in_a: Tensor
    damage: Tensor


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low


def _placements(n: int, config: ViewConfig, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two affine maps [n, 3, 3] from view coordinates to image coordinates, both -1..1."""
    extent = torch.exp(_uniform((2, n), math.log(config.min_extent), math.log(config.max_extent), rng))
    smaller = extent.amin(0)
    reach = (1 - extent.amax(0)).clamp(min=0)
    centre = _uniform((n, 2), -1, 1, rng) * reach[:, None]
    maps = []
    for k in range(2):
        angle = _uniform((n,), -math.radians(config.rotation_deg), math.radians(config.rotation_deg), rng)
        stretch = torch.exp(_uniform((n,), -config.stretch, config.stretch, rng))
        mirror = torch.where(_uniform((n,), 0, 1, rng) < 0.5, -1.0, 1.0)
        shift = centre + _uniform((n, 2), -1, 1, rng) * (config.max_offset * smaller)[:, None]
        cos, sin = torch.cos(angle), torch.sin(angle)
        sx, sy = extent[k] * stretch * mirror, extent[k] / stretch
        row_x = torch.stack([cos * sx, -sin * sy, shift[:, 0]], 1)
        row_y = torch.stack([sin * sx, cos * sy, shift[:, 1]], 1)
        last = torch.tensor([0.0, 0.0, 1.0]).expand(n, 3)
        maps.append(torch.stack([row_x, row_y, last], 1))
    return maps[0], maps[1]


def _sample(images: Tensor, to_image: Tensor, px: int) -> Tensor:
    grid = F.affine_grid(to_image[:, :2], [len(images), 3, px, px], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _falloff(n: int, px: int, strength: float, rng: torch.Generator) -> Tensor:
    """Light that is stronger on one side, [n, 1, px, px], around 1."""
    slope = _uniform((n, 2, 1, 1), -strength, strength, rng)
    line = torch.linspace(-1, 1, px)
    return (1 + slope[:, :1] * line[None, None, None, :] + slope[:, 1:] * line[None, None, :, None]).clamp(min=0.2)


def _recolour(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Brightness, contrast, gamma, tint, grey, uneven light, blur and noise, drawn per view; x in 0..1.

    The changes of light are large on purpose. A camera's exposure drifts by more than many defects differ from their
    surroundings; features that tell it apart rank a normal but darker image as the most anomalous.
    """
    n, device = len(x), x.device

    def draw(low: float, high: float) -> Tensor:
        return _uniform((n, 1, 1, 1), low, high, rng).to(device)

    s = strength
    grey = x.mean(1, keepdim=True)
    saturation = draw(1 - 0.5 * s, 1 + 0.4 * s)
    saturation = torch.where(draw(0, 1) < 0.25, torch.zeros_like(saturation), saturation)
    tint = torch.exp(_uniform((n, 3, 1, 1), -0.2 * s, 0.2 * s, rng).to(device))
    x = (grey + (x - grey) * saturation) * tint * _falloff(n, x.shape[-1], 0.3 * s, rng).to(device)
    level = x.mean((1, 2, 3), keepdim=True)
    x = (x - level) * torch.exp(draw(-0.9 * s, 0.5 * s)) + level + draw(-0.25 * s, 0.25 * s)
    x = x.clamp(1e-3, 1) ** torch.exp(draw(-0.5 * s, 0.5 * s))
    blurred = F.avg_pool2d(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    # A negative amount sharpens.
    x = x + (blurred - x) * torch.where(draw(0, 1) < 0.5, draw(-0.5 * s, s), torch.zeros((), device=device))
    device_rng = torch.Generator(device).manual_seed(int(torch.randint(2**31, (1,), generator=rng)))
    noise = torch.randn(x.shape, generator=device_rng, device=device)
    return (x + noise * draw(-0.06 * s, 0.04 * s).clamp(min=0)).clamp(0, 1)


def _patch_centres(n: int, side: int) -> Tensor:
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).expand(n, side, side, 3)


def draw_views(images: Tensor, config: ViewConfig, patch_px: int, rng: torch.Generator) -> Views:
    """Draw two views of every image.

    Args:
        images: uint8 [n, side, side, 3].
        config: How to draw.
        patch_px: Side of the encoder's patch.
        rng: A CPU generator; the same state gives the same views on every device.
    """
    n, device = len(images), images.device
    to_a, to_b = _placements(n, config, rng)
    x = images.permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=device).view(1, 3, 1, 1)
    views, marks = [], []
    for to_view in (to_a, to_b):
        plain = _sample(x, to_view.to(device), config.view_px)
        harmed = damage(plain, config.damaged, patch_px, rng)
        views.append((_recolour(harmed.images, config.colour, rng) - mean) / std)
        marks.append(torch.cat([harmed.hit, harmed.unsure], 1))
    centres = _patch_centres(n, config.view_px // patch_px)
    a_in_b = torch.einsum("nij,nhwj->nhwi", torch.linalg.inv(to_b) @ to_a, centres)[..., :2].to(device)
    b_in_a = torch.einsum("nij,nhwj->nhwi", torch.linalg.inv(to_a) @ to_b, centres)[..., :2].to(device)
    return Views(views[0], views[1], a_in_b, b_in_a, torch.cat(marks))
