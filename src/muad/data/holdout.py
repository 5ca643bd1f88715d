"""Which normal images are kept for testing where a data set does not say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

HELD_OUT_SHARE = 5
"""One normal image in this many is held out."""


def held_out(names: Collection[str]) -> frozenset[str]:
    """Names of the normal images kept for testing: about one in HELD_OUT_SHARE, at least one, never all.

    An image's side depends on a hash of its own name, so that photographs added later do not move the others.

    Args:
        names: Names of the normal images of one category, unique within it.
    """
    if len(names) < 2:
        return frozenset()
    ranked = sorted(names, key=_digest)
    chosen = [name for name in ranked if _digest(name) % HELD_OUT_SHARE == 0]
    return frozenset(chosen[: len(ranked) - 1] or ranked[:1])


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest())
