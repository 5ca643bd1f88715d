"""Bad inputs as a user gives them: the command line in, exit code 2 and one line out.

A table per subject, in a file of its own; a case is a name, what is done to sound files, the command, and words that
must be in the line.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.cli.main import run as run_muad

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Calls `muad` in this process and returns the one line it must end in."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["muad", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_muad()
        out, err = capsys.readouterr()
        lines = err.rstrip("\n").splitlines()
        assert stop.value.code == 2, (stop.value.code, out, err)
        assert "Traceback" not in err
        found = [line for line in lines if line.startswith("error: ")]
        assert found == lines[-1:], err
        return found[0].removeprefix("error: ")

    return call


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A sound run to spoil."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound data set to spoil: `bolt/good` and `bolt/bad`."""
    random = np.random.default_rng(5)
    for name in ("good/0.png", "good/1.png", "good/2.png", "bad/0.png"):
        file = tmp_path / "data/bolt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(file)
    return tmp_path / "data/bolt"
