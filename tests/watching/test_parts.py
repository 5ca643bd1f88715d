"""What is complete, what is done, where it goes."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from muad.errors import ConfigError
from muad.watching.arrivals import Arrivals
from muad.watching.ledger import LEDGER_FILE, Ledger
from muad.watching.moving import free_place, move_file


def test_a_file_is_complete_once_it_has_stayed_as_it_is(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, (), settle_s=1.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"half")
    (tmp_path / "2.png.part").write_bytes(b"unfinished")
    (tmp_path / ".3.png").write_bytes(b"hidden")
    assert [arrivals.poll(lambda *_: False, now) for now in (0.0, 0.9)] == [[], []]
    (tmp_path / "a" / "1.png").write_bytes(b"half and half")
    assert arrivals.poll(lambda *_: False, 1.1) == []
    assert arrivals.poll(lambda *_: False, 2.0) == []
    (tmp_path / "2.png.part").rename(tmp_path / "2.png")
    (found,) = arrivals.poll(lambda *_: False, 2.2)
    assert (found.name, found.facts[0]) == ("a/1.png", 13)
    assert [file.name for file in arrivals.poll(lambda *_: False, 3.3)] == ["2.png", "a/1.png"]  # by age
    assert arrivals.waiting == 2
    assert arrivals.poll(lambda *_: True, 4.0) == []
    assert arrivals.waiting == 0


def test_left_out_folders_are_not_looked_into(tmp_path: Path) -> None:
    for name in ("done/1.png", "in/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    arrivals = Arrivals(tmp_path, [tmp_path / "done"], settle_s=0.0)
    assert [file.name for file in arrivals.poll(lambda *_: False, 0.0)] == ["in/1.png"]


def test_what_is_done_stays_done_and_a_replaced_file_is_not(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "in"
    folder.mkdir()
    with Ledger(out, folder) as ledger:
        ledger.add([("a.png", (5, 100), False), ("b.png", (6, 200), True), ("c.png", (7, 300), False)])
        ledger.take_off("c.png")
    with (out / LEDGER_FILE).open("a", encoding="utf-8") as file:
        file.write('{"path": "d.png", "byt')  # cut by a crash
    with Ledger(out, folder) as ledger:
        assert ledger.is_done("a.png", (5, 100))
        assert not ledger.is_done("a.png", (5, 101))
        assert not ledger.is_done("c.png", (7, 300))
        assert [ledger.is_bad(name) for name in ("a.png", "b.png")] == [False, True]
        ledger.add([("b.png", (6, 201), False)])
        assert not ledger.is_bad("b.png")
    lines = (out / LEDGER_FILE).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("path") for line in lines] == [None, "a.png", "b.png", "c.png", "c.png", "b.png"]


def test_a_ledger_is_of_one_folder_and_one_process(tmp_path: Path) -> None:
    for name in ("in", "other"):
        (tmp_path / name).mkdir()
    with Ledger(tmp_path / "out", tmp_path / "in"), pytest.raises(ConfigError, match="one muad watch at a time"):
        Ledger(tmp_path / "out", tmp_path / "in")
    with pytest.raises(ConfigError, match=r"must hold results of .*other, got .*out with those of .*in\. Name another"):
        Ledger(tmp_path / "out", tmp_path / "other")


def test_moving_overwrites_nothing(tmp_path: Path) -> None:
    for name in ("1.png", "a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    place = free_place(tmp_path / "a", "1.png")
    move_file(tmp_path / "1.png", place)
    assert place.name == "1-2.png"
    assert (tmp_path / "a" / "1.png").read_text(encoding="utf-8") == "a/1.png"


def test_a_move_to_another_disk_is_whole_or_not_there(tmp_path: Path, shm: Path) -> None:
    (tmp_path / "1.png").write_text("whole", encoding="utf-8")
    move_file(tmp_path / "1.png", shm / "deep" / "1.png")
    assert (shm / "deep" / "1.png").read_text(encoding="utf-8") == "whole"
    assert not (tmp_path / "1.png").exists()
    assert [file.name for file in (shm / "deep").iterdir()] == ["1.png"]


@pytest.fixture
def shm(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    root = Path("/dev/shm")
    if not root.is_dir() or root.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    folder = root / f"muad-test-{uuid.uuid4().hex}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
