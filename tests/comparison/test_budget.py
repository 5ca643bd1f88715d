"""Time is shared so that each gets as much as the others, unless it needs less."""

from pathlib import Path
from time import perf_counter

import pytest

from muad.comparison.budget import Allowance, Need, affordable, fair_share, parse_budget
from muad.comparison.entries import Entry
from muad.comparison.pace import Pace
from muad.comparison.plan import Plan
from muad.errors import ConfigError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1h30m", 5400), ("45", 45)])
def test_budgets_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5m", "nan", "30 min", "inf"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"budget must be a time such as 90s, 30m or 1h30m"):
        parse_budget(text)


def test_what_some_do_not_need_goes_to_the_others() -> None:
    most = {"quick": 5.0, "short": 20.0, "long": 500.0, "longer": 900.0}
    share = fair_share(200, most)
    assert share == (200 - 5 - 20) / 2
    assert sum(min(share, one) for one in most.values()) == pytest.approx(200)
    assert fair_share(2000, most) == float("inf")


def test_steps_fill_a_share_and_no_more() -> None:
    pace = Pace(read_s=0.01, encode_s=0.1, step_s=0.5, predict_s=0.1, frozen_bytes=0, keeps_features=True)
    steps = pace.steps_in(60, images=100, batch_size=16, most=10_000)
    assert pace.training_s(100, 16, steps) <= 60 < pace.training_s(100, 16, steps + 1)
    assert pace.steps_in(60, images=100, batch_size=16, most=7) == 7


def test_seeds_are_as_many_as_the_budget_is_enough_for() -> None:
    needs = {"a": Need(least_s=10, most_s=100), "b": Need(least_s=15, most_s=100)}
    assert affordable(80, needs, 5).seeds == 3
    assert affordable(800, needs, 5).seeds == 5
    assert not affordable(80, needs, 5).left_out


def test_those_that_take_longest_are_left_out_first_and_told_what_all_would_take() -> None:
    needs = {
        "slow": Need(least_s=5000, most_s=9000),
        "a": Need(least_s=10, most_s=100),
        "b": Need(least_s=15, most_s=100),
    }
    found = affordable(60, needs, 3)
    assert found.seeds == 2
    assert list(found.left_out) == ["slow"]
    assert "about 83.3 minutes here at 20 steps" in found.left_out["slow"]
    assert "A budget of 84m is enough for all" in found.left_out["slow"]


def test_a_budget_that_is_enough_for_none_is_refused() -> None:
    needs = {"a": Need(least_s=10, most_s=100), "b": Need(least_s=15, most_s=100)}
    with pytest.raises(ConfigError, match=r"budget must be at least 10s for one seed of a on this machine"):
        affordable(5, needs, 5)


def test_every_training_still_to_come_gets_as_much_and_a_length_is_decided_once(tmp_path: Path) -> None:
    pace = Pace(read_s=0.0, encode_s=0.0, step_s=1.0, predict_s=0.0, frozen_bytes=0, keeps_features=False)
    entries = [Entry(detector=name, steps=900, batch_size=4) for name in "ab"]
    plan = Plan(tmp_path, {}, entries=entries, paces={"a": pace, "b": pace})
    time = Allowance(plan, {}, {}, budget_s=426.0, images=0, tested=0, begun=perf_counter())
    assert (
        time.steps(entries[0], seeds=2) == 104
    )  # (426 s / 2 seeds - 2 s beside each training) / 2 detectors, rounded down
    assert plan.steps == {"a": 104}
    assert time.steps(entries[0], seeds=1) == 104
    assert Allowance(plan, {}, {}, budget_s=None, images=0, tested=0, begun=0).steps(entries[1], seeds=2) == 900
