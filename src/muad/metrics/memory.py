"""Memory that large arrays were in, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def return_freed_memory() -> None:
    """Give the system back what was freed; glibc keeps it otherwise, in pieces that no large array fits."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
