import json
import threading

import numpy as np
import pytest

from muad.errors import ConfigError
from muad.service.history import History, HistoryError, InspectionFilter, Pictures
from muad.service.history.upkeep import dumps
from muad.service.history.upkeep.backup import back_up, read_backup
from muad.service.history.upkeep.restoring import restore


@pytest.fixture
def station(tmp_path):
    folder = tmp_path / "station"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "0a.muad").write_bytes(b"a bundle")
    (folder / "station.toml").write_text("[service]\nport = 8421\n")
    (folder / "first-token.txt").write_text("secret")
    return folder


@pytest.fixture
def record(history, inspect, station):
    pictures = Pictures(station)

    def recorded(**said):
        new = inspect(**said)
        kept = pictures.keep(new.id, new.at, new.id.encode(), ".jpg", np.eye(8, dtype=np.float32))
        return history.record([inspect(id=new.id, at=new.at, kept=kept, **said)])[0]

    return recorded


@pytest.fixture
def elsewhere(url, tmp_path, request):
    """The URL to restore into."""
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'restored' / 'history.sqlite'}"
    make = request.getfixturevalue("make_postgres_database")
    return make("template1")


def everything(history):
    found = list(history.stream(InspectionFilter()))
    return found, [history.words(one.id) for one in found], history.changes()


def test_what_is_restored_has_the_same_rows_and_digests(history, record, station, tmp_path, elsewhere):
    parts = [record(serial=str(number)) for number in range(5)]
    mask = Pictures(station).keep_mask(parts[0].id, parts[0].at, b"a mask")
    history.add_word(parts[0].id, who="anna", word="bad", mask=mask)
    history.add_change("anna", "limit", "bolt.reject", new="0.3")
    made = back_up(history, station, tmp_path / "backup")
    assert (made.inspections, made.pictures, made.copied, made.missing) == (5, 11, 11, 0)
    record(serial="after the backup")
    target = tmp_path / "restored"
    restored = restore(tmp_path / "backup", target, elsewhere)
    assert (restored.pictures, restored.missing, restored.backup) == (11, 0, made)
    opened = History(elsewhere)
    before, after = everything(history), everything(opened)
    assert after[0] == before[0][:5]
    assert after[1:] == (before[1][:5], before[2])
    for one in after[0]:
        assert Pictures(target).photo(one.kept) == one.id.encode()
        assert np.allclose(Pictures(target).map(one.kept), np.eye(8))
    assert (target / mask).read_bytes() == b"a mask"
    assert (target / "models" / "0a.muad").read_bytes() == b"a bundle"
    assert (target / "station.toml").is_file()
    assert not (target / "first-token.txt").exists()
    opened.close()


def test_a_backup_while_parts_are_recorded_is_of_one_moment(history, record, station, tmp_path, elsewhere):
    for _ in range(20):
        record()
    done = threading.Event()

    def go_on():
        while not done.is_set():
            record()

    working = threading.Thread(target=go_on)
    working.start()
    try:
        made = back_up(history, station, tmp_path / "backup")
    finally:
        done.set()
        working.join()
    assert made.missing == 0
    restored = restore(tmp_path / "backup", tmp_path / "restored", elsewhere)
    assert restored.missing == 0
    opened = History(elsewhere)
    found = list(opened.stream(InspectionFilter()))
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert len(found) >= 20
    opened.close()


def test_a_backup_is_brought_up_to_date_without_copying_all_again(sqlite_station, tmp_path):
    history, record, station = sqlite_station
    record()
    assert back_up(history, station, tmp_path / "backup").copied == 2
    record()
    made = back_up(history, station, tmp_path / "backup")
    assert (made.inspections, made.copied, made.pictures) == (2, 2, 4)


