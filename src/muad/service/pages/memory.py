"""What was asked of the history a moment ago, for pages that ask the same again and again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Found = TypeVar("Found")
_MOST = 64


class Remembered:
    """Values with the time until which they are good enough."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, seconds: float, find: Callable[[], Found]) -> Found:
        """What was found under this key, if that is not longer ago; else what is found now.

        Args:
            key: What is asked, and everything that must not have changed since.
            seconds: How long the answer is good.
            find: Finds it.
        """
        with self._lock:
            value, until = self._kept.get(key, (None, 0.0))
        if time.monotonic() < until:
            return value  # type: ignore[no-any-return]
        found = find()
        with self._lock:
            self._kept[key] = (found, time.monotonic() + seconds)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found
