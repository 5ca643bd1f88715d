"""What a preview says is what the same limits do when they are in force."""

import numpy as np

from muad.decisions.conformal import binomial_interval
from muad.decisions.limits import CategoryLimits, Limits
from muad.service.pages.preview import VERDICTS, Pair, judged, kept, moves

SCORES = np.random.default_rng(1).normal(0.3, 0.1, 500)


def test_previewed_verdicts_are_those_of_the_limits() -> None:
    for review, reject in ((0.3, 0.4), (None, 0.4), (0.3, None), (None, None), (float(SCORES[7]), float(SCORES[7]))):
        limits = Limits(categories={"bolt": CategoryLimits(review=review, reject=reject)}, calibration={})
        expected = [limits.verdict("bolt", score) or "pass" for score in SCORES.tolist()]
        assert [VERDICTS[level] for level in judged(SCORES, Pair(review, reject))] == expected


def test_moves_name_every_part_that_would_be_judged_otherwise() -> None:
    changed, places = moves(Pair(0.3, 0.4), Pair(0.35, 0.45), SCORES)
    before, after = judged(SCORES, Pair(0.3, 0.4)), judged(SCORES, Pair(0.35, 0.45))
    assert sum(move.count for move in changed) == len(places) == int((before != after).sum())
    assert {(move.before, move.after) for move in changed} == {("review", "pass"), ("reject", "review")}


def test_rates_have_the_interval_of_their_counts_and_none_without_parts() -> None:
    found = kept(Pair(0.3, 0.4), (0.1, 0.35, 0.5), SCORES, (), (0.2, 0.5))
    assert (found.good_rejected.events, found.good_stopped.events, found.good_stopped.trials) == (1, 2, 3)
    assert found.good_rejected.interval == binomial_interval(1, 3, 0.95)
    assert found.known_good_stopped.share is None
    assert found.known_bad_passed.events == 1
