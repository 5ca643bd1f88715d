"""How a budget of time is shared: every detector that takes steps gets as long as the others, unless it needs less."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from muad.errors import ConfigError

LEAST_STEPS = 20
"""Fewer are no training."""
FAR_BELOW = 0.5
"""Of the images shown in the published training: with a smaller share of them the figures say little of a method."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one training of a detector takes.

    Attributes:
        least_s: Until there are figures of the shortest training worth the name.
        most_s: Until there are figures of the longest one wanted.
    """

    least_s: float
    most_s: float


def parse_budget(text: str) -> float:
    """Seconds of a time such as `90s`, `30m`, `1.5h` or `1h30m`.

    Raises:
        ConfigError: It is none.

    Example:
        >>> parse_budget("30m"), parse_budget("1h30m"), parse_budget("45")
        (1800.0, 5400.0, 45.0)
    """
    parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd])+", text.strip())
    if parts is not None:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", text))
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"budget must be a time such as 90s, 30m or 1h30m, got {text!r}.")
    return seconds


def duration(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> duration(42.4), duration(750), duration(8000)
        ('42 s', '12.5 minutes', '2.2 hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def fair_share(available_s: float, most_s: Mapping[str, float]) -> float:
    """Seconds each may take, so that what some do not need goes to the others.

    Args:
        available_s: Of all together.
        most_s: What each could use.

    Example:
        >>> fair_share(100, {"a": 10, "b": 80, "c": 80})
        45.0
    """
    left, open_ = available_s, sorted(most_s.values())
    while open_ and open_[0] <= left / len(open_):
        left -= open_.pop(0)
    return left / len(open_) if open_ else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Affordable:
    """What a budget is enough for.

    Attributes:
        seeds: Of each detector that is trained.
        left_out: By detector, why it is not.
    """

    seeds: int
    left_out: Mapping[str, str]


def affordable(budget_s: float, needs: Mapping[str, Need], seeds: int) -> Affordable:
    """How many seeds of which detectors a budget is enough for; those that take longest are left out first.

    Raises:
        ConfigError: Not even for one of the quickest.
    """
    kept = dict(sorted(needs.items(), key=lambda item: item[1].least_s))
    whole = sum(need.least_s for need in needs.values())
    left_out = {}
    while (least := sum(need.least_s for need in kept.values())) > budget_s and len(kept) > 1:
        key, need = kept.popitem()
        left_out[key] = (
            f"not trained: it takes about {duration(need.least_s)} here at {LEAST_STEPS} steps, more than the budget "
            f"of {duration(budget_s)} has beside the quicker ones. A budget of {math.ceil(whole)}s is enough for all."
        )
    if least > budget_s:
        raise ConfigError(
            f"budget must be at least {math.ceil(least)}s for one seed of {', '.join(kept)} on this machine, at "
            f"{LEAST_STEPS} steps of each that takes steps, got {duration(budget_s)}. Give it more, or name a smaller "
            "--image-px."
        )
    return Affordable(seeds=max(1, min(seeds, int(budget_s // least))) if least > 0 else seeds, left_out=left_out)
