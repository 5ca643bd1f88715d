"""`capture.toml`: edited limits hold, and what cannot be meant is refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from muad.capture import CAPTURE_FILE, measure, read_capture
from muad.errors import ConfigError


def _written(folder: Path, text: str) -> Path:
    (folder / CAPTURE_FILE).write_text(text, encoding="utf-8")
    return folder


def test_limits_are_read_and_hold(tmp_path: Path) -> None:
    text = "capture_rate = 0.01\n[categories.bolt]\nbrightness = {at_least = 100}\n[categories.nut]\n"
    limits = read_capture(_written(tmp_path, text), ("bolt", "nut"))
    assert limits is not None
    assert limits.rate == 0.01
    dim = measure(np.random.default_rng(0).integers(0, 90, (40, 40, 3), np.uint8))
    (reason,) = limits.reasons("bolt", dim)
    assert (reason.what, reason.quantity, reason.limit) == ("too dark", "brightness", 100)
    assert str(reason) == f"too dark (brightness {dim.brightness:.3g}, at least 100)"
    for other in ("nut", "screw", None):
        assert limits.reasons(other, dim) == ()


def test_a_run_without_the_file_has_no_limits(tmp_path: Path) -> None:
    assert read_capture(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("capture_rate = ", "capture.toml must be valid TOML, got "),
        ("capture_rate = 0.5", "capture_rate must be above 0 and at most 0.1, got 0.5"),
        ("capture_rate = true", "capture_rate must be above 0 and at most 0.1, got True"),
        ("rate = 0.1", "must hold only capture_rate and categories, got 'rate'"),
        ("categories = 5", "categories must be tables such as"),
        ("[categories.screw]", "must name categories of the run, bolt, got 'screw'"),
        ("[categories]\nbolt = 3", "categories.bolt must be a table of brightness, highlights"),
        ("[categories.bolt]\nloudness = {at_most = 3}", "must hold only brightness.*got 'loudness'"),
        ("[categories.bolt]\ngrain = 3", r"bolt.grain must be \{at_least = number, at_most = number\}, got 3"),
        ("[categories.bolt]\ngrain = {most = 3}", r"bolt.grain must be \{at_least"),
        ("[categories.bolt]\ngrain = {at_most = nan}", "bolt.grain.at_most must be a number, got nan"),
        ("[categories.bolt]\ngrain = {at_most = '3'}", "bolt.grain.at_most must be a number, got '3'"),
        ("[categories.bolt]\ngrain = {at_least = 2, at_most = 1}", "at_least must be no more than at_most 1, got 2"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        read_capture(_written(tmp_path, text), ("bolt",))
