"""Names that every file system can write: Windows forbids most, so what holds there holds everywhere."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f\ud800-\udfff]')  # by Windows, or no text at all
_RESERVED = re.compile(r"(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)
_LONGEST = 180  # bytes; file systems allow 255, and an ending and a number come behind


def name_fault(name: str) -> str | None:
    """Why a name cannot be that of a file or folder on every system; None if it can.

    Example:
        >>> name_fault("bolt M8"), name_fault("nul.2"), name_fault("a/b")
        (None, 'Windows keeps that name for a device', "it holds '/'")
    """
    if not name:
        return "it is empty"
    sign = _FORBIDDEN.search(name)
    if sign is not None:
        return f"it holds {sign[0]!r}"
    if name[-1] in ". ":
        return "Windows drops dots and spaces at the end of a name"
    if _RESERVED.fullmatch(name):
        return "Windows keeps that name for a device"
    if len(name.encode()) > _LONGEST:
        return f"it is longer than {_LONGEST} bytes"
    return None


def safe_part(part: str) -> str:
    """A name like this one that every system can write; the same one where it is safe already.

    Characters that Windows forbids become `_`, as does a dot or a space at the end; its reserved names get one before
    them; what is too long is cut and ends in a digest of the whole.
    """
    safe = _FORBIDDEN.sub("_", part)
    ending = len(safe) - len(safe.rstrip(". "))
    safe = safe[: len(safe) - ending] + "_" * ending
    if _RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    encoded = safe.encode()
    if len(encoded) > _LONGEST:
        digest = hashlib.sha256(part.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        safe = f"{encoded[: _LONGEST - 13].decode(errors='ignore').rstrip('. ')}-{digest}"
    return safe


def one_name(name: str) -> str:
    """What names that cannot stand beside each other on Windows and macOS have in common: letters, not their case."""
    return unicodedata.normalize("NFC", name).casefold()


def first_clash(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that are one where upper and lower case are not told apart; None if there are none."""
    seen: dict[str, str] = {}
    for name in names:
        before = seen.setdefault(one_name(name), name)
        if before != name:
            return before, name
    return None
