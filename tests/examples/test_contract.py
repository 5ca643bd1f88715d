"""What the examples in other languages state of the contract is what muad states."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from muad.bundles.manifest import SCHEMA_VERSION
from muad.bundling.complete import MAP, PIXELS, SCORE
from muad.decisions.limits import ROUNDING
from muad.images.preprocessing import MIN_SIDE_PX

ROOT = Path(__file__).resolve().parents[2]


def text_of(folder: str) -> str:
    return "\n".join(
        file.read_text(encoding="utf-8") for file in sorted((ROOT / "examples" / folder).iterdir()) if file.is_file()
    )


@pytest.mark.parametrize("language", ["cpp", "csharp"])
def test_names_versions_and_the_verdict_rule_are_those_of_muad(language: str) -> None:
    text = text_of(language)
    for name in (PIXELS, SCORE, MAP):
        assert f'"{name}"' in text
    for words in (rf"schema_?version = {SCHEMA_VERSION};", rf"smallest_?px = {MIN_SIDE_PX};", r"digits = 32 - 8 - 2;"):
        assert re.search(words, text, re.IGNORECASE), words
    assert re.search(r"score > limit \+ (1e-5|Rounding) \*", text)
    assert "1e-5" in text
    assert ROUNDING == 1e-5
    for key in ("schema_version", "categories", "preprocessing", "resize_px", "crop_px", "fit", "tiles", "networks",
                "mode", "per_category", "files", "complete", "fp32", "limits.toml", "run/roi/"):  # fmt: skip
        assert f'"{key}"' in text, key


def test_the_page_states_the_same() -> None:
    page = (ROOT / "docs/bundle.md").read_text(encoding="utf-8")
    for words in (f"`{PIXELS}`", f"`{MAP}`", f"`{SCORE}`", "1e-5", f"{MIN_SIDE_PX} px", "22 binary digits"):
        assert words in page, words


def test_the_example_in_csharp_is_built_where_dotnet_is(tmp_path: Path) -> None:
    if shutil.which("dotnet") is None:
        pytest.skip("needs dotnet")
    source = shutil.copytree(ROOT / "examples/csharp", tmp_path / "csharp")
    done = subprocess.run(["dotnet", "build", source], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout
