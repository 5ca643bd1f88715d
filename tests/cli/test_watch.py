"""`muad watch`: a line for each photograph, and a clean end."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from threading import Thread
from typing import Any

import pytest


@pytest.fixture
def folder(tiny_data: Path, tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    copyfile(tiny_data / "pill_blister" / "test" / "good" / "000.png", made / "1.png")
    (made / "bad.png").write_bytes(b"no image")
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_count(
    number: signal.Signals, muad: Callable[..., Any], tiny_run: Path, folder: Path, tmp_path: Path
) -> None:
    def end() -> None:
        ledger = tmp_path / "out" / "ledger.jsonl"
        while not ledger.is_file() or len(ledger.read_text(encoding="utf-8").splitlines()) < 3:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before, thread = signal.getsignal(number), Thread(target=end)
    thread.start()
    done = muad("watch", folder, "--run", tiny_run, "--out", tmp_path / "out", "--settle", "0.05", "--patience", "0.1")
    thread.join()
    assert done.code == 0, done.err
    judged, bad = done.out.splitlines()
    assert judged.startswith("no verdict       ")
    assert judged.endswith("  1.png")
    assert bad.startswith("not read         bad.png  image ")
    assert "watching" in done.err
    assert f"1 image judged (1 none), 1 not readable: {tmp_path / 'out'}" in done.err
    assert signal.getsignal(number) == before


def test_once_with_json_moves_and_ends(muad: Callable[..., Any], tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").unlink()
    options = ("--run", tiny_run, "--out", tmp_path / "out", "--move", tmp_path / "done", "--settle", "0.05")
    done = muad("watch", folder, *options, "--once", "--json", "--maps", "small")
    entry = json.loads(done.out)
    assert (entry["name"], entry["category"], entry["error"]) == ("1.png", "pill_blister", None)
    day = Path(entry["results"])
    assert (day / entry["map"]).is_file()
    assert (day / entry["overlay"]).is_file()
    assert Path(entry["moved_to"]) == tmp_path / "done" / "1.png"
    assert (tmp_path / "done" / "1.png").is_file()
    assert muad("watch", folder, *options, "--once").out == ""
