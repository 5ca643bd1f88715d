"""`--quiet` and `--verbose` before or after a verb, and the log that every run and all results keep."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from muad.cli.main import app


@pytest.fixture
def run_folder(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_quiet_leaves_the_result_whether_before_or_after_the_verb(muad: Callable[..., Any]) -> None:
    usual = muad("settings", "ema_decay")
    assert "Without a recipe" in usual.err
    for words in (
        ("--quiet", "settings", "ema_decay"),
        ("settings", "ema_decay", "-q"),
        ("-q", "settings", "ema_decay"),
    ):
        quiet = muad(*words)
        assert (quiet.code, quiet.out, quiet.err) == (0, usual.out, "")


def test_an_error_comes_with_quiet_and_verbose_says_where_it_came_from(muad: Callable[..., Any]) -> None:
    quiet = muad("-q", "data", "summary", "/nowhere")
    assert quiet.err == f"error: {quiet.error}\n"
    verbose = muad("data", "summary", "/nowhere", "--verbose")
    assert verbose.code == 2
    assert "open_catalog" in verbose.err
    assert verbose.err.splitlines()[-1] == quiet.err.strip()


def test_what_was_chosen_holds_for_one_command(muad: Callable[..., Any]) -> None:
    handlers = list(logging.getLogger().handlers)
    muad("settings", "ema_decay", "-v")
    assert logging.getLogger().handlers == handlers
    assert muad("settings", "ema_decay").err.startswith("Without")


def test_verbose_shows_what_libraries_log_and_when(muad: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from muad.configuration import settings_table

    found = settings_table.find_settings

    def logs(*arguments: Any) -> Any:
        logging.getLogger("some.package").info("took %d", 3)
        return found(*arguments)

    monkeypatch.setattr(settings_table, "find_settings", logs)
    assert "some.package" not in muad("settings", "ema_decay").err
    assert " some.package: took 3\n" in muad("settings", "ema_decay", "-v").err


def test_every_verb_takes_both() -> None:
    command: Any = typer.main.get_command(app)
    groups = [command]
    while groups:
        for inside in groups.pop().commands.values():
            named = [option for parameter in inside.params for option in parameter.opts]
            assert {"--quiet", "-q", "--verbose", "-v"} <= set(named)
            assert len(set(named)) == len(named)
            groups += [inside] if hasattr(inside, "commands") else []


def test_a_run_keeps_what_was_printed_of_it(
    muad: Callable[..., Any], photos: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ("train", photos, "--out", run, "--recipe", tiny_recipe, "--device", "cpu")
    trained = muad(*words, "--quiet")
    assert (trained.code, trained.out, trained.err) == (0, "", "")
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert f"  $ muad train {photos} --out {run}" in log.splitlines()[0]
    assert "  trained: " in log.splitlines()[-1]
    again = muad(*words)
    assert "run folder must be new" in again.error
    added = (run / "log.txt").read_text(encoding="utf-8").removeprefix(log).splitlines()
    assert len(added) == 2
    assert added[1].endswith(f"error: {again.error}")


def test_results_have_a_log_of_their_own_and_json_is_in_none(
    muad: Callable[..., Any], run_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    images, out = tiny_data / "printed_board" / "test" / "good", tmp_path / "results"
    predicted = muad("predict", run_folder, images, "--out", out, "--json")
    assert predicted.code == 0
    assert len(json.loads(predicted.out)) == 3
    log = (out / "log.txt").read_text(encoding="utf-8")
    assert [line for line in predicted.err.splitlines() if f"  {line}\n" not in log] == []
    assert '"score"' not in log
    evaluated = muad("evaluate", run_folder, tiny_data, "--quiet")
    assert evaluated.err == ""
    log = (run_folder / "log.txt").read_text(encoding="utf-8")
    assert all(line.rstrip() in log for line in evaluated.out.splitlines())


def test_a_folder_that_is_refused_gets_no_log(muad: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not a run", encoding="utf-8")
    assert muad("compare", photos, "--out", tmp_path).code == 2
    assert muad("evaluate", tmp_path, photos).code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_bug_is_in_the_log_with_its_traceback(
    muad: Callable[..., Any], run_folder: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import muad.evaluation.evaluate as module

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(module, "evaluate", broken)
    with pytest.raises(ZeroDivisionError):
        muad("evaluate", run_folder, tiny_data)
    assert (run_folder / "log.txt").read_text(encoding="utf-8").rstrip().endswith("ZeroDivisionError: a bug")
