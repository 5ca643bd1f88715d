"""A whole station with its ways in and out: photographs come in, verdicts go out, and nothing that fails stops it."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.service.conftest import photograph
from tests.service.gateways.test_webhook import Receiver

from muad.errors import ConfigError
from muad.service.app import create_app
from muad.service.gateways.opening import GatewaySections, check_gateways
from muad.service.history import InspectionFilter
from muad.service.settings import read_settings
from muad.service.station import Station

Make = Callable[..., Station]


@pytest.fixture
def receiver() -> Any:
    found = Receiver()
    yield found
    found.stop()


def _client(station: Station) -> TestClient:
    return TestClient(create_app(station), base_url="http://127.0.0.1:8420")


def test_photographs_of_every_way_in_are_judged_recorded_and_passed_on_in_order(
    make_station: Make, receiver: Receiver, tmp_path: Path, wait_for: Any
) -> None:
    (tmp_path / "in" / "cloth").mkdir(parents=True)
    (tmp_path / "part.png").write_bytes(photograph(9))
    station = make_station(
        watch={"folder": str(tmp_path / "in"), "settle_s": 0.05, "move": str(tmp_path / "done")},
        camera={"source": str(tmp_path / "part.png"), "category": "bolt", "station": "cell 3"},
        webhook={"url": receiver.url},
        shift_csv={},
        shifts={"zone": "Europe/Berlin"},
    )
    with _client(station) as client:
        sent = client.post("/v1/inspections?category=bolt&serial=A1", content=photograph(1, defect=True))
        assert sent.status_code == 201
        (tmp_path / "in" / "cloth" / "0002.png").write_bytes(photograph(2))
        wait_for(lambda: len(receiver.got) == 2)
        wait_for((tmp_path / "done" / "cloth" / "0002.png").exists)
        wait_for(lambda: all(state.away_for_s is None for state in station.gateways.inlets))
        taken = client.post("/v1/camera/trigger?serial=A3&extras=%7B%22tray%22%3A%204%7D")
        assert taken.status_code == 201, taken.text
        wait_for(lambda: len(receiver.got) == 3)
        page = station.history.search(InspectionFilter(), order="oldest").inspections
        assert [(one.source, one.judged_as, one.station) for one in page] == [
            ("http", "bolt", "station"),
            ("watch", "cloth", "station"),
            ("camera", "bolt", "cell 3"),
        ]
        assert (page[2].serial, page[2].extras["tray"]) == ("A3", "4")
        told = [json.loads(body) for _, _, body in receiver.got]
        assert [message["id"] for message in told] == [one.id for one in page]
        assert [message["verdict"] for message in told] == [one.verdict for one in page]
        metrics = client.get("/metrics").text
        assert 'muad_outlet_sent_total{outlet="webhook"} 3.0' in metrics
        assert 'muad_inlet_taken_total{inlet="camera"} 1.0' in metrics
        wait_for(lambda: all(state.waiting == 0 for state in station.gateways.outlets))
    (table,) = (station.folder / "shifts").iterdir()
    with table.open(encoding="utf-8-sig", newline="") as file:
        assert [row["serial"] for row in csv.DictReader(file)] == ["A1", "", "A3"]


def test_the_same_file_is_judged_once_whatever_was_remembered(
    make_station: Make, tmp_path: Path, wait_for: Any
) -> None:
    (tmp_path / "in" / "bolt").mkdir(parents=True)
    (tmp_path / "in" / "bolt" / "0001.png").write_bytes(photograph(1))
    section = {"folder": str(tmp_path / "in"), "settle_s": 0.05}
    station = make_station(watch=section)
    station.start()
    wait_for(lambda: station.gateways.inlets[0].taken == 1)
    station.stop()
    for ledger in (station.folder / "watch").rglob("ledger.jsonl"):
        ledger.unlink()  # as after a crash between the record and the memory of the folder
    again = make_station(None, watch=section)
    again.start()
    wait_for(lambda: again.gateways.inlets[0].taken == 1)
    assert len(again.history.search(InspectionFilter()).inspections) == 1


def test_ways_out_that_fail_stop_nothing_and_catch_up(
    make_station: Make, receiver: Receiver, wait_for: Any, free_port: Callable[[], int]
) -> None:
    nobody = free_port()
    sections: dict[str, Any] = {
        "mqtt": {"host": "127.0.0.1", "port": nobody},
        "webhook": {"url": receiver.url},
        "spool": {"first_wait_s": 0.05, "longest_wait_s": 0.1},
    }
    receiver.answers = [(503, {}, b"")] * 3
    station = make_station(**sections)
    with _client(station) as client:
        for number in range(5):
            begun = time.monotonic()
            assert client.post(f"/v1/inspections?category=bolt&serial=A{number}", content=photograph(number)).is_success
            assert time.monotonic() - begun < 5
        wait_for(lambda: len({json.loads(body)["id"] for _, _, body in receiver.got}) == 5)
        wait_for(lambda: station.gateways.outlets[0].waiting == 5)
        (trouble,) = station.gateways.troubles()
        assert "mqtt is away" in trouble
        assert client.get("/readyz").is_success
        assert 'muad_gateway_away_seconds{name="mqtt"} 0.0' not in client.get("/metrics").text
    again = make_station(None, **sections)
    assert again.gateways.outlets[0].waiting == 5, "what waits outlives a restart"
    again.start()


def test_what_was_recorded_and_not_put_into_the_spool_is_passed_on_after_a_restart(
    make_station: Make, receiver: Receiver, wait_for: Any
) -> None:
    sections: dict[str, Any] = {"webhook": {"url": receiver.url}}
    station = make_station(**sections)
    with _client(station) as client:
        assert client.post("/v1/inspections?category=bolt&serial=A1", content=photograph(1)).is_success
        wait_for(lambda: len(receiver.got) == 1)
        station.judge.listeners.remove(station.gateways.see)  # killed just there, from now on
        for number in (2, 3):
            assert client.post(f"/v1/inspections?category=bolt&serial=A{number}", content=photograph(number)).is_success
    again = make_station(None, **sections)
    again.start()
    wait_for(lambda: len(receiver.got) == 3)
    assert [json.loads(body)["serial"] for _, _, body in receiver.got] == ["A1", "A2", "A3"]
    again.stop()
    off = make_station(None)  # the outlet is off for a while, and then on again
    with _client(off) as client:
        assert client.post("/v1/inspections?category=bolt&serial=A4", content=photograph(4)).is_success
    on = make_station(None, **sections)
    with _client(on) as client:
        assert client.post("/v1/inspections?category=bolt&serial=A5", content=photograph(5)).is_success
        wait_for(lambda: len(receiver.got) == 4)
    assert json.loads(receiver.got[3][2])["serial"] == "A5"


def test_what_a_far_end_refused_can_be_seen_and_tried_again(
    make_station: Make, receiver: Receiver, wait_for: Any
) -> None:
    receiver.answers = [(422, {}, b"no order for this part")]
    with _client(make_station(webhook={"url": receiver.url})) as client:
        sent = client.post("/v1/inspections?category=bolt", content=photograph(1)).json()
        wait_for(lambda: client.get("/v1/gateways").json()["outlets"][0]["refused"] == 1)
        (outlet,) = client.get("/v1/gateways").json()["outlets"]
        (aside,) = outlet["set_aside"]
        assert aside["id"] == sent["id"]
        assert aside["reason"].endswith("no order for this part")
        assert client.post("/v1/gateways/webhook/again").json() == {"put_back": 1}
        wait_for(lambda: len(receiver.got) == 2)
        assert client.post("/v1/gateways/mqtt/again").status_code == 404


def test_a_camera_that_is_not_there_is_said_so(make_station: Make, tmp_path: Path) -> None:
    with _client(make_station(camera={"source": str(tmp_path / "none.avi"), "name": "top"})) as client:
        away = client.post("/v1/camera/trigger")
        assert away.status_code == 503
        assert "camera top is away" in away.json()["error"]
        assert int(away.headers["retry-after"]) > 0
        unknown = client.post("/v1/camera/trigger?camera=side")
        assert unknown.status_code == 404
        assert unknown.json()["error"] == "camera must be one of top, got 'side'."


def test_sections_may_stand_several_times_and_names_tell_them_apart(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(
        '[[camera]]\nsource = 0\nname = "top"\n[[camera]]\nsource = "rtsp://a/1"\n[[watch]]\nfolder = "x"\n'
        '[[webhook]]\nurl = "https://a/b"\n[[webhook]]\nurl = "https://a/c"\n',
        encoding="utf-8",
    )
    settings = read_settings(tmp_path)
    assert [camera.name for camera in settings.camera] == ["top", "camera"]
    with pytest.raises(ConfigError, match=r"webhook.name must be another one for each, got 'webhook' twice"):
        check_gateways(settings, tmp_path)
    with pytest.raises(ConfigError, match="camera must be there once for an option to change it"):
        read_settings(tmp_path, {"camera": {"source": "0"}})
    (note,) = check_gateways(GatewaySections.model_validate({"watch": {"folder": "x"}}), tmp_path)
    assert note.endswith("x is not there now; it is looked for until it is")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mqtt]\nhots = "a"', "key must be a known one, got 'mqtt.hots'. Did you mean 'mqtt.host'?"),
        ("[mqtt]", "mqtt.host must be given"),
        ('[camera]\nsource = ["rtsp://me:s3cret@a"]', "camera.0.source: must be the number of a camera, or an address"),
        ("[shifts]\nstarts = {early = 6}", 'shifts.starts.early: a time of day in quotes, such as "06:00"'),
    ],
)
def test_a_wrong_section_is_said_like_any_other(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "station.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_settings(tmp_path)
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)
