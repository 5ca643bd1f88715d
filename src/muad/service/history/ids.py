"""Names of what is recorded: they sort by time, and no two processes make the same one."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

ID_PATTERN = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""What an id looks like; anything else names nothing."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The time in UTC, with microseconds."""
    return datetime.now(UTC)


def new_id(at: datetime) -> str:
    """A UUID of version 7 as 32 hexadecimal digits, whose order is that of `at` down to the microsecond.

    Args:
        at: With its time zone, not before 1970.

    References:
        RFC 9562, section 5.7; the 12 bits after the version hold the fraction of the millisecond (6.2, method 3).
    """
    passed = at - _EPOCH
    micros = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    millis, rest = divmod(micros, 1000)
    fraction = rest * 4096 // 1000
    value = millis << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{value:032x}"
