"""Reading ahead in threads, and the cache of views."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.errors import DataError
from muad.images.loading import ViewCache, read_ahead
from muad.images.preprocessing import Preprocessing


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("muad-read")]


def test_results_come_in_order_however_long_each_takes() -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    assert list(read_ahead(work, range(20), threads=4, ahead=6)) == [item * item for item in range(20)]


def test_no_items_no_results() -> None:
    assert list(read_ahead(str, [])) == []


def test_it_looks_no_further_ahead_than_told() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = read_ahead(lambda item: item, items(), threads=2, ahead=3)
    for asked in range(10):
        assert next(results) == asked
        assert len(taken) == asked + 4
    results.close()


def test_the_next_item_is_worked_on_before_it_is_asked_for() -> None:
    started = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            started.set()
        return item

    results = read_ahead(work, range(3), threads=1, ahead=1)
    assert next(results) == 0
    assert started.wait(5)
    results.close()


def test_an_exception_comes_at_its_items_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise DataError("image must be readable, got 3.")
        return item

    results = read_ahead(work, range(10), threads=4, ahead=8)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="got 3"):
        next(results)
    assert readers() == []


def test_closing_early_drops_the_rest_and_ends_the_threads() -> None:
    worked_on: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.01)
        worked_on.append(item)
        return item

    results = read_ahead(work, range(10_000), threads=2, ahead=50)
    assert next(results) == 0
    results.close()
    assert readers() == []
    assert len(worked_on) < 50


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.full((20, 24, 3), 90, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_cached_view_outlives_its_file(picture: Path) -> None:
    cache = ViewCache(Preprocessing(resize_px=(8, 8), crop_px=(8, 8)), 2**20)
    first = cache.views(picture)
    picture.unlink()
    assert cache.views(picture) is first


def test_the_cache_keeps_no_more_than_its_limit(picture: Path) -> None:
    cache = ViewCache(Preprocessing(resize_px=(8, 8), crop_px=(8, 8)), 8 * 8 * 3 + 10)
    other = picture.with_name("b.png")
    other.write_bytes(picture.read_bytes())
    cache.views(picture)
    cache.views(other)
    other.unlink()
    picture.unlink()
    assert cache.views(picture).shape == (1, 8, 8, 3)
    with pytest.raises(DataError, match=r"b\.png"):
        cache.views(other)
