"""Scores of parts from all of their views, against what they are defined as."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muad.decisions.object_scores import TOP_FRACTION, ObjectRules, largest_of, object_scores
from muad.errors import ConfigError


def _brute(maps: list[np.ndarray], views: int) -> float:
    whole = sum(one.size for one in maps) * views / len(maps)
    count = max(1, int(TOP_FRACTION * whole))
    return float(np.sort(np.concatenate([one.ravel() for one in maps]))[-count:].mean(dtype=np.float64))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 3), st.integers(20, 900), st.integers(0, 10**6))
def test_the_mean_of_the_largest_hundredth_is_that_of_all_maps_together(
    present: int, missing: int, size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    maps = [random.normal(0, 1 + view, size).astype(np.float32) for view in range(present)]
    largest = [largest_of(one, present + missing, size) for one in maps]
    found = object_scores([float(one.max()) for one in maps], largest, present + missing)
    assert found["mean_top"] == pytest.approx(_brute(maps, present + missing), rel=1e-6)
    assert found["max"] == max(float(one.max()) for one in maps)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_a_part_without_a_view_scores_what_it_scores_at_least(views: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    maps = [random.gamma(1 + view, 1.0, 400).astype(np.float32) for view in range(views)]
    scores = [float(one.mean()) for one in maps]
    largest = [largest_of(one, views, 400) for one in maps]
    whole = object_scores(scores, largest)
    for left_out in range(views):
        kept = [view for view in range(views) if view != left_out]
        part = object_scores([scores[view] for view in kept], [largest[view] for view in kept], views)
        assert part["mean_top"] <= whole["mean_top"] + 1e-9
        assert part["max"] <= whole["max"]


def test_views_whose_maps_count_in_part_give_as_many_values_as_count() -> None:
    whole, cropped = np.arange(1000, dtype=np.float32), np.arange(5000, 5100, dtype=np.float32)
    found = object_scores([0.0, 0.0], [largest_of(whole, 2, 1000), largest_of(cropped, 2, 1000)])
    assert found["mean_top"] == np.arange(5089, 5100).mean()  # 11 of 1100


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objects.score must be one of mean_top, max, got 'mean'"):
        ObjectRules(score="mean")  # type: ignore[arg-type]
