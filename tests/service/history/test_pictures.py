import hashlib
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from muad.errors import ConfigError
from muad.service.history import Disk, DiskFullError, HistoryError, Kept, NotRecordedError, Pictures, new_id

AT = datetime(2026, 1, 5, 23, 59, tzinfo=UTC)


@pytest.fixture
def pictures(tmp_path):
    return Pictures(tmp_path)


@pytest.fixture
def name():
    return new_id(AT)


def test_a_photograph_stays_as_it_came(pictures, name):
    content = bytes(range(256)) * 10
    kept = pictures.keep(name, AT, content, ".png")
    assert pictures.photo(kept) == content
    assert (kept.photo, kept.photo_bytes) == (f"pictures/2026-01-05/23/{name}.png", 2560)
    assert kept.photo_sha256 == hashlib.sha256(content).hexdigest()
    assert kept.map is None
    assert [file.name for file in pictures.path(kept.photo).parent.iterdir()] == [f"{name}.png"]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e4, 2e5), (0.123, 0.1230001)])
def test_a_map_comes_back_to_a_65534th_of_its_range_with_what_was_not_inspected(pictures, name, low, high):
    values = np.random.default_rng(1).uniform(low, high, (40, 30)).astype(np.float32)
    values[:5] = np.nan
    kept = pictures.keep(name, AT, b"photo", ".jpg", values)
    back = pictures.map(kept)
    assert back.dtype == np.float32
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= (kept.map_high - kept.map_low) / 65534 + abs(high) * 1e-7
    file = pictures.path(kept.map).read_bytes()
    assert (hashlib.sha256(file).hexdigest(), len(file)) == (kept.map_sha256, kept.map_bytes)


def test_a_large_map_is_kept_small_and_comes_back_in_pixels_of_the_photograph(pictures, name):
    rows, columns = np.mgrid[:1200, :900].astype(np.float32)
    values = rows / 1200 + columns / 900
    values[:, :100] = np.nan
    kept = pictures.keep(name, AT, b"photo", ".jpg", values)
    assert cv2.imread(str(pictures.path(kept.map)), cv2.IMREAD_UNCHANGED).shape == (512, 384)
    back = pictures.map(kept, (900, 1200))
    assert back.shape == values.shape
    assert np.nanmax(np.abs(back - values)[:, 110:]) < 0.01
    assert np.isnan(back[:, :95]).all()


@pytest.mark.parametrize("values", [np.full((4, 4), np.nan), np.full((4, 4), 0.5), np.zeros((1, 3000))])
def test_flat_empty_and_narrow_maps_are_kept(pictures, name, values):
    back = pictures.map(pictures.keep(name, AT, b"photo", ".jpg", values.astype(np.float32)), values.shape[::-1])
    assert np.allclose(back, values, equal_nan=True)


@pytest.mark.parametrize("suffix", ["jpg", ".", "./../x", ".jpg/..", ".JPG", ".svg.html", "", ".jpegxx"])
def test_a_suffix_is_a_dot_and_letters(pictures, name, suffix):
    with pytest.raises(ConfigError, match="suffix must be a dot and up to five letters"):
        pictures.keep(name, AT, b"", suffix)


@pytest.mark.parametrize("wrong", ["../../etc/passwd", "a", "A" * 32, "0" * 31 + "/", ""])
def test_a_name_is_an_id(pictures, wrong):
    with pytest.raises(ConfigError, match="id must be 32 hexadecimal digits"):
        pictures.keep(wrong, AT, b"", ".jpg")


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "pictures/../../x", "pictures/2026-01-05/23/../../../x.jpg", "history.sqlite", "x\0"]
)
def test_nothing_but_pictures_is_read(pictures, place):
    with pytest.raises(NotRecordedError, match="picture must lie below pictures"):
        pictures.photo(Kept(photo=place))


def test_pictures_that_are_gone_or_broken_are_told(pictures, name):
    kept = pictures.keep(name, AT, b"photo", ".jpg", np.zeros((4, 4), np.float32))
    pictures.path(kept.map).write_bytes(b"no picture")
    with pytest.raises(HistoryError, match="map must be a 16-bit picture"):
        pictures.map(kept)
    pictures.drop(kept)
    pictures.drop(kept)
    with pytest.raises(NotRecordedError, match="picture must be there, got none"):
        pictures.photo(kept)
    with pytest.raises(NotRecordedError, match="picture must have been kept"):
        pictures.map(Kept())


def test_half_written_files_are_swept_and_whole_ones_stay(pictures, name):
    kept = pictures.keep(name, AT, b"photo", ".jpg")
    (pictures.path(kept.photo).parent / f"{name}.map.png.1.draft").write_bytes(b"half")
    assert pictures.sweep() == 1
    assert pictures.sweep() == 0
    assert pictures.photo(kept) == b"photo"


def test_a_reserve_of_the_disk_is_kept_free(tmp_path, name):
    pictures = Pictures(tmp_path, Disk(tmp_path, reserve_mb=1e9))
    with pytest.raises(DiskFullError, match=r"disk must keep 1e\+09 MB free, got"):
        pictures.keep(name, AT, b"photo", ".jpg")
    assert list((tmp_path / "pictures").rglob("*")) == []


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "pictures").touch()
    with pytest.raises(HistoryError, match="pictures must have a folder"):
        Pictures(tmp_path)
