"""`limits.toml` edited by hand, and rates nobody can keep."""

from collections.abc import Callable
from pathlib import Path

import pytest

FILES = {
    "no TOML": "[categories",
    "no table of categories": "categories = 5",
    "categories in a list": "categories = [1]",
    "an unknown category": "[categories.screw]\nreview = 1.0",
    "a category that is a number": "[categories]\npill_blister = 5",
    "an unknown limit": "[categories.pill_blister]\nrejects = 1.0",
    "a limit in words": '[categories.pill_blister]\nreview = "high"',
    "a limit that is no number": "[categories.pill_blister]\nreview = nan",
    "a limit that is endless": "[categories.pill_blister]\nreject = inf",
    "a limit that is true": "[categories.pill_blister]\nreview = true",
    "review above reject": "[categories.pill_blister]\nreview = 2.0\nreject = 1.0",
}
RATES = [
    ("--false-alarm-rate", "0"),
    ("--false-alarm-rate", "1"),
    ("--false-alarm-rate", "-0.1"),
    ("--false-alarm-rate", "nan"),
    ("--false-alarm-rate", "5"),
    ("--review-rate", "0"),
    ("--review-rate", "inf"),
    ("--review-rate", "0.001"),
    ("--confidence", "0"),
    ("--confidence", "1"),
    ("--confidence", "nan"),
]


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_limits_file_is_one_line(
    name: str, run: Path, tiny_data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (run / "limits.toml").write_text(FILES[name], encoding="utf-8")
    image = next((tiny_data / "pill_blister/test/good").iterdir())
    assert "limits.toml" in refused("predict", run, image, "--out", tmp_path / "out")


@pytest.mark.parametrize(("option", "value"), RATES)
def test_a_rate_nobody_can_keep_is_one_line(
    option: str, value: str, run: Path, tiny_data: Path, refused: Callable[..., str]
) -> None:
    said = refused("calibrate", run, tiny_data / "pill_blister/test/good", option, value)
    assert option.strip("-").replace("-", "_") in said
