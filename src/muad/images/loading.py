"""Reads images ahead of the network: threads decode while it computes, and what fits in memory is decoded once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from muad.threads import reading_threads

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from jaxtyping import UInt8

    from muad.images.preprocessing import Preprocessing

Item = TypeVar("Item")
Result = TypeVar("Result")


class ViewCache:
    """Views of images by path, kept up to a number of bytes; afterwards files are decoded each time.

    Args:
        preprocessing: What is done to each image.
        limit_bytes: Memory the cache may take.
    """

    def __init__(self, preprocessing: Preprocessing, limit_bytes: int) -> None:
        self.preprocessing = preprocessing
        self._free_bytes = limit_bytes
        self._views: dict[Path, UInt8[np.ndarray, "n H W 3"]] = {}
        self._lock = threading.Lock()

    def views(self, path: Path, category: str | None = None) -> UInt8[np.ndarray, "n H W 3"]:
        """All views of one image; a file shows one category.

        Raises:
            DataError: The file cannot be read as an image, or it is too small.
        """
        if path in self._views:
            return self._views[path]
        views = self.preprocessing.views(self.preprocessing.read(path), f"image {path}", category)
        with self._lock:
            if path not in self._views and views.nbytes <= self._free_bytes:
                self._views[path] = views
                self._free_bytes -= views.nbytes
        return views


def read_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None, ahead: int = 32
) -> Generator[Result, None, None]:
    """Results of `work` in order, computed by threads up to `ahead` items before they are asked for.

    An exception of `work` is raised at its item's turn; closing the generator drops what was read ahead. Image decoders
    release Python's lock, so threads are enough, and they start everywhere alike.
    """
    pool = ThreadPoolExecutor(threads or reading_threads(), thread_name_prefix="muad-read")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
