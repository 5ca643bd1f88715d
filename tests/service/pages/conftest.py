"""A station with pages behind its doors, and the system's own Chromium to look at them with."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from tests.conftest import patch_network
from tests.service.conftest import photograph

from muad.service.access.roles import Role
from muad.service.history import Inspection
from muad.service.serve import server_config
from muad.service.station import Station, open_station

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TABLET = {"width": 1024, "height": 768}


@dataclass(frozen=True)
class Pages:
    """A station that answers at an address, and a token of every role."""

    station: Station
    address: str
    tokens: dict[Role, str]

    def client(self, role: Role | None, **headers: str) -> httpx.Client:
        """A client with the role's token, that asks for pages as a browser does."""
        token = {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(
            base_url=self.address, headers={"accept": "text/html", **token, **headers}, timeout=30, trust_env=False
        )

    def post(self, seed: int, *, defect: bool = False, **facts: str) -> Inspection:
        """Have a part judged."""
        with self.client(Role.LINE) as client:
            facts = {"category": "bolt", **facts}
            image = {"image": ("a.png", photograph(seed, defect=defect), "image/png")}
            answer = client.post("/v1/inspections", files=image, data=facts)
        assert answer.status_code == 201, answer.text
        return self.station.history.get(answer.json()["id"])


@pytest.fixture(scope="session")
def judging_bundle(write_patch_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reviews noise and rejects what has a bright patch."""
    limits = b"[categories.bolt]\nreview = 0.5\nreject = 0.9\nmap = 0.8\n"
    return write_patch_bundle(tmp_path_factory.mktemp("pages") / "bolts.muad", run={"limits.toml": limits})


@pytest.fixture(scope="session")
def other_bundle(write_patch_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model, which rejects everything."""
    limits = b"[categories.bolt]\nreview = 0.0001\nreject = 0.0002\nmap = 0.4\n"
    path = tmp_path_factory.mktemp("pages") / "other.muad"
    return write_patch_bundle(path, network=patch_network(7)[0], limits=False, run={"limits.toml": limits})


@pytest.fixture(scope="session")
def pages(judging_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """One station for all tests of this folder."""
    overrides = {
        "service": {"name": "Line 2"},
        "access": {"requests_per_s": 1e6, "burst": 1_000_000, "failures_per_minute": 1e6},
        "shifts": {"zone": "Europe/Berlin"},
    }
    station = open_station(tmp_path_factory.mktemp("pages") / "station", judging_bundle, overrides=overrides)
    tokens = {role: station.access.tokens.make(f"the {role}", role, who="a test").text for role in Role}
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(station))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    served = Pages(station, f"http://127.0.0.1:{sock.getsockname()[1]}", tokens)
    for number in range(6):
        served.post(number, defect=number % 3 == 2, serial=f"B-{number // 2}", lot="L1")
    yield served
    station.stopping.set()
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The system's Chromium; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    place = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if place is None:
        pytest.skip(f"needs a Chromium of the system, one of {', '.join(CHROMIUM)}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser", pages: Pages) -> Iterator[Callable[..., "Page"]]:
    """`open_page(Role.ENGINEER)`: a browser of its own that has logged in; no fault may show up in its console."""
    contexts, faults = [], []

    def opened(role: Role | None = Role.ENGINEER, language: str = "en-GB", size: dict[str, int] = TABLET) -> "Page":
        context = browser.new_context(viewport=size, locale=language, base_url=pages.address)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        if role is not None:
            page.goto("/login")
            page.fill("#token", pages.tokens[role])
            page.click("main button")
        return page

    yield opened
    for context in contexts:
        context.close()
    # A page that is refused on purpose says so in the console, too.
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []
