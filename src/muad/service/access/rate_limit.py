"""How often one token or address may ask: a bucket of requests each, refilled steadily.

Every process counts by itself, so with several of them a limit holds for each. Used from the event loop alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MOST_KEYS = 10_000


class RateLimit:
    """Buckets by key; the least recently used of too many is forgotten, so that they cannot fill the memory.

    Args:
        per_s: Refilled so fast.
        burst: The most that a bucket holds.
        clock: Seconds that only rise.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was in it, and when

    def take(self, key: str) -> float:
        """Take one from the key's bucket: 0, or after how many seconds there will be one again."""
        now = self._clock()
        held, at = self._buckets.pop(key, (self._burst, now))
        held = min(self._burst, held + (now - at) * self._per_s)
        wait_s = 0.0 if held >= 1 else (1 - held) / self._per_s
        self._buckets[key] = (held if wait_s else held - 1, now)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        return wait_s


def address_key(address: str | None) -> str:
    """What an address counts as: itself, or for IPv6 its network of 64 bits, which one machine has whole."""
    if address is None:
        return "unknown"
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or parsed.exploded[:19])
    return str(parsed)
