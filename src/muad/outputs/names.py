"""Names of what prediction writes: free, and readable by every file system that results may be copied to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from muad.file_names import one_name, safe_part

_WRITTEN = (".png", ".jpg", ".tiff", ".npy")  # a folder that ends so would stand where a file may have to


def safe_name(name: Path) -> Path:
    """A relative path that Windows, macOS and Linux can write; the same one wherever it is safe already.

    Characters that Windows forbids become `_`, as does a dot or a space at the end; its reserved names get one before
    them; what is too long is cut and ends in a digest of the whole.
    """
    *folders, last = name.parts
    return Path(*(_safe_folder(part) for part in folders), safe_part(last))


def free_name(name: Path, taken: set[str]) -> Path:
    """`name` without suffix; if another image has it already, with the suffix, then with a number.

    Names that differ by upper and lower case alone are one, as they are on Windows and macOS.

    Args:
        name: Relative path of an image.
        taken: Names that are given away, by `name_key`; the chosen one is added.
    """
    for choice in _choices(name):
        key = name_key(choice)
        if key not in taken:
            taken.add(key)
            return choice
    raise AssertionError("numbers do not end")


def name_key(name: Path) -> str:
    """What two names that cannot stand beside each other have in common."""
    return one_name(name.as_posix())


def _choices(name: Path) -> Iterator[Path]:
    bare = safe_name(name.with_suffix(""))
    yield bare
    yield safe_name(name)
    number = 2
    while True:
        yield bare.with_name(f"{bare.name}-{number}")
        number += 1


def _safe_folder(part: str) -> str:
    safe = safe_part(part)
    return f"{safe}_" if safe.lower().endswith(_WRITTEN) else safe
