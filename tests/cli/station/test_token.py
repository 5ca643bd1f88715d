"""`muad station token`: made once, shown once, listed without it, taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from muad.cli.main import app
from muad.errors import ConfigError, MuadError
from muad.service.access.tokens import Tokens
from muad.service.history import History


@pytest.fixture
def data(tmp_path: Path) -> str:
    """The folder of a station."""
    History(f"sqlite:///{tmp_path / 'history.sqlite'}").close()
    return str(tmp_path)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["station", "token", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_a_token_is_made_listed_without_it_and_taken_back(data: str) -> None:
    text = run("add", "press 3", "--role", "line", "--days", "30", "--data", data).strip()
    history = History(f"sqlite:///{data}/history.sqlite")
    try:
        assert Tokens(history.database).find(text).name == "press 3"
        listed = run("list", "--data", data)
        assert "press 3" in listed
        assert "until 20" in listed
        assert text not in listed
        [told] = json.loads(run("list", "--json", "--data", data))
        assert told["last_used_at"] is not None
        assert not any(text in str(value) for value in told.values())
        run("revoke", "press 3", "--data", data)
        assert Tokens(history.database).find(text) is None
    finally:
        history.close()
    assert "revoked" in run("list", "--data", data)


def test_what_cannot_be_is_said_in_one_line(data: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="role must be one of line, operator, engineer, admin, got 'root'"):
        run("add", "x", "--role", "root", "--data", data)
    with pytest.raises(ConfigError, match="days must be above 0"):
        run("add", "x", "--role", "line", "--days", "-1", "--data", data)
    with pytest.raises(MuadError, match="token must be one that lets somebody in, got 'nobody'"):
        run("revoke", "nobody", "--data", data)
    with pytest.raises(ConfigError, match="data must be the folder of a station"):
        run("list", "--data", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("command", [["serve"], ["station", "token", "list"]])
def test_without_the_station_installed_the_remedy_is_said(command: list[str]) -> None:
    hidden = "import sys; sys.modules['sqlalchemy'] = None; from muad.cli.main import run; run()"
    done = subprocess.run([sys.executable, "-c", hidden, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    told = "sqlalchemy must be installed for a station, got none. Run: pip install 'muad[service]'"
    assert done.stderr == f"error: {told}\n"
