"""Bad parts among the good ones: how far is each good image from the other good images most like it?

Every image is described by the bundled encoder and compared with all others of its category but itself and its
near-duplicates, in two ways: as a whole (pooled features), and by its most distant patch, looked for in the images most
like it. Both have a robust limit; what is above one of them deserves a look, and is not thereby bad.

References:
    The patch distance is that of Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022,
    arXiv:2106.08265, taken leave-one-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from muad.checking.findings import Finding
from muad.checking.outliers import LEAST_IMAGES, robust_limit
from muad.detectors import PatchCore, PatchCoreConfig
from muad.device import has_fast_bf16

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8
    from torch import Tensor

    from muad.checking.reading import Seen
    from muad.images.preprocessing import Preprocessing

VIEW_PX = 224
_SIMILAR = 8  # images in which a patch's like is looked for
NEIGHBOUR = 4
"""Which neighbour a distance is taken to: the nearest three may be bad parts of the same kind."""


class Describer:
    """The bundled encoder, giving patch features of images.

    Args:
        device: Where to compute.
    """

    def __init__(self, device: torch.device) -> None:
        size = (VIEW_PX, VIEW_PX)
        self._network = PatchCore(PatchCoreConfig(resize_px=size, crop_px=size)).to(device).eval()
        self._device = device

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared: stretched to one size, nothing cut off."""
        return self._network.preprocessing

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._network.grid

    @torch.no_grad()
    def describe(self, views: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Float[Tensor, "b p d"]:
        """Patch features of unit length, in half precision to keep thousands of images in memory."""
        images = torch.from_numpy(self.preprocessing.normalise(np.stack(views))).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=has_fast_bf16(self._device)):
            patches = self._network.patches(self._network.encode(images))
        return F.normalize(patches.float(), dim=-1).half()


def suspicious(
    images: Sequence[Seen],
    patches: Float[Tensor, "n p d"],
    groups: Sequence[tuple[int, ...]],
    grid: tuple[int, int],
) -> tuple[list[Finding], tuple[float, float] | None]:
    """Good images of one category that are unlike all its other good images.

    Args:
        images: Good images of the category.
        patches: Their features.
        groups: Indices of images that show the same picture; they are no evidence for each other.
        grid: Rows and columns of patches.

    Returns:
        Findings, the most distant first, and the two limits; no limits of too few images.
    """
    if len(images) < LEAST_IMAGES:
        return [], None
    whole, farthest, places = leave_one_out(patches, groups)
    known = np.isfinite(whole)
    if known.sum() < LEAST_IMAGES:
        return [], None
    limits = robust_limit(whole[known]), robust_limit(farthest[known])
    excess = np.maximum(whole / limits[0], farthest / limits[1])
    excess[~known] = 0
    findings = []
    for index in np.argsort(-excess, kind="stable").tolist():
        if excess[index] <= 1:
            break
        record = images[index].record
        text = (
            f"distance from other good images {whole[index]:.3f} (limit {limits[0]:.3f}), of its most distant patch "
            f"{farthest[index]:.3f} (limit {limits[1]:.3f})."
        )
        box = _box(int(places[index]), grid) if farthest[index] > limits[1] else None
        findings.append(Finding(kind="suspicious", category=record.category, images=(record.path,), text=text, box=box))
    return findings, limits


@torch.no_grad()
def leave_one_out(
    patches: Float[Tensor, "n p d"], groups: Sequence[tuple[int, ...]] = ()
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Distance of each image to its NEIGHBOUR-th nearest other one: as a whole, of its most distant patch, and which.

    A patch's distance to an image is that to the patch most like it there. With fewer others, the last of them counts.

    Args:
        patches: Features of unit length.
        groups: Indices of images that do not count as others of each other.

    Returns:
        Two Euclidean distances, NaN where an image has no other, and the index of the patch.
    """
    count = len(patches)
    pooled = F.normalize(patches.float().mean(1), dim=-1)
    similarity = pooled @ pooled.T
    similarity.fill_diagonal_(-torch.inf)
    for group in groups:
        rows = torch.tensor(group, device=patches.device)
        similarity[rows[:, None], rows] = -torch.inf
    nearest = similarity.topk(min(_SIMILAR, count), dim=1)
    whole, farthest, places = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, np.int64)
    for index in range(count):
        others = nearest.indices[index][nearest.values[index] > -torch.inf]
        if not len(others):
            continue
        rank = min(NEIGHBOUR, len(others)) - 1
        alike = (patches[others].float() @ patches[index].float().T).amax(1)  # (others, p)
        there = alike.sort(dim=0, descending=True).values[rank]  # (p,)
        whole[index] = _distance(nearest.values[index, rank])
        places[index] = int(there.argmin())
        farthest[index] = _distance(there.min())
    return whole, farthest, places


def _distance(cosine: Float[Tensor, ""]) -> float:
    return float((2 - 2 * cosine).clamp(min=0).sqrt())


def _box(place: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """A patch and its eight neighbours, whose features were averaged into it, as shares of height and width."""
    row, column = divmod(place, grid[1])
    top, bottom = max(0, row - 1) / grid[0], min(grid[0], row + 2) / grid[0]
    left, right = max(0, column - 1) / grid[1], min(grid[1], column + 2) / grid[1]
    return top, left, bottom, right
