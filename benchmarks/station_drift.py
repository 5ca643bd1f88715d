"""How rarely the station's drift tests raise a false alarm, and after how many parts they raise a true one.

`python benchmarks/station_drift.py [--lines 1000] [--seed 1]` prints the tables of docs/drift.md. Lines of parts with
normal scores are simulated; the tests only use ranks, so any continuous distribution gives the same figures without a
change.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muad.service.followup.baseline import baseline_of
from muad.service.followup.drift import DriftSettings
from muad.service.followup.sequential import (
    BOTH_SIDES,
    HIGHER,
    LARGEST_REFERENCE,
    ORDERS,
    Alternative,
    evidence,
    first_evidence,
    likely_shares,
    share_evidence,
)

NEVER = 10**9
COUNTS = (19, 60, 200)


def ranks_of(known: Sequence[float], values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Ranks of parts one after another, as `Reference` gives them; NaN stays."""
    order, ranks = random.random(len(values)), np.full(len(values), np.nan)
    reference = sorted(known)
    for place in np.flatnonzero(~np.isnan(values)):
        if len(reference) >= LARGEST_REFERENCE:
            rest = values[place:]
            ranks[place:] = (np.searchsorted(reference, rest) + order[place:]) / (len(reference) + 1)
            ranks[place:][np.isnan(rest)] = np.nan
            break
        ranks[place] = (bisect_left(reference, values[place]) + order[place]) / (len(reference) + 1)
        insort(reference, values[place])
    return ranks


def alarms(ranks: np.ndarray, alternatives: Sequence[Alternative], least: float) -> np.ndarray:
    """By line, after how many parts the statistic reaches the threshold; NEVER where it does not."""
    sums, found = np.zeros((len(ranks), len(alternatives))), np.full(len(ranks), NEVER)
    for place in range(ranks.shape[1]):
        there = ~np.isnan(ranks[:, place])
        bets = evidence(ranks[there, place], alternatives)
        sums[there] = np.minimum((sums[there] + 1) * bets, 1e250)
        found[(found == NEVER) & (sums.mean(axis=1) >= least)] = place + 1
    return found


def share_alarms(events: np.ndarray, allowed: np.ndarray, least: float) -> np.ndarray:
    """The same of events that are counted; what is allowed is each line's own."""
    tables = np.stack([share_evidence(share, likely_shares(share)) for share in allowed])  # lines 2 likely
    sums, found, line = np.zeros((len(events), tables.shape[2])), np.full(len(events), NEVER), np.arange(len(events))
    for place in range(events.shape[1]):
        sums = np.minimum((sums + 1) * tables[line, events[:, place].astype(int)], 1e250)
        found[(found == NEVER) & (sums.mean(axis=1) >= least)] = place + 1
    return found


