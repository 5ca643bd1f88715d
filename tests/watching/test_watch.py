"""A watched folder: each complete file is judged once, whatever happens."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copyfile, copytree
from threading import Event, Thread
from typing import Any

import pytest
from PIL import Image

from muad import Predictor
from muad.errors import ConfigError, DataError
from muad.outputs import picture_choice
from muad.watching import Counts, watch


class Watched:
    """A watch in a thread, with what it reports."""

    def __init__(self, run: Path, folder: Path, out: Path, **how: Any) -> None:
        self.entries: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.stop = Event()
        self.counts: Counts | None = None
        pictures = picture_choice(how.pop("save", "all"), "none")
        options = {"settle_s": 0.04, "patience_s": 0.3, "pictures": pictures, "move": None} | how
        predictor = Predictor(run, device="cpu", note=self.notes.append)

        def work() -> None:
            self.counts = watch(
                folder, predictor, out, stop=self.stop, report=self.entries.append, note=self.notes.append, **options
            )

        self.thread = Thread(target=work)
        self.thread.start()

    def wait(self, done: Callable[[], bool]) -> None:
        """Until something has come true."""
        end = time.monotonic() + 20
        while not done():
            assert time.monotonic() < end, (self.entries, self.notes)
            assert self.thread.is_alive()
            time.sleep(0.01)

    def end(self) -> Counts:
        """Stop, and what was counted."""
        self.stop.set()
        self.thread.join(20)
        assert self.counts is not None
        return self.counts

    @property
    def names(self) -> list[str]:
        """Of the files that were reported."""
        return [entry["name"] for entry in self.entries]


@pytest.fixture
def good(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "pill_blister" / "test").glob("*/*.png"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture
def start(tiny_run: Path, folder: Path, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Starts a watch of `folder`; all are ended with the test."""
    started: list[Watched] = []

    def begin(run: Path = tiny_run, **how: Any) -> Watched:
        started.append(Watched(run, folder, tmp_path / "out", **how))
        return started[-1]

    yield begin
    for watched in started:
        watched.stop.set()


