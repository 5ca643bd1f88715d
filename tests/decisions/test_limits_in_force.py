"""Limits that change while a run is at work: taken over when they can be used, else those before stay."""

import os
from pathlib import Path

import pytest

from muad.decisions.limits import CategoryLimits, Limits
from muad.decisions.limits_in_force import LimitsInForce
from muad.errors import ConfigError


def _write(run: Path, limit: object) -> None:
    (run / "limits.toml").write_text(f"[categories.bolt]\nreject = {limit}\n", encoding="utf-8")


def _reject(limits: Limits | None) -> float | None:
    return None if limits is None else limits.categories.get("bolt", CategoryLimits()).reject


def test_a_changed_file_is_in_force_even_with_the_same_size_and_time(tmp_path: Path) -> None:
    said: list[str] = []
    _write(tmp_path, 1.5)
    at_work = LimitsInForce(tmp_path, ["bolt"], said.append)
    before = (tmp_path / "limits.toml").stat()
    at_work.refresh()
    assert said == []
    _write(tmp_path, 2.5)
    os.utime(tmp_path / "limits.toml", ns=(before.st_atime_ns, before.st_mtime_ns))
    at_work.refresh()
    at_work.refresh()
    assert _reject(at_work.limits) == 2.5
    assert said == ["limits.toml has changed: its limits are in force from here on"]


@pytest.mark.parametrize("broken", ["", "'high'", "nan", "1.5\nreview = 2"])
def test_what_cannot_be_used_leaves_the_limits_before_and_is_told_once(tmp_path: Path, broken: str) -> None:
    said: list[str] = []
    _write(tmp_path, 1.5)
    at_work = LimitsInForce(tmp_path, ["bolt"], said.append)
    _write(tmp_path, broken)
    at_work.refresh()
    at_work.refresh()
    assert _reject(at_work.limits) == 1.5
    assert len(said) == 1
    assert said[0].startswith("limits stay as they were, because they cannot be read anew: limits.toml")
    with pytest.raises(ConfigError):
        LimitsInForce(tmp_path, ["bolt"])
    _write(tmp_path, 3.5)
    at_work.refresh()
    assert _reject(at_work.limits) == 3.5


def test_a_file_that_goes_leaves_its_limits_and_one_that_comes_sets_them(tmp_path: Path) -> None:
    said: list[str] = []
    at_work = LimitsInForce(tmp_path, ["bolt"], said.append)
    assert at_work.limits is None
    _write(tmp_path, 1.5)
    at_work.refresh()
    assert _reject(at_work.limits) == 1.5
    (tmp_path / "limits.toml").unlink()
    at_work.refresh()
    assert _reject(at_work.limits) == 1.5
    assert "is gone" in said[-1]
