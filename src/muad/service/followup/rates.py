"""Observed false-alarm and miss rates, with intervals that hold.

People are asked about all stopped parts and about a random share of those that passed. So the passed ones weigh more:
each stands for all that were not drawn. What is unknown has three sources, and each is bounded by itself:

- *which passed parts were drawn*: the number of bad ones among all that passed, from an exact interval of the
  hypergeometric distribution, one for each share that was in force;
- *who has not answered*: every part that was asked about without an answer may be good or bad, nothing is assumed;
- *chance of the line itself*: the rate in the long run, from the Clopper-Pearson interval of counts.

A rate grows with what it counts and falls with the rest, so the ends of the interval follow from those of the counts.
The doubt is shared out between all of them (Bonferroni), half to the line and half to the draws: the interval covers
the true rate at least as often as it says, and more often. `benchmarks/station_rates.py` shows how much.

Words on passed parts that were not drawn are not counted into any share, because somebody had a reason to look at them.
As known facts they bound what is possible.

References:
    Clopper, Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.
    Buonaccorsi, A note on confidence intervals for proportions in finite populations, American Statistician 1987.
    Horvitz, Thompson, A generalization of sampling without replacement from a finite universe, 1952.
    Manski, Nonparametric bounds on treatment effects, American Economic Review 1990.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from muad.decisions.conformal import binomial_interval
from muad.wording import counted

RateName = Literal["false alarms", "stopped good parts", "misses", "bad parts not rejected"]
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Parts of one verdict, while one share was in force.

    Attributes:
        total: How many there were.
        asked: How many of them people were asked about, drawn at random; all of what is stopped.
        good: Of those asked about, how many are good by the last word.
        bad: How many are bad.
        known_good: Good ones that were not asked about.
        known_bad: Bad ones that were not asked about.
    """

    total: int
    asked: int
    good: int
    bad: int
    known_good: int = 0
    known_bad: int = 0

    @property
    def open(self) -> int:
        """Asked about and not answered."""
        return self.asked - self.good - self.bad

    @property
    def is_sampled(self) -> bool:
        """Whether not all of them were asked about."""
        return self.asked < self.total

    @property
    def likely_bad(self) -> float | None:
        """How many are bad if those that were answered are like the rest; None if none was."""
        answered = self.good + self.bad
        if not answered:
            return 0.0 if not self.total else None
        return self.total * self.bad / answered

    def bad_bounds(self, doubt: float) -> tuple[int, int]:
        """How many are bad at least and at most.

        Args:
            doubt: Chance that either end is wrong.
        """
        low, high = self.bad, self.total - self.good
        if self.is_sampled:
            low = fewest(self.total, self.asked, self.bad, doubt)
            high = self.total - fewest(self.total, self.asked, self.good, doubt)
        return max(low, self.bad + self.known_bad), min(high, self.total - self.good - self.known_good)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRate:
    """A rate as it was found.

    Attributes:
        name: Which one.
        value: The estimate; None where there is nothing to estimate it from.
        low: The long-run rate is at least this.
        high: And at most this.
        confidence: Of both together.
        reason: Why it cannot be said; empty where it can.
    """

    name: RateName
    value: float | None
    low: float
    high: float
    confidence: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What people's words say of a product in some time.

    Attributes:
        passed: Parts that passed, one stratum for each share that was in force.
        review: Parts for review.
        reject: Rejected ones.
        confidence: Of every interval.
        shares: The audit shares in force, one for each stratum of passed parts.
        left_out: Parts without such a verdict: of an unknown product, or with an error.
    """

    passed: tuple[Stratum, ...]
    review: Stratum
    reject: Stratum
    confidence: float = 0.95
    shares: tuple[float, ...] = ()
    left_out: int = 0

    @property
    def rates(self) -> tuple[ObservedRate, ...]:
        """All four: good parts that are rejected, or stopped; bad ones that pass, or are not rejected."""
        stopped, every = (self.review, self.reject), (*self.passed, self.review)
        return (
            self._rate("false alarms", (self.reject,), every, good=True),
            self._rate("stopped good parts", stopped, self.passed, good=True),
            self._rate("misses", self.passed, stopped, good=False),
            self._rate("bad parts not rejected", every, (self.reject,), good=False),
        )

    def rate(self, name: RateName) -> ObservedRate:
        """One of them."""
        return next(one for one in self.rates if one.name == name)

    @property
    def sentence(self) -> str:
        """Which sample the rates are from."""
        total, asked = sum(one.total for one in self.passed), sum(one.asked for one in self.passed)
        answered = asked - sum(one.open for one in self.passed)
        stopped, words = self.review.total + self.reject.total, self.review.open + self.reject.open
        share = " and ".join(f"{100 * share:g} %" for share in dict.fromkeys(self.shares))
        drawn = f"drawn at random ({share} of all)" if share else "drawn at random"
        said = (
            f"from {answered} of {asked} answers on {counted(total, 'part')} that passed, {drawn}, "
            f"and {stopped - words} of {stopped} on stopped ones"
        )
        outside = sum(one.known_good + one.known_bad for one in self.passed)
        if outside:
            said += f"; {counted(outside, 'word')} on passed parts that were not drawn count as known, not as a sample"
        if self.left_out:
            said += f"; {counted(self.left_out, 'part')} without pass, review or reject left out"
        return said

    def _rate(
        self, name: RateName, counted_in: Sequence[Stratum], rest: Sequence[Stratum], *, good: bool
    ) -> ObservedRate:
        doubt = 1 - self.confidence
        sampled = [one for one in (*counted_in, *rest) if one.is_sampled]
        own = doubt / 2 if sampled else doubt
        each = doubt / 4 / len(sampled) if sampled else 0.0
        few, many = _bounds(counted_in, each, good=good)
        few_rest, many_rest = _bounds(rest, each, good=good)
        low = binomial_interval(few, few + many_rest, 1 - own)[0] if few else 0.0
        high = binomial_interval(many, many + few_rest, 1 - own)[1] if many + few_rest else 1.0
        value, reason = None, self._cannot_say(good=good)
        events, others = _likely(counted_in, good=good), _likely(rest, good=good)
        if not reason and events is not None and others is not None and events + others > 0:
            value = events / (events + others)
        return ObservedRate(name=name, value=value, low=low, high=high, confidence=self.confidence, reason=reason)

    def _cannot_say(self, *, good: bool) -> str:
        """Why there is no estimate."""
        every = (*self.passed, self.review, self.reject)
        if not any(one.total for one in every):
            return "no part was judged"
        unanswered = next((one for one in every if one.total and not one.good + one.bad), None)
        if unanswered is not None:
            if unanswered not in self.passed:
                return f"nobody has said what the {counted(unanswered.total, 'stopped part')} of one kind are"
            if not unanswered.asked:
                return "no passed part was drawn for the audit sample: words on stopped parts alone cannot say"
            return f"none of the {counted(unanswered.asked, 'passed part')} in the audit sample has been answered"
        if good and not any(one.good for one in every):
            return "no good part is known"
        if not good and not any(one.bad + one.known_bad for one in every):
            return "no bad part is known, so nothing can be said of misses"
        return ""


def fewest(total: int, drawn: int, found: int, doubt: float) -> int:
    """How many of `total` have a property at least, if `found` of those drawn at random have it.

    The least number with which so many, or more, are found with more than the doubt.

    Args:
        total: All.
        drawn: Without putting back.
        found: Of those drawn.
        doubt: Chance that there are fewer.

    Example:
        >>> fewest(1_000, 100, 0, 0.05), fewest(100, 100, 7, 0.05), fewest(1_000, 100, 100, 0.05)
        (0, 7, 972)
    """
    if not found:
        return 0
    low, high = found - 1, total - drawn + found  # too few, possible
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found_or_more(total, middle, drawn, found) > doubt else (middle, high)
    return high


def found_or_more(total: int, having: int, drawn: int, found: int) -> float:
    """The chance that at least so many of those drawn have what `having` of all have.

    Example:
        >>> round(found_or_more(10, 3, 4, 1), 12)  # 1 - (7 x 6 x 5 x 4) / (10 x 9 x 8 x 7)
        0.833333333333
    """
    least, most = max(0, drawn - (total - having)), min(having, drawn)
    if found <= least:
        return 1.0
    if found > most:
        return 0.0
    mean = drawn * having / total
    if found > mean:
        return _tail(total, having, drawn, found, most, 1)
    return 1 - _tail(total, having, drawn, found - 1, least, -1)


def _tail(total: int, having: int, drawn: int, begin: int, end: int, step: int) -> float:
    """The sum of the hypergeometric distribution from `begin` outwards."""
    log = _log_choose(having, begin) + _log_choose(total - having, drawn - begin) - _log_choose(total, drawn)
    term = first = math.exp(log)
    terms, place = [term], begin
    lacking = total - having - drawn
    while place != end and term > _NEGLIGIBLE * first:
        if step > 0:
            term *= (having - place) * (drawn - place) / ((place + 1) * (lacking + place + 1))
        else:
            term *= place * (lacking + place) / ((having - place + 1) * (drawn - place + 1))
        place += step
        terms.append(term)
    return min(1.0, math.fsum(terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _bounds(strata: Sequence[Stratum], doubt: float, *, good: bool) -> tuple[int, int]:
    few = many = 0
    for one in strata:
        low, high = one.bad_bounds(doubt)
        few, many = (few + one.total - high, many + one.total - low) if good else (few + low, many + high)
    return few, many


def _likely(strata: Sequence[Stratum], *, good: bool) -> float | None:
    found = 0.0
    for one in strata:
        bad = one.likely_bad
        if bad is None:
            return None
        found += one.total - bad if good else bad
    return found
