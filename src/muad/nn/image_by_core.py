"""Images of a batch through a network on a processor: one to a core, rather than all cores on one after the other.

What a core computes of an image alone stays in its caches, and no core waits for another between two layers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_ONE_AT_A_TIME = threading.Lock()  # torch has one number of threads for all


def image_by_core(
    network: Callable[[Float[Tensor, "1 3 H W"]], list[Tensor]], images: Float[Tensor, "b 3 H W"]
) -> list[Tensor]:
    """What a network gives for a batch, without gradients, each image computed by a thread of its own.

    Args:
        network: Gives the same number of tensors for any image, each with its batch first; may be called by several
            threads at once.
        images: On a processor.
    """
    each, threads = torch.split(images, 1), torch.get_num_threads()
    if min(len(each), threads) == 1:
        found = [network(image) for image in each]
    else:
        with _ONE_AT_A_TIME:
            torch.set_num_threads(1)
            try:
                found = list(_threads(threads, os.getpid()).map(torch.no_grad()(network), each))
            finally:
                torch.set_num_threads(threads)
    return [torch.cat(maps) for maps in zip(*found, strict=True)]


@lru_cache(maxsize=1)
def _threads(count: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001  threads do not live on in a fork
    return ThreadPoolExecutor(count, "muad-image", initializer=lambda: torch.set_num_threads(1))
