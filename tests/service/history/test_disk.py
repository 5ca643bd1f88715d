"""A disk that fills: recording stops with a fault of its own, nothing is harmed, and it goes on when there is room."""

import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from muad.service.history import Disk, DiskFullError, History, InspectionFilter, Kept, Pictures

MB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A disk of ten megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root and mount, for a small tmpfs")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(history, pictures, inspect):
    """Record until it is refused; what was recorded."""
    recorded, values = [], np.random.default_rng(1).random((100, 100), np.float32)
    for _ in range(1000):
        new, kept = inspect(), Kept()
        try:
            kept = pictures.keep(new.id, new.at, os.urandom(200_000), ".jpg", values)
            recorded += history.record([replace(new, kept=kept)])
        except DiskFullError:
            pictures.drop(kept)
            return recorded
    raise AssertionError("the disk is never full")


def require_whole(history, pictures, recorded):
    assert list(history.stream(InspectionFilter())) == recorded
    for one in recorded:
        assert len(pictures.photo(one.kept)) == 200_000
        assert pictures.map(one.kept).shape == (100, 100)
    assert len(list(pictures.folder.rglob("*.jpg"))) == len(recorded)
    assert list(pictures.folder.rglob("*.draft")) == []
    with history.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


@pytest.mark.parametrize("reserve_mb", [2.0, None], ids=["with a reserve", "to the last byte"])
def test_a_full_disk_stops_recording_harms_nothing_and_recovers_by_itself(small_disk, inspect, reserve_mb):
    disk = None if reserve_mb is None else Disk(small_disk, reserve_mb)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * MB))
    history, pictures = History(f"sqlite:///{small_disk / 'history.sqlite'}", disk), Pictures(small_disk, disk)
    recorded = fill(history, pictures, inspect)
    assert recorded
    if disk is not None:
        assert abs(disk.room().free - disk.room().reserve) < 300_000, "a picture more or less"
    require_whole(history, pictures, recorded)
    recorded += fill(history, pictures, inspect)  # refused again, or the last bytes found
    require_whole(history, pictures, recorded)
    ballast.unlink()
    assert disk is None or disk.room().is_enough
    recorded += fill(history, pictures, inspect)
    assert recorded[-1].number == len(recorded)
    require_whole(history, pictures, recorded)
    history.close()


def test_a_database_without_room_takes_a_whole_batch_back(sqlite_history, inspect):
    recorded = sqlite_history.record([inspect() for _ in range(50)])
    with sqlite_history.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(DiskFullError, match="history must have room on its disk, got none"):
        sqlite_history.record([inspect() for _ in range(200)])
    assert list(sqlite_history.stream(InspectionFilter())) == recorded
    with sqlite_history.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert len(sqlite_history.record([inspect() for _ in range(200)])) == 200


def test_everything_that_writes_keeps_the_reserve_and_reading_goes_on(tmp_path, inspect):
    disk = Disk(tmp_path, reserve_mb=1)
    history = History(f"sqlite:///{tmp_path / 'history.sqlite'}", disk)
    (one,) = history.record([inspect()])
    history.disk = Disk(tmp_path, reserve_mb=1e9)
    for write in (
        lambda: history.record([inspect()]),
        lambda: history.add_word(one.id, who="anna", word="good"),
        lambda: history.add_change("anna", "limit", "bolt.reject"),
    ):
        with pytest.raises(DiskFullError, match="recording goes on by itself"):
            write()
    assert history.get(one.id) == one
    history.disk = disk
    history.add_word(one.id, who="anna", word="good")
    history.close()
