"""The command line as a user has it: arguments in, exit code and both streams out."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from muad.cli.main import run


@dataclass(frozen=True)
class Ran:
    """What a call of `muad` left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what was wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip("\n").endswith(lines[0]), "the error must come last"
        assert "Traceback" not in self.err
        assert self.code == 2
        return lines[0].removeprefix("error: ")


@pytest.fixture
def muad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Calls the command in this process, through the function that is installed as `muad`."""

    def call(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["muad", *map(str, arguments)])
        code: object = 0
        capsys.readouterr()
        try:
            run()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, out, err)

    return call
