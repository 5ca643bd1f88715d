"""The command as a whole: help without torch, faults as one line, exit codes of a real process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from muad._version import __version__
from muad.cli.main import app


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[list[str]]:
    """The words of every command that does something."""
    for name, inside in command.commands.items():
        if hasattr(inside, "commands"):
            yield from _walk(inside, (*path, name))
        else:
            yield [*path, name]


COMMANDS = list(_walk(typer.main.get_command(app), ()))


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_help_of_every_command_is_quick_and_does_not_import_torch() -> None:
    code = f"""
import contextlib, io, sys
from muad.cli.main import run
for command in ([], *{COMMANDS!r}):
    sys.argv = ["muad", *command, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        run()
heavy = {{"torch", "timm", "cv2", "lightning_fabric", "numpy"}} & set(sys.modules)
assert not heavy, heavy
"""
    start = time.monotonic()
    done = _python(code)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 15  # about one second on an idle machine


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str], muad: Callable[..., Any]) -> None:
    shown = muad(*command, "--help")
    assert shown.code == 0
    assert f"muad {' '.join(command)}" in shown.out
    assert "No such" not in shown.out


def test_commands_stand_in_the_order_of_work() -> None:
    names = [command[0] for command in COMMANDS]
    order = ["check-data", "train", "evaluate", "calibrate", "report", "predict"]
    assert [name for name in names if name in order] == order


_NO_RESULT = (["serve"], ["station", "openapi"])  # one goes on until it is ended, the other prints JSON anyway


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in _NO_RESULT], ids=" ".join)
def test_every_command_can_speak_json(command: list[str]) -> None:
    found: Any = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    assert "--json" in {option for parameter in found.params for option in parameter.opts}


def test_the_version_is_said(muad: Callable[..., Any]) -> None:
    shown = muad("--version")
    assert (shown.code, shown.out) == (0, f"muad {__version__}\n")


def test_words_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_MUAD_COMPLETE", "complete_bash"), ("COMP_WORDS", "muad ch"), ("COMP_CWORD", "1")):
        monkeypatch.setenv(name, value)
    done = _python("import sys; sys.argv = ['muad']; from muad.cli.main import run; run()")
    assert done.stdout.split() == ["check-data", "check-bundle"]


def test_the_commands_people_know_are_there() -> None:
    alone = {"train", "evaluate", "predict", "demo-data", "demo", "import-official", "fetch-encoder", "doctor"}
    grouped = {"recipes list", "recipes show", "data summary"}
    assert alone | grouped <= {" ".join(command) for command in COMMANDS}


def test_importing_muad_does_not_import_torch() -> None:
    assert _python("import muad, sys; assert 'torch' not in sys.modules").returncode == 0


def test_python_dash_m_muad_is_the_command_and_exits_with_2_on_a_fault() -> None:
    arguments = [sys.executable, "-m", "muad", "data", "summary", "/nowhere/at/all"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: data path /nowhere/at/all must exist, got no such file or folder. Check the path.\n"


def test_an_unknown_option_is_a_usage_error(muad: Callable[..., Any]) -> None:
    assert muad("train", "data", "--out", "run", "--epochs", "3").code == 2