def start_alarms(ranks: np.ndarray, begun_with: int, least: float) -> np.ndarray:
    """The same of the test whether parts differ from the first one on."""
    logs, found = np.zeros((len(ranks), 2 * len(ORDERS))), np.full(len(ranks), NEVER)
    added = np.zeros(len(ranks), int)
    for place in range(ranks.shape[1]):
        for count in np.unique(added[~np.isnan(ranks[:, place])]):
            own = (added == count) & ~np.isnan(ranks[:, place])
            if begun_with + count < LARGEST_REFERENCE:
                logs[own] += np.log(first_evidence(ranks[own, place], begun_with, int(count)))
        added += ~np.isnan(ranks[:, place])
        found[(found == NEVER) & (np.exp(np.minimum(logs, 500)).mean(axis=1) >= least)] = place + 1
    return found


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What comes off a line.

    Attributes:
        count: Calibration images.
        parts: Of each line.
        change_at: Good parts before the change.
        shift: In standard deviations of the scores, from then on.
        bad: Share of bad parts, four deviations higher on average.
        memory: Correlation of a part's score with that of the part before.
    """

    count: int
    parts: int
    change_at: int = 0
    shift: float = 0.0
    bad: float = 0.0
    memory: float = 0.0


def score_alarms(scenario: Scenario, lines: int, settings: DriftSettings, seed: int) -> dict[str, np.ndarray]:
    """By quantity and line, after how many parts it raises a signal."""
    random = np.random.default_rng(seed)
    ranks, events, allowed = [], [], []
    for _ in range(lines):
        scores, values = np.split(_noise(scenario, random), [scenario.count])
        baseline = baseline_of(tuple(np.sort(scores).tolist()))
        values[scenario.change_at :] += scenario.shift
        bad = random.random(scenario.parts) < scenario.bad
        values[bad] += 4 + random.standard_normal(bad.sum())
        above = values > baseline.cut
        events.append(above)
        allowed.append(baseline.above + settings.bad_share)
        ranks.append(ranks_of(baseline.scores, np.where(above, np.nan, values), random))
    every = np.stack(ranks)
    return {
        "score from the start": start_alarms(every, len(baseline.scores), settings.start_threshold),
        "score": alarms(every, BOTH_SIDES, settings.threshold),
        "high scores": share_alarms(np.stack(events), np.array(allowed), settings.threshold),
    }


def _noise(scenario: Scenario, random: np.random.Generator) -> np.ndarray:
    fresh = random.standard_normal(scenario.count + scenario.parts)
    if not scenario.memory:
        return fresh
    for place in range(scenario.count + 1, len(fresh)):  # of the line; calibration images are of different days
        fresh[place] = scenario.memory * fresh[place - 1] + (1 - scenario.memory**2) ** 0.5 * fresh[place]
    return fresh


def false_alarm_rows(lines: int, settings: DriftSettings, seed: int) -> list[str]:
    """Lines on which nothing changes: how many raise a signal within the stated number of parts."""
    rows = []
    for count, bad, memory in [(19, 0, 0), (60, 0, 0), (200, 0, 0), (60, 0.02, 0), (60, 0.05, 0), (60, 0, 0.3)]:
        scenario = Scenario(count=count, parts=settings.parts, bad=bad, memory=memory)
        found = score_alarms(scenario, lines, settings, seed)
        raised = {name: (when < NEVER).mean() for name, when in found.items()}
        every = np.minimum.reduce(list(found.values())) < NEVER
        cells = " | ".join(f"{100 * share:.1f} %" for share in raised.values())
        rows.append(f"| {count} | {100 * bad:g} % | {memory:g} | {cells} | {100 * every.mean():.1f} % |")
    return rows


def own_past_rows(lines: int, settings: DriftSettings, seed: int) -> list[str]:
    """The same of quantities that are compared with the station's own first parts, and their delays."""
    rows = []
    for name, alternatives, values in (("brightness, sharpness", BOTH_SIDES, 0), ("embedding distance", HIGHER, 50)):
        for shift in (0.0, 0.5, 1.0, 2.0):
            random = np.random.default_rng(seed)
            parts, at = (settings.parts, 0) if not shift else (3_000, 1_000)
            every = []
            for _ in range(lines if not shift else lines // 5):
                own = random.standard_normal(parts)
                own[at:] += shift
                if values:  # a recogniser's p-value has as many values as there are remembered photographs
                    own = np.searchsorted(np.linspace(-2, 2, values), own) + 1e-9 * random.random(parts)
                every.append(ranks_of((), own, random))
            found = alarms(np.stack(every), alternatives, settings.threshold)
            if not shift:
                rows.append(f"| {name} | none | {100 * (found < NEVER).mean():.1f} % raise one | |")
            else:
                rows.append(f"| {name} | {shift:g} | {_delay(found, at)} |")
    return rows


def delay_rows(lines: int, settings: DriftSettings, seed: int) -> list[str]:
    """Lines on which scores change by so much: after how many parts it is raised, and by what."""
    rows = []
    for change_at in (1_000, 0):
        for count in COUNTS:
            for shift in (0.25, 0.5, 1.0, 2.0, 3.0, -0.5, -1.0):
                scenario = Scenario(count=count, parts=change_at + 2_000, change_at=change_at, shift=shift)
                found = score_alarms(scenario, lines, settings, seed)
                first = np.minimum.reduce(list(found.values()))
                names = np.array(list(found))[np.argmin(np.stack(list(found.values())), axis=0)][first < NEVER]
                by = max(set(names.tolist()), key=names.tolist().count) if len(names) else "-"
                when = "from the first part on" if not change_at else f"after {change_at:,} parts"
                rows.append(f"| {when} | {count} | {shift:+g} | {_delay(first, change_at)} | {by} |")
    return rows


def _delay(found: np.ndarray, change_at: int) -> str:
    """Median, ninth of ten, share raised within 2,000 parts; what was raised before the change is left out."""
    true = found[found > change_at] - change_at
    middle, late = (np.quantile(true, share, method="higher") for share in (0.5, 0.9))
    cells = ["not in 2,000" if value > 2_000 else f"{int(value):,}" for value in (middle, late)]
    return f"{cells[0]} | {cells[1]} | {100 * (true <= 2_000).mean():.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000, help="Lines of a false-alarm rate; a fifth for a delay.")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    settings = DriftSettings()
    print("| calibration images | bad parts | memory | from the start | score | high scores | any of them |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(false_alarm_rows(chosen.lines, settings, chosen.seed)), flush=True)
    print("\n| quantity | change | median | 9 of 10 | within 2,000 |\n|---|---|---|---|---|")
    print("\n".join(own_past_rows(chosen.lines, settings, chosen.seed)), flush=True)
    print("\n| change | calibration images | size | median | 9 of 10 | within 2,000 | mostly by |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(delay_rows(chosen.lines // 5, settings, chosen.seed)), flush=True)


if __name__ == "__main__":
    main()
