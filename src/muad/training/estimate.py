"""How long it will take, said once, from the speed of the first steps instead of a guess."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from muad.wording import counted

if TYPE_CHECKING:
    from muad.training.batches import Notice, Progress

_WATCHED_STEPS = 10


class Estimate:
    """Passes progress on, and after a few training steps notes how long the rest will take.

    Args:
        progress: Whom to pass it on to.
        note: Called once for each training that has more than a few steps.
    """

    def __init__(self, progress: Progress, note: Notice) -> None:
        self.progress = progress
        self.note = note
        self._begun: dict[str, tuple[int, float]] = {}

    def __call__(self, what: str, done: int, total: int, loss: float | None) -> None:
        """Take news of the training."""
        self.progress(what, done, total, loss)
        if not what.startswith("train"):
            return
        # The first step is slower than the rest: watching begins after it.
        first, since = self._begun.setdefault(what, (done, time.perf_counter()))
        if done == first + _WATCHED_STEPS and done < total:
            seconds = (time.perf_counter() - since) / _WATCHED_STEPS
            left = seconds * (total - done)
            shown = f"{left / 3600:.1f} hours" if left > 5400 else counted(max(1, round(left / 60)), "minute")
            rest = f"take about {shown}" if total - done > 1 else f"takes about {shown}"
            self.note(f"{what}: {seconds:.2f} s a step, so the remaining {counted(total - done, 'step')} {rest}")
