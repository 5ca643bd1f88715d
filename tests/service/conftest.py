"""Stations that judge: a bundle of patches, which needs no torch and takes a millisecond a photograph."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from muad.service.app import create_app
from muad.service.station import Station, open_station

OPEN = {"access": {"open": True, "requests_per_s": 1e6, "burst": 1_000_000}}


def photograph(seed: int = 0, size: tuple[int, int] = (60, 64), kind: str = "PNG", defect: bool = False) -> bytes:
    """A noisy photograph as a file's bytes; with a defect, a bright patch in it."""
    pixels = np.random.default_rng(seed).integers(60, 180, (*size, 3), np.uint8)
    if defect:
        pixels[20:44, 10:50] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def make_station(patch_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """`make_station(judging={"queue": 2}, …)`: a station of a folder of its own, not yet started, without tokens."""
    made: list[Station] = []

    def make(model: Path | None = patch_bundle, folder: str = "station", **sections: dict[str, object]) -> Station:
        station = open_station(tmp_path / folder, model, overrides={**OPEN, **sections})
        made.append(station)
        return station

    yield make
    for station in made:
        station.stop()


@pytest.fixture
def station(make_station: Callable[..., Station]) -> Station:
    """A station without tokens, not yet started."""
    return make_station()


@pytest.fixture
def client(station: Station) -> Iterator[TestClient]:
    """A client of a running station without tokens."""
    with TestClient(create_app(station), base_url="http://127.0.0.1:8420") as client:
        yield client
