"""Tails of the binomial distribution and quantiles of the beta distribution with whole parameters, to the last digits.

Both are the same sums: a Beta(a, b) variable with whole a and b is at most p exactly as often as a + b - 1 trials of
probability p bring at least a events. A sum begins at its largest term, which Loader's expansion gives to full
precision for any number of trials, and ends where the terms no longer count.

References:
    Loader, Fast and accurate computation of binomial probabilities, 2000.
"""

from __future__ import annotations

import math

_NEGLIGIBLE = 1e-18  # of the sum
_EXACT = tuple(
    math.log(math.factorial(n)) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi) for n in range(1, 16)
)


def binomial_at_most(events: int, trials: int, probability: float) -> float:
    """How often at most so many of the trials succeed.

    Args:
        events: Any whole number.
        trials: At least 1.
        probability: Of success in each, above 0 and below 1.

    Example:
        >>> round(binomial_at_most(1, 4, 0.5), 12)
        0.3125
    """
    return _at_most(events, trials, probability, 1 - probability)


def beta_quantile(share: float, a: int, b: int) -> float:
    """Below which value a Beta(a, b) variable lies with this chance.

    Args:
        share: Above 0 and below 1.
        a: At least 1.
        b: At least 1.

    Example:
        >>> round(beta_quantile(0.95, 1, 59), 4)
        0.0495
    """
    trials = a + b - 1
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        # At most `middle` means at least `a` events; of share and rest the smaller is compared, which keeps its digits.
        if share <= 0.5:
            is_below = _at_most(b - 1, trials, 1 - middle, middle) < share
        else:
            is_below = _at_most(a - 1, trials, middle, 1 - middle) > 1 - share
        low, high = (middle, high) if is_below else (low, middle)
    return high


def _at_most(events: int, trials: int, success: float, failure: float) -> float:
    """The sum of the smaller tail; both probabilities are given, for the digits of the smaller one."""
    if events < 0:
        return 0.0
    if events >= trials:
        return 1.0
    if events + 1 > (trials + 1) * success:
        return 1 - _tail(trials - events - 1, trials, failure, success)
    return _tail(events, trials, success, failure)


def _tail(events: int, trials: int, success: float, failure: float) -> float:
    """At most so many events, fewer than are expected, so that the last term is the largest."""
    term = _term(events, trials, success, failure)
    terms = [term]
    for count in range(events, 0, -1):
        term *= count * failure / ((trials - count + 1) * success)
        terms.append(term)
        if term <= _NEGLIGIBLE * terms[0]:
            break
    return math.fsum(terms)


def _term(events: int, trials: int, success: float, failure: float) -> float:
    """How often exactly so many, at least none and fewer than all, of the trials succeed."""
    if events == 0:
        return math.exp(trials * (math.log1p(-success) if success < 0.5 else math.log(failure)))
    rest = trials - events
    # Taken from the smaller probability, whose rounding is the smaller.
    excess = events - trials * success if success < failure else trials * failure - rest
    exponent = (
        _stirling_error(trials)
        - _stirling_error(events)
        - _stirling_error(rest)
        - _deviance(events, excess)
        - _deviance(rest, -excess)
    )
    return math.exp(exponent) * math.sqrt(trials / (2 * math.pi * events * rest))


def _stirling_error(n: int) -> float:
    """What Stirling's formula for log n! lacks."""
    if n <= len(_EXACT):
        return _EXACT[n - 1]
    square = n * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n


def _deviance(seen: int, excess: float) -> float:
    """Seen * log(seen / expected) - excess over what was expected, without cancellation where that is small."""
    expected = seen - excess
    if abs(excess) >= 0.1 * (seen + expected):
        return seen * math.log(seen / expected) - excess
    ratio = excess / (seen + expected)
    total, power, order = excess * ratio, 2 * seen * ratio, 1
    while True:
        power *= ratio * ratio
        order += 2
        if total + power / order == total:
            return total
        total += power / order
