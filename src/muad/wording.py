"""Words that depend on a number: nouns, and times as people say them."""

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


def duration(seconds: float) -> str:
    """A time that was taken, as people say it.

    Example:
        >>> duration(42.4), duration(750), duration(8000)
        ('42 s', '12.5 minutes', '2.2 hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def expected_time(seconds: float) -> str:
    """A time to expect, no finer than it can be known.

    Example:
        >>> expected_time(20), expected_time(750), expected_time(8000)
        ('1 min', '12 min', '2.2 hours')
    """
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(1, round(minutes))} min"
