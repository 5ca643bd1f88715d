"""Do the intervals of observed rates hold? Lines with known rates, an audit sample, people who do not always answer.

`python benchmarks/station_rates.py [--runs 1000] [--seed 1]` prints the table of docs/drift.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from muad.service.followup.rates import Observed, Stratum

NAMES = ("false alarms", "stopped good parts", "misses")


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is true, and what people are asked and answer.

    Attributes:
        parts: Inspected in the time.
        bad: Share of bad parts.
        reject: Share of good parts that is rejected.
        review: Share of good parts that goes to review.
        miss: Share of bad parts that pass.
        share: Of all parts, drawn for the audit.
        answered: Of what is asked, answered.
        bad_answered: The same of bad parts that passed: people may be slower to admit those.
    """

    parts: int
    bad: float = 0.03
    reject: float = 0.005
    review: float = 0.045
    miss: float = 0.1
    share: float = 0.05
    answered: float = 1.0
    bad_answered: float = 1.0

    @property
    def truth(self) -> tuple[float, float, float]:
        """The rates of NAMES."""
        return self.reject, self.reject + self.review, self.miss


LINES = (
    Line(parts=2_000),
    Line(parts=20_000),
    Line(parts=20_000, share=0.02),
    Line(parts=20_000, answered=0.9, bad_answered=0.9),
    Line(parts=20_000, answered=0.9, bad_answered=0.5),
    Line(parts=20_000, share=0.2, bad=0.1, miss=0.3),
    Line(parts=200_000, share=0.02),
)


def draw(line: Line, random: np.random.Generator) -> Observed:
    """One time of such a line, as the station sees it."""
    bad = int(random.binomial(line.parts, line.bad))
    good = random.multinomial(line.parts - bad, (line.reject, line.review, 1 - line.reject - line.review))
    wrong = random.multinomial(bad, (0.8 * (1 - line.miss), 0.2 * (1 - line.miss), line.miss))
    strata = []
    for place in range(3):
        share = line.share if place == 2 else 1.0
        asked_good, asked_bad = (int(random.binomial(count, share)) for count in (good[place], wrong[place]))
        often = line.bad_answered if place == 2 else line.answered
        strata.append(
            Stratum(
                total=int(good[place] + wrong[place]),
                asked=asked_good + asked_bad,
                good=int(random.binomial(asked_good, line.answered)),
                bad=int(random.binomial(asked_bad, often)),
            )
        )
    reject, review, passed = strata
    return Observed(passed=(passed,), review=review, reject=reject, shares=(line.share,))


def coverage(line: Line, runs: int, seed: int = 1) -> dict[str, tuple[float, float, float]]:
    """By rate: how often the interval holds it, how wide it is in the middle, and the mean of the estimates."""
    random = np.random.default_rng(seed)
    found: dict[str, list[tuple[bool, float, float]]] = {name: [] for name in NAMES}
    for _ in range(runs):
        seen = draw(line, random)
        for name, truth in zip(NAMES, line.truth, strict=True):
            rate = seen.rate(name)
            value = np.nan if rate.value is None else rate.value
            found[name].append((rate.low <= truth <= rate.high, rate.high - rate.low, value))
    return {
        name: (float(np.mean(held)), float(np.median(width)), float(np.nanmean(value)))
        for name, each in found.items()
        for held, width, value in [zip(*each, strict=True)]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print("| parts | drawn | answered, passed bad ones | rate | true | mean estimate | interval holds | its width |")
    print("|---|---|---|---|---|---|---|---|")
    for line in LINES:
        for (name, (held, width, value)), truth in zip(
            coverage(line, chosen.runs, chosen.seed).items(), line.truth, strict=True
        ):
            print(
                f"| {line.parts:,} | {100 * line.share:g} % | {100 * line.answered:g} %, {100 * line.bad_answered:g} % "
                f"| {name} | {100 * truth:g} % | {100 * value:.2f} % | {100 * held:.1f} % | {100 * width:.2f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
