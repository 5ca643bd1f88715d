"""Words that depend on a number."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 image`, `2 images`, `1 category`, `2 categories`.

    Args:
        count: How many.
        noun: Of one, with whatever stands before it, such as `good image`.
        plural: Of several, where it does not end in -s or, after a consonant and -y, in -ies.
    """
    if count == 1:
        return f"1 {noun}"
    if plural is None:
        plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{count} {plural}"
