"""Where training begins: a network whose first block computes local energies of oriented waves, and colour.

The patch embedding holds Gabor filters in pairs of quadrature, on each quarter of a patch and on the whole, and colour
differences. The first block's MLP, whose GELU of plus and minus a response adds up to its size, turns each pair into an
energy. What the MLP sees is normalised over a patch together with a floor, so that contrast above the floor is divided
out and noise below it stays small. All later blocks begin as small random changes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from network import PATCH_PX, WIDTH, Trunk
from torch import Tensor

CELL_CENTRES = (3.0, 10.0)
CELL_WAVES = ((3.5, 8, 2.0), (5.5, 8, 2.6))
"""Wavelength in pixels, orientations and width of the Gabor filters on each quarter of a patch."""
PATCH_WAVES = ((9.0, 6, 4.0), (14.0, 4, 4.5))
"""The same for those on the whole patch."""
EMBEDDED = 0.1
"""Size of a typical response in the patch embedding."""
FLOOR = 0.2
"""Size of the floor there: responses well below it count as noise."""
GAIN = 2.0
"""Steepness of the MLP's response: how soon the energy grows linearly and not as a square."""
KEPT_MEAN = 0.3
"""Share of the mean energies that is left in: what all patches have in common."""
SUMMED, SINGLE, SIGNED, BRIGHTNESS = 1.0, 0.35, 0.5, 0.1
"""Weights: energies summed over the quarters (twice that) or on the whole patch; of one quarter; colour and edges;
brightness."""


def gabor(centre: tuple[float, float], wavelength: float, angle: float, phase: float, width: float) -> Tensor:
    """A wave in a Gaussian window, without mean and of unit length, [14, 14]."""
    line = torch.arange(PATCH_PX).float()
    y, x = torch.meshgrid(line - centre[0], line - centre[1], indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * width**2))
    wave = window * torch.cos(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength + phase)
    wave = wave - window * (wave.sum() / window.sum())
    return wave / wave.norm()


def filters() -> tuple[Tensor, Tensor]:
    """Pairs of quadrature [pairs, 2, 3, 14, 14] (quarter by quarter, then the whole patch), and plain filters.

    The plain ones [12, 3, 14, 14] are three edges, red against green and blue against yellow on each quarter, and
    brightness.
    """
    pairs = []
    middle = (PATCH_PX - 1) / 2
    places = [(y, x) for y in CELL_CENTRES for x in CELL_CENTRES]
    layout = [(place, wave) for place in places for wave in CELL_WAVES] + [((middle, middle), w) for w in PATCH_WAVES]
    for place, (wavelength, orientations, width) in layout:
        for k in range(orientations):
            angle = math.pi * k / orientations
            pairs.append(torch.stack([gabor(place, wavelength, angle, phase, width) for phase in (0, math.pi / 2)]))
    half = PATCH_PX // 2
    quarters = torch.zeros(4, PATCH_PX, PATCH_PX)
    for k in range(4):
        quarters[k, half * (k // 2) : half * (k // 2 + 1), half * (k % 2) : half * (k % 2 + 1)] = 1 / half
    signs = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1], [1, 1, 1, 1]]) / 2
    grey = torch.ones(3) / math.sqrt(3)
    opponent = torch.tensor([[1.0, -1, 0], [1, 1, -2]]) / torch.tensor([[2.0], [6.0]]).sqrt()
    edges = torch.einsum("sk,kyx,c->scyx", signs, quarters, grey)
    colours = torch.einsum("oc,kyx->okcyx", opponent, quarters).flatten(0, 1)
    waves = torch.stack(pairs)[:, :, None] * grey[:, None, None]
    return waves, torch.cat([edges[:3], colours, edges[3:]])


@torch.no_grad()
def start_from_energies(trunk: Trunk, images: Tensor) -> None:
    """Fill the patch embedding and the first block's MLP of a new network.

    Args:
        trunk: The network.
        images: Normalised sample images [n, 3, px, px]; they set the scale of every response.
    """
    waves, plain = filters()
    bank = torch.cat([waves.flatten(0, 1), plain])
    count, paired = len(bank), 2 * len(waves)
    patches = F.unfold(images, PATCH_PX, stride=PATCH_PX).transpose(1, 2).flatten(0, 1)
    embedding, block = trunk.vit.patch_embed.proj, trunk.vit.blocks[0]

    typical = (patches @ bank.flatten(1).T).abs().mean(0)
    embedding.weight.zero_()
    embedding.weight[:count] = bank * (EMBEDDED / typical)[:, None, None, None]
    # Plus and minus in turn, so that the floor adds to what the norm divides by and nothing to the mean it subtracts.
    floor = FLOOR * math.sqrt(WIDTH / (WIDTH - count)) * (1 - 2 * (torch.arange(WIDTH - count) % 2)).float()
    embedding.bias.copy_(torch.cat([torch.zeros(count), floor]))

    fc1, fc2 = block.mlp.fc1, block.mlp.fc2
    for layer in (fc1, fc2):
        torch.nn.init.normal_(layer.weight, std=0.02)
        torch.nn.init.zeros_(layer.bias)
    both = torch.cat([torch.eye(count, WIDTH), -torch.eye(count, WIDTH)])
    fc1.weight[: 2 * count] = GAIN * both
    seen = F.layer_norm(patches @ embedding.weight.flatten(1).T + embedding.bias, (WIDTH,))
    plus, minus = F.gelu(seen @ fc1.weight[: 2 * count].T).split(count, dim=1)

    sums, weights = _energies(len(waves))
    sums = sums.repeat_interleave(2, dim=1)  # both phases of a pair add up
    energy = (plus + minus)[:, :paired] @ sums.T
    scale = weights / energy.std(0)
    signed = torch.cat([torch.full((len(plain) - 1,), SIGNED), torch.tensor([BRIGHTNESS])])
    signed = torch.diag(signed / (plus - minus)[:, paired:].std(0))
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH))  # so that no dimension or head is special
    rotation = rotation[:, : len(sums) + len(plain)]
    energies = torch.cat([sums * scale[:, None], torch.zeros(len(sums), len(plain))], 1)
    plains = torch.cat([torch.zeros(len(plain), paired), signed], 1)
    fc2.weight[:, :count] = rotation @ torch.cat([energies, plains])
    fc2.weight[:, count : 2 * count] = rotation @ torch.cat([energies, -plains])
    common = torch.cat([-(1 - KEPT_MEAN) * energy.mean(0) * scale, torch.zeros(len(plain))])
    fc2.bias.copy_(rotation @ common)
    block.ls1.gamma.fill_(0.02)
    block.ls2.gamma.fill_(1.0)


def _energies(pairs: int) -> tuple[Tensor, Tensor]:
    """Sums over pairs that are given on, [rows, pairs], and their weights: over the quarters, single, whole patch."""
    single = torch.eye(pairs)
    in_quarter = sum(orientations for _, orientations, _ in CELL_WAVES)
    quarters, whole = single[: 4 * in_quarter], single[4 * in_quarter :]
    over = quarters.view(4, in_quarter, pairs).sum(0)
    weights = [2 * SUMMED] * len(over) + [SINGLE] * len(quarters) + [SUMMED] * len(whole)
    return torch.cat([over, quarters, whole]), torch.tensor(weights)
