"""The command as a whole: help without torch, faults as one line, exit codes of a real process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

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