def _rows(out: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for table in sorted(out.glob("*/results.csv")):
        with table.open(encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    return rows


def test_files_are_judged_as_they_are_complete(
    start: Callable[..., Watched], folder: Path, good: list[Path], tmp_path: Path
) -> None:
    copyfile(good[0], folder / "early.png")
    watched = start()
    watched.wait(lambda: watched.names == ["early.png"])
    content = good[1].read_bytes()
    (folder / "line1").mkdir()
    with (folder / "line1" / "slow.png").open("wb") as upload:
        for begin in range(0, len(content), len(content) // 8):
            upload.write(content[begin : begin + len(content) // 8])
            upload.flush()
            time.sleep(0.03)
    copyfile(good[2], folder / "renamed.png.part")
    (folder / "renamed.png.part").rename(folder / "renamed.png")
    watched.wait(lambda: len(watched.entries) == 3)
    counts = watched.end()
    assert sorted(watched.names) == ["early.png", "line1/slow.png", "renamed.png"]
    assert (counts.judged, counts.unreadable) == (3, 0)
    day = Path(watched.entries[0]["results"])
    for entry in watched.entries:
        with Image.open(day / entry["overlay"]) as overlay:
            assert overlay.width > 64
    assert sorted(row["path"] for row in _rows(tmp_path / "out")) == sorted(e["path"] for e in watched.entries)
    assert "line1/slow.png" in (day / "results.html").read_text(encoding="utf-8")


def test_a_restart_judges_nothing_twice_and_what_was_replaced_again(
    start: Callable[..., Watched], folder: Path, good: list[Path], tmp_path: Path
) -> None:
    for number in range(3):
        copyfile(good[number], folder / f"{number}.png")
    first = start(once=True)
    first.thread.join(20)
    assert sorted(first.names) == ["0.png", "1.png", "2.png"]
    overlays = {entry["overlay"] for entry in first.entries}
    copyfile(good[4], folder / "1.png")
    second = start(once=True)
    second.thread.join(20)
    assert second.names == ["1.png"]
    assert second.entries[0]["overlay"] not in overlays  # the earlier one stays
    assert len(_rows(tmp_path / "out")) == 4


def test_finished_photographs_are_moved_and_bad_ones_stay_and_are_told_once(
    start: Callable[..., Watched], folder: Path, good: list[Path], tmp_path: Path
) -> None:
    done = folder / "done"  # inside the watched folder, and not watched
    (folder / "a").mkdir()
    copyfile(good[0], folder / "a" / "1.png")
    (folder / "bad.png").write_bytes(b"no image")
    watched = start(move=done)
    watched.wait(lambda: len(watched.entries) == 2)
    assert not (folder / "a" / "1.png").exists()
    copyfile(good[1], folder / "a" / "1.png")  # the next of that name
    watched.wait(lambda: len(watched.entries) == 3)
    time.sleep(0.5)
    counts = watched.end()
    assert sorted(file.name for file in done.rglob("*.png")) == ["1-2.png", "1.png"]
    assert (done / "a" / "1.png").read_bytes() == good[0].read_bytes()
    assert (counts.judged, counts.unreadable) == (2, 1)
    assert (folder / "bad.png").exists()
    again = start(move=done, once=True)
    again.thread.join(20)
    assert again.entries == []
    assert (folder / "bad.png").exists()
    copyfile(good[2], folder / "bad.png")  # mended
    again = start(move=done, once=True)
    again.thread.join(20)
    assert [entry["error"] for entry in again.entries] == [None]


def test_an_upload_that_halts_is_waited_for(start: Callable[..., Watched], folder: Path, good: list[Path]) -> None:
    content = good[0].read_bytes()
    watched = start(patience_s=30.0)
    with (folder / "1.png").open("wb") as upload:
        upload.write(content[: len(content) // 2])
        upload.flush()
        time.sleep(0.6)
        assert watched.entries == []
        upload.write(content[len(content) // 2 :])
    watched.wait(lambda: len(watched.entries) == 1)
    assert watched.entries[0]["error"] is None


def test_edits_of_the_limits_are_taken_up_and_bad_ones_told(
    start: Callable[..., Watched], tiny_run: Path, folder: Path, good: list[Path], tmp_path: Path
) -> None:
    run = copytree(tiny_run, tmp_path / "run")
    watched = start(run)
    copyfile(good[0], folder / "0.png")
    watched.wait(lambda: len(watched.entries) == 1)
    (run / "limits.toml").write_text("[categories.pill_blister]\nreject = 0.0\n", encoding="utf-8")
    copyfile(good[0], folder / "1.png")
    watched.wait(lambda: len(watched.entries) == 2)
    (run / "limits.toml").write_text("[categories.pill_blister]\nreject = oops\n", encoding="utf-8")
    copyfile(good[0], folder / "2.png")
    watched.wait(lambda: len(watched.entries) == 3)
    watched.end()
    assert [entry["verdict"] for entry in watched.entries][1:] == ["reject", "reject"]
    assert any("limits.toml must be valid TOML" in note for note in watched.notes)


def test_a_folder_that_goes_away_is_waited_for(
    start: Callable[..., Watched], folder: Path, good: list[Path], tmp_path: Path
) -> None:
    watched = start()
    watched.wait((tmp_path / "out" / "ledger.jsonl").is_file)
    folder.rename(folder.with_name("elsewhere"))
    watched.wait(lambda: any("cannot be looked through" in note for note in watched.notes))
    folder.with_name("elsewhere").rename(folder)
    watched.wait(lambda: any("looked through again" in note for note in watched.notes))
    copyfile(good[0], folder / "0.png")
    watched.wait(lambda: len(watched.entries) == 1)


def test_folders_in_each_others_way_are_refused(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    how: dict[str, Any] = {"stop": Event(), "report": print, "note": print, "pictures": picture_choice()}
    with pytest.raises(ConfigError, match="out must not be the watched folder or hold it"):
        watch(folder, predictor, tmp_path, **how)
    with pytest.raises(ConfigError, match="move must not be the watched folder or hold it"):
        watch(folder, predictor, tmp_path / "out", move=folder, **how)
    with pytest.raises(DataError, match="folder must be an existing one"):
        watch(folder / "none", predictor, tmp_path / "out", **how)
    with pytest.raises(ConfigError, match="category must be one of"):
        watch(folder, predictor, tmp_path / "out", category="screw", **how)
    assert not (tmp_path / "out").exists()


def test_killed_and_started_again_it_judges_each_file_once(
    start: Callable[..., Watched], tiny_run: Path, folder: Path, good: list[Path], tmp_path: Path
) -> None:
    """The command in a process of its own gets kill -9 amid thirty files."""
    for number in range(30):
        copyfile(good[number % len(good)], folder / f"{number:02d}.png")
    command = [sys.executable, "-m", "muad", "watch", folder, "--run", tiny_run, "--out", tmp_path / "out", "--json"]
    command += ["--batch-size", "1", "--settle", "0.1", "--device", "cpu"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(5):
            json.loads(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    again = start(once=True, batch_size=4)
    again.thread.join(20)
    assert len(again.entries) <= 25
    assert len(again.entries) == again.end().judged
    rows = _rows(tmp_path / "out")
    assert sorted(Path(row["path"]).name for row in rows) == [f"{number:02d}.png" for number in range(30)]
    (table,) = (tmp_path / "out").glob("*/results.json")
    assert len(json.loads(table.read_text(encoding="utf-8"))) == 30
    ledger = (tmp_path / "out" / "ledger.jsonl").read_text(encoding="utf-8")
    assert len([line for line in ledger.splitlines() if '"path"' in line]) == 30
