"""Inspections as the history gives them, and a short wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muad.decisions.regions import Region
from muad.service.gateways.message import inspection_message
from muad.service.history.ids import new_id
from muad.service.history.record import Inspection

_BEGUN = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


def _inspection(number: int, **facts: Any) -> Inspection:
    at = facts.pop("at", _BEGUN + timedelta(seconds=number))
    region = Region(polygon=((3, 4), (9, 4), (9, 8)), area_px=20, peak=2.5, peak_at=(5, 6), mean=1.5)
    known: dict[str, Any] = {
        "id": new_id(at),
        "station": "line 1",
        "source": "http",
        "verdict": "reject",
        "judged_as": "bolt",
        "score": 1.25,
        "p_value": 0.01,
        "review_above": 0.8,
        "reject_above": 1.0,
        "map_limit": 2.0,
        "regions": (region,),
        "highest": region,
        "width": 64,
        "height": 60,
        "serial": f"A{number}",
        "model_id": "0123456789abcdef",
    }
    return Inspection(number=number, at=at, **(known | facts))


@pytest.fixture
def inspection() -> Callable[..., Inspection]:
    """`inspection(number, field=value, ...)`: a rejected bolt, unless said otherwise."""
    return _inspection


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """`message(number, field=value, ...)`: what the station tells of it."""
    return lambda number, **facts: inspection_message(_inspection(number, **facts))


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(condition)`: until it holds, or the test fails."""

    def wait(condition: Callable[[], object], within_s: float = 15.0) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    return wait


@pytest.fixture
def free_port() -> Callable[[], int]:
    """`free_port()`: one of the loopback's that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
