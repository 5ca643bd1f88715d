"""`muad station backup`, `restore` and `retain`: a station goes out, comes back, and is thinned out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from muad.cli.main import app
from muad.errors import ConfigError
from muad.service.history import History, NewInspection, Pictures, new_id, now


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a station with an old part and a new one."""
    folder = tmp_path / "station"
    folder.mkdir()
    (folder / "station.toml").write_text("[history]\nrows_days = { pass = 30 }\n", encoding="utf-8")
    history, pictures = History(f"sqlite:///{folder / 'history.sqlite'}"), Pictures(folder)
    for days in (40, 1):
        at = now() - timedelta(days=days)
        name = new_id(at)
        kept = pictures.keep(name, at, b"photo", ".jpg")
        history.record([NewInspection(id=name, at=at, station="1", source="http", verdict="pass", kept=kept)])
    history.close()
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["station", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_a_station_goes_out_and_comes_back(data: Path, tmp_path: Path) -> None:
    assert "2 inspections and 2 pictures, 2 of them new" in run("backup", tmp_path / "backup", "--data", data)
    again = tmp_path / "again"
    assert "2 inspections and 2 pictures as of" in run("restore", tmp_path / "backup", "--data", again)
    assert len(list(again.glob("pictures/*/*/*.jpg"))) == 2
    assert (again / "history.sqlite").is_file()
    with pytest.raises(ConfigError, match="data must be an empty folder"):
        run("restore", tmp_path / "backup", "--data", again)


def test_what_may_go_is_told_before_it_goes(data: Path) -> None:
    told = "pictures of 1 part, 0.0 MB: pass, older than 30 days"
    assert told in run("retain", "--dry-run", "--data", data)
    assert len(list(data.glob("pictures/*/*/*.jpg"))) == 2
    assert "inspections of 1 part" in run("retain", "--data", data)
    assert len(list(data.glob("pictures/*/*/*.jpg"))) == 1
    assert run("retain", "--dry-run", "--data", data) == ""
