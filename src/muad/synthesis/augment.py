"""The ten augmenters of DRAEM and DiffusionAD, for whole batches, with all randomness handed in.

An augmenter takes images of grey levels 0 to 255 and one row of numbers in [0, 1) per image, from which it reads its
strengths. What imgaug and Pillow did in the authors' code is done here in torch, on any device, one way everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from muad.synthesis.warp import rotate

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor

CHOSEN = 3
"""Augmenters applied one after the other to each image."""
_DRAWS = 4


def augment(images: Float[Tensor, "b 3 H W"], generators: Sequence[Generator]) -> Float[Tensor, "b 3 H W"]:
    """Each image, in [0, 1], after three different augmenters in random order, rounded to grey levels by each.

    Args:
        images: Any device.
        generators: One on the CPU per image.
    """
    orders = torch.stack([torch.randperm(len(AUGMENTERS), generator=g)[:CHOSEN] for g in generators])
    draws = torch.stack([torch.rand(CHOSEN, _DRAWS, generator=g) for g in generators]).to(images.device)
    levels = (images * 255).round()
    for place in range(CHOSEN):
        before, levels = levels, levels.clone()
        for number, augmenter in enumerate(AUGMENTERS):
            # The order lives on the CPU: asking a device which images are meant would make it wait.
            where = (orders[:, place] == number).nonzero()[:, 0].to(images.device)
            if len(where):
                levels[where] = augmenter(before[where], draws[where, place]).clamp(0, 255).round()
    return levels / 255


def _between(draw: Float[Tensor, " b"], low: float, high: float) -> Float[Tensor, "b 1 1 1"]:
    return (low + (high - low) * draw)[:, None, None, None]


def gamma(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Gamma of 0.5 to 2 for each channel."""
    exponents = 0.5 + 1.5 * draws[:, :3, None, None]
    return 255 * (levels / 255) ** exponents


def brightness(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Brightness times 0.8 to 1.2 and -30 to 30 added, in random order, either to the luma or to the maximum channel.

    DEVIATION: the authors draw one of several colour spaces; these are the two kinds of brightness they have.
    """
    factor, offset = _between(draws[:, 0], 0.8, 1.2), _between(draws[:, 1], -30, 30)
    offset_first, on_luma = _between(draws[:, 2], 0, 1) < 0.5, _between(draws[:, 3], 0, 1) < 0.5
    weights = torch.tensor([0.299, 0.587, 0.114], device=levels.device)[:, None, None]
    luma, value = (levels * weights).sum(dim=1, keepdim=True), levels.amax(dim=1, keepdim=True)
    light = torch.where(on_luma, luma, value)
    changed = torch.where(offset_first, (light + offset) * factor, light * factor + offset).clamp(0, 255)
    return torch.where(on_luma, levels + changed - luma, levels * changed / value.clamp(min=1))


def sharpness(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """From smoothed (0) over unchanged (1) to sharpened (2), as Pillow does it; the rim of one pixel stays."""
    kernel = torch.ones(3, 1, 3, 3, device=levels.device)
    kernel[:, :, 1, 1] = 5
    smoothed = levels.clone()
    smoothed[:, :, 1:-1, 1:-1] = F.conv2d(levels, kernel / 13, groups=3).round()
    return smoothed + _between(draws[:, 0], 0, 2) * (levels - smoothed)


def hue_and_saturation(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Hue and saturation shifted by -50 to 50 of 255 each."""
    value, low = levels.amax(dim=1), levels.amin(dim=1)
    chroma = value - low
    red, green, blue = levels.unbind(1)
    safe = chroma.clamp(min=1e-6)
    hue = torch.where(
        value == red,
        (green - blue) / safe % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = (hue + 6 * _between(draws[:, 0], -50, 50)[:, 0] / 255) % 6
    saturation = (chroma / value.clamp(min=1e-6) + _between(draws[:, 1], -50, 50)[:, 0] / 255).clamp(0, 1)
    # Each channel falls from the value by the chroma, depending on how far the hue is from the channel's own.
    distance = (torch.tensor([5.0, 3.0, 1.0], device=levels.device)[:, None, None] + hue[:, None]) % 6
    share = torch.minimum(distance, 4 - distance).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * share)


def solarize(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """In half of the images, grey levels from a threshold of 32 to 128 on are inverted."""
    inverted = (levels >= _between(draws[:, 1], 32, 128)) & (_between(draws[:, 0], 0, 1) < 0.5)
    return torch.where(inverted, 255 - levels, levels)


def posterize(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Only the 1 to 8 highest bits are kept."""
    step = 2 ** (7 - _between(draws[:, 0], 0, 8).floor())
    return (levels / step).floor() * step


def invert(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:  # noqa: ARG001
    """The negative."""
    return 255 - levels


def autocontrast(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Each channel stretched to the full range, after 0 to 20 % of the pixels are ignored at both ends."""
    ordered = levels.flatten(2).sort(dim=2).values
    pixels = ordered.shape[2]
    cut = (0.2 * draws[:, :1, None] * pixels).long().expand(-1, 3, -1)
    low, high = ordered.gather(2, cut)[..., None], ordered.gather(2, pixels - 1 - cut)[..., None]
    return torch.where(high > low, (levels - low) * 255 / (high - low).clamp(min=1), levels)


def equalize(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:  # noqa: ARG001
    """Each channel with a histogram as flat as it can be."""
    grey = levels.long().flatten(2)
    counts = torch.zeros(*grey.shape[:2], 256, device=levels.device)
    counts.scatter_add_(2, grey, torch.ones_like(levels).flatten(2))
    below = counts.cumsum(dim=2) - counts
    # Pillow's step: pixels per grey level once the brightest level present is left out.
    brightest = counts.gather(2, grey.amax(dim=2, keepdim=True))
    step = ((grey.shape[2] - brightest) / 255).floor()
    table = ((below + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(0, 255)
    return torch.where(step[..., None] > 0, table.gather(2, grey).view_as(levels), levels)


def turn(levels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 H W"]:
    """Turned by -45 to 45 degrees; black where nothing came from."""
    return rotate(levels, 90 * draws[:, 0] - 45)


AUGMENTERS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarize,
    posterize,
    invert,
    autocontrast,
    equalize,
    turn,
)
