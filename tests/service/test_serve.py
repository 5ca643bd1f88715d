"""The whole service as a process: it ends well when asked, loses nothing when killed, and frees who goes away."""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from tests.service.conftest import photograph

from muad.service.app import create_app
from muad.service.history import History, InspectionFilter
from muad.service.serve import server_config
from muad.service.station import Station

KILLS = int(os.environ.get("MUAD_KILLS", "3"))
SETTINGS = "[access]\nopen = true\nrequests_per_s = 1e6\nburst = 1000000\n[judging]\nwait_ms = 2\n"


class Process:
    """`muad serve` in a process of its own."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "muad", "serve", str(bundle), "--data", str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split(" ")[0]
        assert self.address.startswith("http://127.0.0.1:"), self.address

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=20, trust_env=False)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


@pytest.fixture
def start(patch_bundle: Path, folder: Path) -> Iterator[Callable[[], Process]]:
    """Starts the service; what still runs at the end of a test is killed."""
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(patch_bundle, folder))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A station's folder whose settings ask for no tokens."""
    folder = tmp_path / "station"
    folder.mkdir()
    (folder / "station.toml").write_text(SETTINGS)
    return folder


def test_killed_at_random_moments_under_load_no_answered_inspection_is_missing(
    start: Callable[[], Process], folder: Path
) -> None:
    contents = [photograph(seed, size=(40, 48)) for seed in range(12)]
    answered: dict[str, str] = {}
    chance = random.Random(4)

    def post(address: str, worker: int) -> None:
        with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
            while True:
                worker = (worker + 5) % len(contents)
                try:
                    answer = client.post("/v1/inspections", params={"category": "bolt"}, content=contents[worker])
                except httpx.HTTPError:
                    return
                if answer.status_code == 201:
                    answered[answer.json()["id"]] = hashlib.sha256(contents[worker]).hexdigest()

    for _ in range(KILLS):
        served = start()
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(post, served.address, worker) for worker in range(4)]
            wanted = len(answered) + chance.randint(1, 12)
            _until(lambda wanted=wanted: len(answered) >= wanted)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.05))
            assert served.end(signal.SIGKILL) == -signal.SIGKILL
            for one in running:
                one.result()
    served = start()  # it starts again as if nothing had been
    with served.client() as client:
        assert client.get("/readyz").json() == {"ready": True, "troubles": []}
    served.end()
    assert len(answered) >= KILLS
    history = History(f"sqlite:///{folder / 'history.sqlite'}")
    found = {one.id: one for one in history.stream(InspectionFilter())}
    history.close()
    assert answered.keys() <= found.keys()
    for name, digest in answered.items():
        kept = found[name].kept
        assert kept.photo_sha256 == digest
        assert hashlib.sha256((folder / kept.photo).read_bytes()).hexdigest() == digest
    for one in found.values():
        assert hashlib.sha256((folder / one.kept.map).read_bytes()).hexdigest() == one.kept.map_sha256
    assert list(folder.glob("pictures/*/*/*.draft")) == []


def test_asked_to_end_it_finishes_what_it_accepted_and_then_ends(start: Callable[[], Process], folder: Path) -> None:
    served = start()
    with served.client() as client:
        ids = [
            client.post("/v1/inspections", params={"wait": "false"}, content=photograph(seed)).json()["id"]
            for seed in range(20)
        ]
        events = threading.Thread(target=_read_events, args=(served.address,))  # a page that stays open
        events.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert served.end() in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5
    events.join(5)
    assert not events.is_alive()
    history = History(f"sqlite:///{folder / 'history.sqlite'}")
    assert sorted(one.id for one in history.stream(InspectionFilter())) == sorted(ids)
    history.close()


def _read_events(address: str) -> None:
    with httpx.stream("GET", f"{address}/v1/events", timeout=20, trust_env=False) as stream:
        for _ in stream.iter_raw():
            pass


@contextmanager
def _served(station: Station, lifespan: str = "on") -> Iterator[str]:
    """The address of a station in this process; without lifespan it accepts and judges nothing."""
    config = server_config(station)
    config.lifespan = lifespan  # type: ignore[assignment]
    server, sock = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        station.stopping.set()
        server.should_exit = True
        thread.join(10)


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not holds() and time.monotonic() < ends:
        time.sleep(0.01)
    assert holds()


def test_beyond_the_queue_it_says_when_to_come_back_and_who_goes_away_frees_the_place(
    make_station: Callable[..., Station],
) -> None:
    station = make_station(judging={"queue": 2})
    content = photograph()
    head = f"POST /v1/inspections HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n\r\n".encode()
    with _served(station, lifespan="off") as address, ThreadPoolExecutor(2) as pool:
        port = int(address.rpartition(":")[2])
        goes, stays = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        for one in (goes, stays):
            one.sendall(head + content)
        _until(lambda: len(station.judge.waiting) == 2)
        refused = httpx.post(f"{address}/v1/inspections", content=content, trust_env=False)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"].startswith("at most 2 photographs may wait, got 2")
        assert httpx.get(f"{address}/metrics", trust_env=False).text.count('muad_refused_total{reason="busy"} 1.0') == 1
        goes.close()
        _until(lambda: len(station.judge.waiting) == 1)
        late = pool.submit(httpx.post, f"{address}/v1/inspections", content=content, trust_env=False)
        _until(lambda: len(station.judge.waiting) == 2)
        station.start()
        assert late.result().status_code == 201
        assert stays.recv(20).startswith(b"HTTP/1.1 201")
        stays.close()
        assert len(list(station.history.stream(InspectionFilter()))) == 2


def test_events_come_as_they_happen_and_a_client_that_was_away_gets_what_it_missed(station: Station) -> None:
    with _served(station) as address, httpx.Client(base_url=address, trust_env=False, timeout=10) as client:

        def post(seed: int) -> str:
            return client.post("/v1/inspections", params={"serial": str(seed)}, content=photograph(seed)).json()["id"]

        first = post(0)
        with httpx.stream("GET", f"{address}/v1/events", trust_env=False, timeout=10) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert _next(lines, "troubles")[1] == []
            second = post(1)
            name, data = _next(lines, "inspection")
            assert (name, data["id"], data["serial"]) == (second, second, "1")
            client.post(f"/v1/inspections/{first}/word", json={"word": "good"})
            assert _next(lines, "changed")[1] == {}
        missed = [post(seed) for seed in range(2, 6)]
        again = {"last-event-id": second}
        with httpx.stream("GET", f"{address}/v1/events", headers=again, trust_env=False, timeout=10) as stream:
            lines = stream.iter_lines()
            assert [_next(lines, "inspection")[0] for _ in missed] == missed


def _next(lines: Iterator[str], kind: str) -> tuple[str | None, object]:
    """The next event of a kind: its id, and its data."""
    name, event = None, None
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            name = value
        elif field == "event":
            event = value
        elif field == "data" and event == kind:
            return name, json.loads(value)
        elif not line:
            name = event = None
    raise AssertionError("the stream has ended")


def test_the_application_is_made_of_the_station_alone(station: Station) -> None:
    assert create_app(station).state.station is station