def test_pictures_that_are_lost_or_damaged_are_told_and_the_rest_comes_back(sqlite_station, tmp_path):
    history, record, station = sqlite_station
    lost, damaged, whole = record(), record(), record()
    back_up(history, station, tmp_path / "backup")
    (tmp_path / "backup" / lost.kept.photo).unlink()
    (tmp_path / "backup" / damaged.kept.photo).write_bytes(b"0" * damaged.kept.photo_bytes)
    url = f"sqlite:///{tmp_path / 'new' / 'history.sqlite'}"
    assert restore(tmp_path / "backup", tmp_path / "new", url).missing == 2
    opened = History(url)
    assert [opened.get(one.id).pictures_removed for one in (lost, damaged, whole)] == [True, True, False]
    opened.close()


def test_a_picture_that_retention_took_meanwhile_is_missing_and_told(sqlite_station, tmp_path):
    history, record, station = sqlite_station
    one = record()
    (station / one.kept.photo).unlink()
    assert back_up(history, station, tmp_path / "backup").missing == 1


def test_what_is_no_backup_is_refused(sqlite_station, tmp_path):
    history, record, station = sqlite_station
    record()
    full = tmp_path / "full"
    full.mkdir()
    (full / "diary.txt").touch()
    with pytest.raises(ConfigError, match="backup must be an empty folder or an earlier backup"):
        back_up(history, station, full)
    with pytest.raises(ConfigError, match="backup must lie outside the station's folder"):
        back_up(history, station, station / "backup")
    with pytest.raises(ConfigError, match=r"backup must be a folder with a whole backup\.json"):
        read_backup(full)
    back_up(history, station, tmp_path / "backup")
    url = f"sqlite:///{tmp_path / 'new' / 'history.sqlite'}"
    with pytest.raises(ConfigError, match="data must be an empty folder to restore into"):
        restore(tmp_path / "backup", station, url)
    with pytest.raises(ConfigError, match=r"history\.url must begin with sqlite://"):
        restore(tmp_path / "backup", tmp_path / "new", "postgresql://127.0.0.1:1/x")
    file = tmp_path / "backup" / "backup.json"
    says = json.loads(file.read_text())
    file.write_text(json.dumps({**says, "format_version": 2}))
    with pytest.raises(HistoryError, match="backup must be of version 1, got 2"):
        restore(tmp_path / "backup", tmp_path / "new", url)
    file.write_text(json.dumps({**says, "sha256": "0" * 64}))
    with pytest.raises(HistoryError, match="backup must have the database it was written with"):
        restore(tmp_path / "backup", tmp_path / "new", url)
    assert not (tmp_path / "new").exists()


def test_a_backup_that_is_broken_off_is_none_and_may_be_made_again(sqlite_station, tmp_path):
    history, record, station = sqlite_station
    one = record()
    back_up(history, station, tmp_path / "backup")
    place = station / one.kept.map
    place.unlink()
    place.mkdir()  # what cannot be read
    (tmp_path / "backup" / one.kept.map).unlink()
    with pytest.raises(OSError, match="directory"):
        back_up(history, station, tmp_path / "backup")
    with pytest.raises(ConfigError, match=r"whole backup\.json"):
        read_backup(tmp_path / "backup")
    place.rmdir()
    assert back_up(history, station, tmp_path / "backup").missing == 1


def test_without_pg_dump_it_is_said_what_to_install(station, tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dumps, "_DEBIAN", tmp_path)
    history = History(postgres_url)
    with pytest.raises(ConfigError, match="pg_dump must be installed"):
        back_up(history, station, tmp_path / "backup")
    history.close()


def test_a_restore_does_not_write_into_a_database_that_has_tables(station, tmp_path, postgres_url):
    history = History(postgres_url)
    back_up(history, station, tmp_path / "backup")
    history.close()
    with pytest.raises(ConfigError, match=r"history\.url must name an empty database"):
        restore(tmp_path / "backup", tmp_path / "new", postgres_url)


@pytest.fixture
def sqlite_station(tmp_path, inspect, station):
    history = History(f"sqlite:///{station / 'history.sqlite'}")
    pictures = Pictures(station)

    def recorded():
        new = inspect()
        kept = pictures.keep(new.id, new.at, new.id.encode(), ".jpg", np.eye(8, dtype=np.float32))
        return history.record([inspect(id=new.id, at=new.at, kept=kept)])[0]

    yield history, recorded, station
    history.close()
