"""How a budget of time is shared: every detector that takes steps gets as long as the others, unless it needs less."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muad.errors import ConfigError
from muad.wording import duration

if TYPE_CHECKING:
    from muad.comparison.entries import Entry
    from muad.comparison.plan import Plan
    from muad.comparison.trial import Trial

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


def _enough(seconds: float) -> str:
    """As people give it, rounded up."""
    return f"{math.ceil(seconds)}s" if seconds < 120 else f"{math.ceil(seconds / 60)}m"


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
            f"of {duration(budget_s)} has beside the quicker ones. A budget of {_enough(whole)} is enough for all."
        )
    if least > budget_s:
        raise ConfigError(
            f"budget must be at least {_enough(least)} for one seed of {', '.join(kept)} on this machine, at "
            f"{LEAST_STEPS} steps of each that takes steps, got {duration(budget_s)}. Give it more, or name a smaller "
            "--image-px."
        )
    return Affordable(seeds=max(1, min(seeds, int(budget_s // least))) if least > 0 else seeds, left_out=left_out)


class Allowance:
    """How long each training of a comparison may take, from paces that were measured and trials that are finished.

    Args:
        plan: Paces and lengths decided, and the time spent before this call.
        trials: Those that are finished, by entry; grows while the comparison goes on.
        failures: By entry; grows too.
        budget_s: Time of the whole comparison, or None.
        images: Views trained on.
        tested: Labelled images.
        begun: When this call began, as of `time.perf_counter`.
    """

    def __init__(
        self,
        plan: Plan,
        trials: Mapping[str, Sequence[Trial]],
        failures: Mapping[str, str],
        *,
        budget_s: float | None,
        images: int,
        tested: int,
        begun: float,
    ) -> None:
        self._plan, self._trials, self._failures = plan, trials, failures
        self._budget_s, self._images, self._tested = budget_s, images, tested
        self._begun, self._spent_before = begun, plan.spent_s

    @property
    def spent_s(self) -> float:
        """Seconds spent by all calls so far."""
        return self._spent_before + time.perf_counter() - self._begun

    def left(self) -> str:
        """What is left of the budget, as the end of a sentence; nothing without one."""
        return "" if self._budget_s is None else f", {duration(max(0.0, self._remaining_s()))} of the budget left"

    def training_s(self, entry: Entry, steps: int | None) -> float:
        """About how long a training of so many steps takes."""
        return self._plan.paces[entry.key].training_s(self._images, entry.batch_size, steps)

    def need(self, entry: Entry) -> Need:
        """What one training takes, with calibration and figures."""
        rest = self._rest_s(entry)
        least = None if entry.steps is None else min(entry.steps, LEAST_STEPS)
        return Need(least_s=rest + self.training_s(entry, least), most_s=rest + self.training_s(entry, entry.steps))

    def steps(self, entry: Entry, seeds: int) -> int | None:
        """How long an entry is trained: as it would alone, or in its share of what is left of the budget."""
        if entry.steps is None:
            return None
        plan = self._plan
        if entry.key not in plan.steps:
            steps = entry.steps
            if self._budget_s is not None:
                share = self._share_s(entry, seeds)
                steps = plan.paces[entry.key].steps_in(share, self._images, entry.batch_size, entry.steps)
            plan.steps[entry.key] = max(min(entry.steps, LEAST_STEPS), steps)
            plan.save()
        return plan.steps[entry.key]

    def fits(self, entry: Entry) -> bool:
        """Whether another seed of an entry ends before the budget does."""
        if self._budget_s is None:
            return True
        done = self._trials.get(entry.key, [])
        return bool(done) and (done[0].whole_s or 0) <= self._remaining_s()

    def _remaining_s(self) -> float:
        return (self._budget_s or 0.0) - self.spent_s

    def _rest_s(self, entry: Entry) -> float:
        """What a trial takes beside its training: of those that are finished, or a guess from the pace."""
        known = [
            max(0.0, (trial.whole_s or 0) - (trial.training_s or 0) - self._judging_s(trial.entry))
            for trials in self._trials.values()
            for trial in trials
        ]
        beside = sum(known) / len(known) if known else 2 + 0.02 * (self._tested + self._images)
        return self._judging_s(entry.key) + beside

    def _judging_s(self, key: str) -> float:
        """What reading and judging every image once takes."""
        pace = self._plan.paces[key]
        return (self._tested + self._images) * (pace.read_s + pace.predict_s)

    def _share_s(self, entry: Entry, seeds: int) -> float:
        """Seconds each training of this entry may take, so that what is still to come gets as much."""
        able = [one for one in self._plan.able if one.key not in self._failures]
        open_ = [one for one in able if one.steps is not None and one.key not in self._plan.steps] or [entry]
        bound = 0.0
        for one in able:
            if one in open_:
                continue
            done = self._trials.get(one.key, [])
            each = done[0].whole_s if done and done[0].whole_s else self.need(one).most_s
            bound += max(0, seeds - len(done)) * each
        a_seed = (self._remaining_s() - bound) / seeds - sum(self._rest_s(one) for one in open_)
        return fair_share(max(a_seed, 0.0), {one.key: self.training_s(one, one.steps) for one in open_})
