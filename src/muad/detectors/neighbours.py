"""Nearest neighbours of patches in a memory, and which patches a memory should hold. What PatchCore computes.

Distances are squared until the end: of patches p and m it is |p|² - 2 p·m + |m|², and the middle is a product of
matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_BLOCK = 4096  # remembered patches compared at once: of a thousand patches 16 MiB
_ROWS = 432  # patches compared at once on a processor, whose caches hold what comes out
_SOUGHT = 1024  # remembered patches compared at once where the nearest is sought in bfloat16
_EXACT_BELOW = 2048  # a memory that is searched exactly as quickly
_SEARCHED_LISTS = 16


def nearest(
    patches: Float[Tensor, "b n d"], memory: Float[Tensor, "m d"], *, lowered: bool = False
) -> Float[Tensor, "b n"]:
    """Squared Euclidean distance of every patch to the nearest remembered one.

    Args:
        patches: Of each image.
        memory: The remembered ones.
        lowered: On a processor, seek the nearest one by products of bfloat16 numbers, summed in float32, and measure
            its distance in float32. Of two that are about as near it may take the farther one.

    Raises:
        ConfigError: Nothing is remembered.
    """
    if not len(memory):
        raise ConfigError("memory must hold normal patches, got none.")
    flat, lengths = patches.flatten(0, 1), memory.square().sum(1)
    if torch.compiler.is_exporting() or flat.device.type != "cpu":
        return _squared(flat, memory, lengths).reshape(patches.shape[:2])
    if lowered:
        found = memory[_sought(flat, memory, lengths)]
        return (flat - found).square().sum(1).reshape(patches.shape[:2])
    rows = [_squared(rows, memory, lengths) for rows in torch.split(flat, _ROWS)]
    return torch.cat(rows).reshape(patches.shape[:2])


def _squared(
    flat: Float[Tensor, "n d"], memory: Float[Tensor, "m d"], lengths: Float[Tensor, " m"]
) -> Float[Tensor, " n"]:
    """The same of patches in a row, with the squared lengths of those remembered."""
    blocks = zip(torch.split(memory, _BLOCK), torch.split(lengths, _BLOCK), strict=True)
    # |m|² - 2 p·m in one product
    compared = [torch.addmm(own, flat, block.T, alpha=-2).amin(1) for block, own in blocks]
    return (reduce(torch.minimum, compared) + flat.square().sum(1)).clamp(min=0)


def _sought(
    flat: Float[Tensor, "n d"], memory: Float[Tensor, "m d"], lengths: Float[Tensor, " m"]
) -> Int[Tensor, " n"]:
    """Which remembered patch is nearest to each, by products of bfloat16 numbers."""
    least = torch.full((len(flat),), torch.inf)
    where = torch.zeros(len(flat), dtype=torch.long)
    with _bf16_products():
        for begin in range(0, len(memory), _SOUGHT):
            some = slice(begin, begin + _SOUGHT)
            own, place = torch.addmm(lengths[some], flat, memory[some].T, alpha=-2).min(1)
            nearer = own < least
            least, where = torch.where(nearer, own, least), torch.where(nearer, place + begin, where)
    return where


@contextmanager
def _bf16_products() -> Iterator[None]:
    """Products of float32 matrices take bfloat16 factors meanwhile, and sum in float32."""
    onednn: Any = torch.backends.mkldnn  # its settings have no types
    before = onednn.matmul.fp32_precision
    onednn.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        onednn.matmul.fp32_precision = before


def reweighted(
    patches: Float[Tensor, "b n d"], distance: Float[Tensor, "b n"], memory: Float[Tensor, "m d"], neighbours: int
) -> Float[Tensor, " b"]:
    """The largest distance of each image, made larger where the remembered patch it is measured to is a rare one.

    With p the patch of the largest distance s and m its nearest in memory, the score is
    s (1 - exp |p - m| / sum over k of exp |p - k|), k among the patches of the memory nearest to m, m itself included.

    Args:
        patches: Of each image.
        distance: Of each patch to the nearest remembered one, squared or not.
        memory: The remembered patches.
        neighbours: How many patches k there are.

    References:
        Roth et al., arXiv:2106.08265, equation 7.
    """
    largest, where = distance.max(dim=1)
    farthest = torch.take_along_dim(patches, where[:, None, None], dim=1)[:, 0]  # (b, d)
    lengths = memory.square().sum(1)
    own = (farthest.square().sum(1, keepdim=True) + lengths - 2 * farthest @ memory.T).clamp(min=0)
    first = own.argmin(dim=1, keepdim=True)  # (b, 1)
    reached = memory[first[:, 0]]
    around = lengths - 2 * reached @ memory.T  # up to a summand, from the patch reached to all others
    # Itself first, whatever rounding makes of its distance to itself.
    around = around.scatter(1, first, -torch.inf)
    close = around.topk(min(neighbours, len(memory)), dim=1, largest=False).indices
    between = torch.take_along_dim(own, close, dim=1).sqrt()
    shares = between.softmax(dim=1)[:, 0]
    return largest * (1 - shares)


def greedy_coreset(
    patches: Float[Tensor, "m d"],
    count: int,
    seed: int = 0,
    *,
    beside: Float[Tensor, "k d"] | None = None,
    projection: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Int[Tensor, " count"]:
    """Indices of patches such that every patch has a chosen one near: always the farthest one next.

    The first is the one farthest from all, which is the one farthest from their mean; beside others that are there
    already, the one farthest from those.

    Args:
        patches: Candidates.
        count: How many to choose.
        seed: Of the projection.
        beside: Patches that were chosen before; every candidate is measured to them as well.
        projection: Width of a random projection in which distances are taken, which keeps them to a few percent; 0, or
            one as wide as the patches, for none.
        progress: Called now and then with how many are chosen.
    """
    points, known = patches, beside
    if 0 < projection < patches.shape[1]:
        generator = torch.Generator().manual_seed(seed)
        directions = (torch.randn(patches.shape[1], projection, generator=generator) / projection**0.5).to(
            patches.device
        )
        points, known = patches @ directions, None if beside is None else beside @ directions
    chosen = torch.empty(count, dtype=torch.long, device=patches.device)
    squared = points.square().sum(1)
    if known is None or not len(known):
        chosen[0] = (points - points.mean(0)).square().sum(1).argmax()
        least = torch.full((len(points),), torch.inf, device=patches.device)
    else:
        least = nearest(points[None], known)[0]
        chosen[0] = least.argmax()
    for place in range(1, count):
        last = chosen[place - 1]
        least = torch.minimum(least, squared - 2 * (points @ points[last]) + squared[last])
        least[last] = -torch.inf  # chosen once, whatever rounding makes of equal patches
        chosen[place] = least.argmax()
        if place % 100 == 0:
            progress(place)
    return chosen


class ApproximateSearch:
    """Nearest neighbours by FAISS: the memory is cut into cells, and only those around a patch are searched.

    The cells are made when they are first needed, and again when the memory has changed.
    """

    def __init__(self) -> None:
        self._faiss = _faiss()
        self._made_of: tuple[int, int, tuple[int, ...]] | None = None
        self._index: Any = None

    def __call__(self, patches: Float[Tensor, "b n d"], memory: Float[Tensor, "m d"]) -> Float[Tensor, "b n"]:
        """Squared Euclidean distance of every patch to a remembered one that is almost always the nearest."""
        state = (memory.data_ptr(), memory._version, tuple(memory.shape))
        if state != self._made_of:
            self._index, self._made_of = self._made(memory), state
        squared, _ = self._index.search(patches.flatten(0, 1).float().cpu().contiguous().numpy(), 1)
        return torch.from_numpy(squared[:, 0]).clamp(min=0).reshape(patches.shape[:2]).to(patches.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> ApproximateSearch:
        return ApproximateSearch()

    def _made(self, memory: Float[Tensor, "m d"]) -> Any:  # noqa: ANN401  faiss has no types
        faiss, values = self._faiss, memory.float().cpu().contiguous().numpy()
        width = values.shape[1]
        if len(values) < _EXACT_BELOW:
            index = faiss.IndexFlatL2(width)
        else:
            index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, 4 * math.isqrt(len(values)))
            index.cp.min_points_per_centroid = 1
            index.nprobe = _SEARCHED_LISTS
            index.train(values)
        index.add(values)
        return index


def _faiss() -> Any:  # noqa: ANN401
    try:
        import faiss
    except ImportError:
        msg = "detector.search must be exact without the package faiss-cpu, got faiss. "
        raise ConfigError(f"{msg}Run pip install 'muad[search]', or leave the setting out.") from None
    return faiss
