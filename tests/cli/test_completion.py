"""What a shell offers after Tab, asked as a shell asks."""

import io
import subprocess
import sys
from contextlib import redirect_stdout, suppress

import pytest

from muad.cli.main import app


def offered(words: str) -> list[str]:
    """What bash is offered for the last word of a line, by Typer's protocol."""
    asked = {"_MUAD_COMPLETE": "complete_bash", "COMP_WORDS": f"muad {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), suppress(SystemExit):
        for name, value in asked.items():
            patch.setenv(name, value)
        app(prog_name="muad")
    return out.getvalue().split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train data --recipe toy-f", ["toy-factory"]),
        ("recipes show dinomaly-visa-l", ["dinomaly-visa-large"]),
        ("train data --detector pat", ["patchcore"]),
        ("compare data --detectors patchcore,dino", ["patchcore,dinomaly"]),
        ("train data --encoder muad-t", ["muad-tiny"]),
        ("train data --encoder muad-tiny,efficientnet-lite2", ["muad-tiny,efficientnet-lite2"]),
        ("train data --set training.see", ["training.seed="]),
        ("train data --set detector.exposure_g", ["detector.exposure_gains="]),
        ("compare data --set patchcore:detector.exposure_g", ["patchcore:detector.exposure_gains="]),
        ("compare data --set dinomaly:detector.exposure", []),
        ("settings training.calibration_s", ["training.calibration_share"]),
        ("settings --detector vita", ["vitad"]),
        ("evaluate run data --condition light", ["light", "light=0.8", "light=1.2"]),
    ],
)
def test_names_are_offered(words: str, expected: list[str]) -> None:
    assert offered(words) == expected


def test_settings_recipes_and_kept_features_are_listed_without_torch() -> None:
    code = """
import contextlib, io, sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "timm", "lightning_fabric", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from muad.cli.main import run
for command in ("settings tiles", "settings --markdown", "settings --json", "recipes list", "recipes show toy-factory",
                "cache list", "cache list --json"):
    sys.argv = ["muad", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            run()
        except SystemExit as stop:
            assert not stop.code, command
    assert out.getvalue().strip(), command
sys.argv = ["muad", "recipes", "list", "--json"]
run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "error: torch must be installed" in done.stderr
    assert "pip install 'muad[train]'" in done.stderr
