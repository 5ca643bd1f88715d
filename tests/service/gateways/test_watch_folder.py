"""Files that arrive in a folder are handed in whole, once, and wait for a station or a share that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muad.errors import ConfigError, DataError
from muad.service.gateways.base import LaterError, Submission
from muad.service.gateways.watch_folder import WatchFolder, WatchSettings, looks_whole

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)


def _photo(suffix: str = ".png", seed: int = 0) -> bytes:
    pixels = np.roll(PIXELS, seed, axis=0)
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


class Station:
    """Takes what is handed in, and answers as it is told."""

    def __init__(self, inspection: Callable[..., Any]) -> None:
        self.got: list[Submission] = []
        self.faults: list[Exception] = []
        self.holds = False
        self.held: list[Future[Any]] = []
        self._inspection = inspection

    def submit(self, submission: Submission) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.faults:
            answer.set_exception(self.faults.pop(0))
            return answer
        self.got.append(submission)
        if self.holds:
            self.held.append(answer)
        else:
            answer.set_result(self._inspection(len(self.got)))
        return answer

    @property
    def names(self) -> list[str]:
        return [submission.name for submission in self.got]


@pytest.fixture
def station(inspection: Callable[..., Any]) -> Station:
    return Station(inspection)


@pytest.fixture
def watch(tmp_path: Path, station: Station) -> Iterator[Callable[..., WatchFolder]]:
    """`watch(setting=value, ...)`: the folder `in`, watched."""
    made: list[WatchFolder] = []
    (tmp_path / "in").mkdir()

    def begin(**settings: Any) -> WatchFolder:
        wanted = {"folder": "in", "settle_s": 0.05, "patience_s": 0.3} | settings
        made.append(WatchFolder(WatchSettings.model_validate(wanted), tmp_path, 1_000_000))
        made[-1].start(station.submit)
        return made[-1]

    yield begin
    for each in made:
        each.stop()


def test_files_are_handed_in_once_and_whole(watch: Any, station: Station, tmp_path: Path, wait_for: Any) -> None:
    whole = _photo()
    (tmp_path / "in" / "0001.png").write_bytes(whole)
    inlet = watch(patience_s=5.0)
    wait_for(lambda: station.names == ["0001.png"])
    with (tmp_path / "in" / "0002.png").open("wb", buffering=0) as growing:  # a slow upload, with pauses
        for start in range(0, len(whole), 1 + len(whole) // 4):
            growing.write(whole[start : start + 1 + len(whole) // 4])
            time.sleep(0.12)
    (tmp_path / "in" / "note.txt").write_text("no photograph", encoding="utf-8")
    (tmp_path / "in" / ".hidden.png").write_bytes(whole)
    wait_for(lambda: len(station.names) == 2)
    assert station.got[1].content == whole
    time.sleep(0.2)
    assert station.names == ["0001.png", "0002.png"]
    inlet.stop()
    (tmp_path / "in" / "0003.png").write_bytes(whole)
    again = watch()
    wait_for(lambda: len(station.names) == 3)
    again.stop()
    assert station.names[2] == "0003.png", "a restart repeats nothing"
    assert again.state().taken == 1


def test_what_the_way_of_a_file_says_is_taken(watch: Any, station: Station, tmp_path: Path, wait_for: Any) -> None:
    photo = tmp_path / "in" / "bolt" / "L7" / "cam2_A17_front.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(_photo())
    (tmp_path / "in" / "other.png").write_bytes(_photo())
    watch(
        pattern=r"^(?P<category>[^/]+)/(?P<lot>[^/]+)/(?P<station>[^_]+)_(?P<serial>[^_]+)_(?P<side>\w+)\.",
        category="cloth",
    )
    wait_for(lambda: len(station.got) == 2)
    told = {submission.name: submission for submission in station.got}
    found = told["bolt/L7/cam2_A17_front.png"]
    assert (found.category, found.lot, found.station, found.serial) == ("bolt", "L7", "cam2", "A17")
    assert found.extras == {"side": "front", "file": found.name}
    assert (told["other.png"].category, told["other.png"].serial) == ("cloth", None)


def test_the_same_file_has_the_same_key_and_another_has_another(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any
) -> None:
    photo = tmp_path / "in" / "0001.png"
    photo.write_bytes(_photo())
    watch()
    wait_for(lambda: len(station.got) == 1)
    photo.unlink()
    time.sleep(0.1)
    photo.write_bytes(_photo())  # an upload that is tried again
    wait_for(lambda: len(station.got) == 2)
    photo.write_bytes(_photo(seed=5))
    wait_for(lambda: len(station.got) == 3)
    keys = [submission.idempotency_key for submission in station.got]
    assert keys[0] == keys[1] != keys[2]


def test_judged_files_are_moved_and_nothing_is_overwritten(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any
) -> None:
    (tmp_path / "done" / "a").mkdir(parents=True)
    (tmp_path / "done" / "a" / "0001.png").write_bytes(b"of yesterday")
    (tmp_path / "in" / "a").mkdir()
    (tmp_path / "in" / "a" / "0001.png").write_bytes(_photo())
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture at all")
    station.faults = []
    inlet = watch(move="done", patience_s=0.0)
    wait_for((tmp_path / "done" / "a" / "0001-2.png").exists)
    assert (tmp_path / "done" / "a" / "0001.png").read_bytes() == b"of yesterday"
    wait_for(lambda: inlet.state().taken == 2)


def test_a_station_that_cannot_take_it_now_gets_it_later(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any
) -> None:
    station.faults = [LaterError("the disk is full", 0.05), LaterError("the disk is full", 0.05)]
    (tmp_path / "in" / "0001.png").write_bytes(_photo())
    inlet = watch()
    wait_for(lambda: inlet.state().taken == 1)
    assert station.names == ["0001.png"]


def test_a_file_that_is_never_taken_stays_and_holds_nobody_up(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any
) -> None:
    station.faults = [DataError("photograph must be JPEG, got none")] * 2
    (tmp_path / "in" / "0001.png").write_bytes(_photo())
    inlet = watch(move="done", patience_s=0.1)
    wait_for(lambda: inlet.state().refused == 1)
    assert "0001.png: photograph must be JPEG" in (inlet.state().error or "")
    (tmp_path / "in" / "huge.png").write_bytes(_photo() + bytes(1_000_000))
    wait_for(lambda: inlet.state().refused == 2)
    (tmp_path / "in" / "0002.png").write_bytes(_photo())
    wait_for(lambda: inlet.state().taken == 1)
    assert (tmp_path / "in" / "0001.png").exists()
    assert station.names == ["0002.png"]


def test_a_cut_file_is_waited_for_and_then_handed_in_as_it_is(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any
) -> None:
    (tmp_path / "in" / "cut.png").write_bytes(_photo()[:-200])
    begun = time.monotonic()
    watch(patience_s=0.5)
    wait_for(lambda: station.names == ["cut.png"])
    assert time.monotonic() - begun > 0.5, "it is on record that it could not be judged"


def test_a_share_that_goes_away_is_waited_for(
    watch: Any, station: Station, tmp_path: Path, wait_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    share, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (share / "0001.png").write_bytes(_photo())
    inlet = watch()
    wait_for(lambda: inlet.state().taken == 1)
    share.rename(elsewhere)
    wait_for(lambda: inlet.state().away_for_s is not None)
    (elsewhere / "0002.png").write_bytes(_photo(seed=3))
    elsewhere.rename(share)
    wait_for(lambda: inlet.state().taken == 2)
    assert station.names == ["0001.png", "0002.png"]
    assert inlet.state().away_for_s is None
    assert [line for line in caplog.text.splitlines() if "looked through" in line][-1].endswith("again")


def test_a_stop_waits_for_what_the_station_has_in_hand(
    watch: Any, station: Station, inspection: Any, tmp_path: Path, wait_for: Any
) -> None:
    station.holds = True
    (tmp_path / "in" / "0001.png").write_bytes(_photo())
    inlet = watch()
    wait_for(lambda: len(station.held))
    inlet._stop.set()
    time.sleep(0.05)
    station.held[0].set_result(inspection(1))
    inlet.stop()
    assert inlet.state().taken == 1
    station.holds = False
    again = watch()
    time.sleep(0.2)
    again.stop()
    assert station.names == ["0001.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_half_a_file_does_not_look_whole(suffix: str) -> None:
    content = _photo(suffix)
    assert looks_whole(content)
    assert not looks_whole(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pattern": "("}, r"watch.pattern must be a regular expression"),
        ({"folder": ".."}, r"watch.folder must not hold the station's own folder"),
        ({"move": "in"}, r"watch.move must not be the watched folder"),
    ],
)
def test_settings_that_could_not_work_are_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        WatchSettings.model_validate({"folder": "in", **settings}).check(tmp_path)
