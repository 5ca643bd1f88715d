"""A station's parts are followed as they are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.service.conftest import photograph

from muad.errors import ConfigError
from muad.service.followup.audit import SECRET_FILE
from muad.service.followup.drift import DriftSettings
from muad.service.followup.follower import DriftCollector, Follower, explain
from muad.service.followup.recalibration import recalibrate
from muad.service.history import History, NotRecordedError

from .conftest import MONDAY


@pytest.fixture
def follower(history: History, calibrated_bundle: Path, tmp_path: Path) -> Callable[[], Follower]:
    def make() -> Follower:
        return Follower(history, DriftSettings(), tmp_path, {"m": calibrated_bundle}.get)

    return make


def darker(count: int, change_at: int, seed: int = 1, **more: Any) -> Iterator[dict[str, Any]]:
    """Photographs that get darker, within the range of good ones."""
    random = np.random.default_rng(seed)
    for place, level in enumerate(random.normal(102, 2, count)):
        yield {"score": float(random.uniform(0.1, 0.5)), "brightness": float(level - 4 * (place >= change_at)), **more}


def test_a_change_is_kept_with_when_it_began_and_the_parts_that_show_it(
    history: History, recorder: Callable[..., Any], follower: Callable[[], Follower]
):
    parts = recorder(list(darker(260, 200)))
    watching = follower()
    watching.catch_up()
    (signal,) = history.signals()
    assert (signal.station, signal.judged_as, signal.quantity, signal.direction) == (
        "line 1", "bolt", "brightness", "lower",
    )  # fmt: skip
    assert abs((signal.began_at - parts[200].at).total_seconds()) <= 10 * 60
    assert set(signal.parts) <= {part.id for part in parts[190:]}
    assert signal.ended_at is None
    assert "brightness is lower since 2026-01-05 09:" in explain(signal)
    registry = CollectorRegistry()
    DriftCollector(watching, history, registry)
    told = generate_latest(registry).decode()
    assert 'muad_drift_signal{product="bolt",quantity="brightness",station="line 1"} 1.0' in told


def test_after_a_restart_a_test_goes_on_and_a_signal_is_not_kept_twice(
    history: History, recorder: Callable[..., Any], follower: Callable[[], Follower]
):
    recorder(list(darker(230, 200)))
    first = follower()
    first.catch_up()
    restarted = follower()
    assert restarted.catch_up() == 0
    assert restarted.statistics() == first.statistics()
    recorder(list(darker(60, 0, seed=2)), begin=MONDAY.replace(hour=12))
    assert restarted.catch_up() == 60
    follower().catch_up()
    assert [one.quantity for one in history.signals()] == ["brightness"]


def test_what_a_person_accepts_is_usual_from_then_on(
    history: History, recorder: Callable[..., Any], follower: Callable[[], Follower]
):
    recorder(list(darker(260, 200)))
    watching = follower()
    watching.catch_up()
    with pytest.raises(ConfigError, match="reason must be given"):
        watching.accept(history.signals()[0].id, "ann", " ")
    watching.accept(history.signals()[0].id, "ann", "new lamp")
    assert history.signals(open_only=True) == []
    assert history.signals()[0].note == "accepted by ann: new lamp"
    ended = history.signals()[0].ended_at
    recorder(list(darker(300, 0, seed=2)), begin=ended, every_s=1)
    watching.catch_up()
    assert len(history.signals()) == 1
    with pytest.raises(NotRecordedError, match="signal must be one that stands"):
        watching.accept(history.signals()[0].id, "ann", "again")


def test_a_new_calibration_ends_what_was_said_of_the_former(
    history: History, recorder: Callable[..., Any], calibrated_bundle: Path, tmp_path: Path
):
    shifted = [{"score": 0.11 + place / 1e4, "in_audit": True, "word": "good"} for place in range(60)]
    recorder(shifted)
    watching = Follower(history, DriftSettings(), tmp_path, {"m": calibrated_bundle}.get)
    watching.catch_up()
    assert history.signals(open_only=True)[0].quantity == "score from the start"
    recalibrate(history, calibrated_bundle, "m", products=["bolt"], set_by="ann", reason="as the line is")
    recorder(shifted[:1], begin=MONDAY.replace(hour=12))
    watching._baselines.clear()  # looked at every other second
    watching.catch_up()
    assert history.signals(open_only=True) == []
    assert "calibrated anew" in (history.signals()[0].note or "")


def test_two_stations_and_two_products_are_followed_apart(
    history: History, recorder: Callable[..., Any], follower: Callable[[], Follower]
):
    recorder([{"brightness": 100.0, "station": name, "judged_as": kind} for name in "ab" for kind in ("bolt", "cloth")])
    watching = follower()
    watching.catch_up()
    watching.catch_up()
    assert set(watching.statistics()) == {(name, kind) for name in "ab" for kind in ("bolt", "cloth")}


def test_a_station_follows_what_it_judges_and_draws_its_audit_sample(make_station: Callable[..., Any]):
    from fastapi.testclient import TestClient

    from muad.service.app import create_app

    station = make_station(audit={"share": 1.0})
    with TestClient(create_app(station), base_url="http://127.0.0.1:8420") as client:
        answer = client.post(
            "/v1/inspections?category=bolt", content=photograph(), headers={"content-type": "image/png"}
        )
        assert answer.status_code == 201
        assert station.history.get(answer.json()["id"]).in_audit
        for _ in range(100):
            if station.follower.statistics():
                break
            station.follower._thread.join(0.05)
        assert ("station", "bolt") in station.follower.statistics()
        assert "muad_drift_statistic_share" in client.get("/metrics").text
    assert station.folder.joinpath(SECRET_FILE).is_file()
    assert station.follower.faults == 0
