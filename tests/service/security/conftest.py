"""A station that runs behind its doors, as it does in a plant: a real server, a token of every role."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from muad.service.access.roles import Role
from muad.service.serve import server_config
from muad.service.station import Station, open_station


@dataclass(frozen=True)
class Served:
    """A station that answers at an address, and its tokens."""

    station: Station
    address: str
    headers: dict[Role, dict[str, str]]

    def client(self, role: Role | None) -> httpx.Client:
        """A client with the role's token, or without one."""
        headers = {} if role is None else self.headers[role]
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)


@contextmanager
def serving(folder: Path, bundle: Path, **sections: dict[str, object]) -> Iterator[Served]:
    """A station of these settings, for as long as it is needed."""
    station = open_station(folder, bundle, overrides=sections)
    headers = {}
    for role in Role:
        made = station.access.tokens.make(f"the {role}", role, who="a test")
        headers[role] = {"authorization": f"Bearer {made.text}"}
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(station))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    scheme = "http" if station.settings.service.tls_certificate is None else "https"
    try:
        yield Served(station, f"{scheme}://127.0.0.1:{sock.getsockname()[1]}", headers)
    finally:
        station.stopping.set()
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture(scope="package")
def served(patch_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One station for all tests of this folder."""
    often = {"requests_per_s": 1e6, "burst": 1_000_000, "failures_per_minute": 1e6}
    with serving(tmp_path_factory.mktemp("served") / "station", patch_bundle, access=often) as station:
        yield station
