"""What can go wrong by a user's hand. The command line prints each as one line and exits with code 2.

One form: *name* must be *constraint*, got *value*; then the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence

LARGEST_PX = 16_384
"""Largest side of what a detector looks at: memory for more is nowhere, and a slip of the hand is not tried first."""
MOST_STEPS = 1_000_000_000
"""Most steps of anything."""


class MuadError(Exception):
    """A fault the user can mend; anything else that is raised is a bug."""


class ConfigError(MuadError, ValueError):
    """A setting is outside what is allowed, or two settings contradict each other."""


class DataError(MuadError):
    """A file or folder of images, masks or labels cannot be used as it is."""


class CheckpointError(MuadError):
    """Weights or a run folder cannot be read, written or matched to a detector."""


def require_setting(table: str, holds: bool, name: str, constraint: str, value: object) -> None:
    """Refuse a setting that is outside what is allowed.

    Args:
        table: The recipe's table that it is in.
        holds: Whether it is allowed.
        name: Of the setting.
        constraint: What it must be, in a few words.
        value: What it is.

    Raises:
        ConfigError: It is not allowed.
    """
    if not holds:
        raise ConfigError(f"{table}.{name} must be {constraint}, got {value}.")


def require_sides(table: str, name: str, sides: Sequence[int]) -> None:
    """Refuse a height and width that nobody can mean.

    Raises:
        ConfigError: One is below 1 or above LARGEST_PX.
    """
    fits = all(1 <= side <= LARGEST_PX for side in sides)
    require_setting(table, fits, name, f"height and width from 1 to {LARGEST_PX}", list(sides))
