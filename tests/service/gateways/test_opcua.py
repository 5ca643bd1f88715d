"""A real OPC UA client reads verdicts, is told of new ones, and can change nothing."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from muad.errors import ConfigError
from muad.service.gateways.base import AwayError, RefusedError
from muad.service.gateways.opcua import OpcuaOutlet, OpcuaSettings
from muad.service.gateways.opcua_values import CODES, NAMESPACE, VALUES

asyncua = pytest.importorskip("asyncua", reason="needs asyncua: pip install 'muad[opcua]'")
Messages = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpcuaOutlet, str, Path]]:
    """A server that listens, its address, and its folder; every test has stations of its own."""
    folder, port = tmp_path_factory.mktemp("opcua"), _free_port()
    outlet = OpcuaOutlet(OpcuaSettings(port=port), folder)
    outlet.open()
    yield outlet, f"opc.tcp://127.0.0.1:{port}", folder
    outlet.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(
    url: str, what: Callable[[Any], Awaitable[Any]], prepare: Callable[[Any], Awaitable[Any]] | None = None
) -> Any:
    async def ask() -> Any:
        client = asyncua.Client(url, timeout=5)
        if prepare is not None:
            await prepare(client)
        async with client:
            return await what(client)

    return asyncio.run(ask())


async def _read(client: Any, station: str = "line 1") -> dict[str, Any]:
    number = await client.get_namespace_index(NAMESPACE)
    nodes = [client.get_node(f"ns={number};s={station}.{name}") for name in VALUES]
    return dict(zip(VALUES, await client.read_values(nodes), strict=True))


def test_the_last_verdict_of_every_station_can_be_read_and_found(shared: Any, message: Messages) -> None:
    outlet, url, _ = shared
    sent = [
        message(1),
        message(2, verdict="pass", score=0.25),
        message(3, station="line 2", verdict="error", score=None),
    ]
    for each in [*sent[:2], sent[1], sent[2]]:  # one comes twice
        outlet.send(each)

    async def look(client: Any) -> Any:
        number = await client.get_namespace_index(NAMESPACE)
        root = await client.nodes.objects.get_child(f"{number}:Muad")
        names = [(await child.read_browse_name()).Name for child in await root.get_children()]
        return names, await _read(client), await _read(client, "line 2")

    names, first, second = _ask(url, look)
    assert {"line 1", "line 2"} <= set(names)
    assert (first["Verdict"], first["VerdictCode"], first["Score"]) == ("pass", CODES["pass"], 0.25)
    assert (first["Product"], first["Serial"], first["Lot"]) == ("bolt", "A2", "")
    assert first["Time"].replace(tzinfo=None) == datetime.fromisoformat(sent[1]["at"]).replace(tzinfo=None)
    counts = {name: value for name, value in first.items() if name.startswith("Count") or name == "Inspections"}
    assert counts == {"CountPass": 1, "CountReview": 0, "CountReject": 1, "CountOther": 0, "Inspections": 2}
    assert (second["VerdictCode"], second["CountOther"]) == (CODES["error"], 1)
    assert math.isnan(second["Score"])


def test_who_waits_for_the_counter_reads_values_that_belong_together(shared: Any, message: Messages) -> None:
    outlet, url, _ = shared
    outlet.send(message(1, station="told"))
    told: list[tuple[int, str]] = []

    async def wait(client: Any) -> None:
        number = await client.get_namespace_index(NAMESPACE)
        serial = client.get_node(f"ns={number};s=told.Serial")

        class Handler:
            async def datachange_notification(self, _node: Any, value: int, _data: Any) -> None:
                told.append((value, await serial.read_value()))

        subscription = await client.create_subscription(10, Handler())
        await subscription.subscribe_data_change(client.get_node(f"ns={number};s=told.Inspections"))
        for count in range(1, 5):
            while not told or told[-1][0] != count:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(outlet.send, message(count + 1, station="told"))

    _ask(url, lambda client: asyncio.wait_for(wait(client), 20))
    assert told[:4] == [(count, f"A{count}") for count in range(1, 5)]


def test_a_client_can_change_nothing(shared: Any, message: Messages) -> None:
    outlet, url, _ = shared
    outlet.send(message(1, station="meddled with"))
    ua = asyncua.ua

    async def meddle(client: Any) -> list[str]:
        number = await client.get_namespace_index(NAMESPACE)
        verdict = client.get_node(f"ns={number};s=meddled with.Verdict")
        faults = []
        for attempt in (
            lambda: verdict.write_value("pass", ua.VariantType.String),
            lambda: client.nodes.objects.add_object(number, "mine"),
            lambda: client.delete_nodes([verdict]),
        ):
            try:
                await attempt()
            except ua.UaStatusCodeError as fault:
                faults.append(type(fault).__name__)
        return [*faults, await verdict.read_value()]

    *faults, verdict = _ask(url, meddle)
    assert len(faults) == 3, faults
    assert verdict == "reject"


def test_after_a_restart_the_last_verdict_is_there_and_counters_go_on(
    shared: Any, message: Messages, tmp_path: Path
) -> None:
    before, _, folder = shared
    before.send(message(1, station="lasting"))
    shutil.copy(folder / "opcua-last.json", tmp_path)
    port = _free_port()
    after = OpcuaOutlet(OpcuaSettings(port=port), tmp_path)
    after.open()
    values = _ask(f"opc.tcp://127.0.0.1:{port}", lambda client: _read(client, "lasting"))
    assert (values["Serial"], values["Inspections"]) == ("A1", 1)
    after.send(message(2, station="lasting"))
    values = _ask(f"opc.tcp://127.0.0.1:{port}", lambda client: _read(client, "lasting"))
    assert (values["Serial"], values["Inspections"]) == ("A2", 2)
    after.close()


def test_connections_are_encrypted_and_only_known_clients_get_in(
    message: Messages, certificates: Path, tmp_path: Path
) -> None:
    (tmp_path / "trusted").mkdir()
    shutil.copy(certificates / "ca.pem", tmp_path / "trusted")
    (tmp_path / "password").write_text("open sesame", encoding="utf-8")
    port, ua = _free_port(), asyncua.ua
    settings = OpcuaSettings(
        port=port,
        certificate=certificates / "server.pem",
        key=certificates / "server-key.pem",
        clients=Path("trusted"),
        user="plc",
        password_file=Path("password"),
    )
    settings.check(tmp_path)
    outlet, url = OpcuaOutlet(settings, tmp_path), f"opc.tcp://127.0.0.1:{port}"
    outlet.send(message(1))

    def prepare(password: str, own: str = "client") -> Any:
        async def secure(client: Any) -> None:
            from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

            client.application_uri = f"urn:test:{own}"
            client.set_user("plc")
            client.set_password(password)
            files = [str(certificates / name) for name in (f"{own}.pem", f"{own}-key.pem", "server.pem")]
            await client.set_security(SecurityPolicyBasic256Sha256, *files[:2], server_certificate=files[2])

        return secure

    try:
        assert _ask(url, _read, prepare("open sesame"))["Serial"] == "A1"
        with pytest.raises(ua.UaStatusCodeError, match=r"(?i)identity|access|user"):
            _ask(url, _read, prepare("wrong"))
        for other in (None, prepare("open sesame", "stranger")):  # neither encrypted nor named; signed by nobody known
            with pytest.raises((ua.UaError, ConnectionError, TimeoutError)):
                _ask(url, _read, other)
    finally:
        outlet.close()
    with pytest.raises(ConfigError, match=r"opcua.key must be the RSA key of opcua.certificate"):
        OpcuaSettings(certificate=certificates / "server.pem", key=certificates / "client-key.pem").check(tmp_path)


def test_a_port_that_is_taken_is_said_so_and_tried_again(
    tmp_path: Path, message: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "opcua-last.json").write_text("{", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outlet = OpcuaOutlet(OpcuaSettings(port=port), tmp_path)
        with pytest.raises(AwayError, match=rf"opc.tcp://127.0.0.1:{port} cannot be opened: .*in use"):
            outlet.open()
    outlet.send(message(1))
    assert _ask(f"opc.tcp://127.0.0.1:{port}", _read)["Inspections"] == 1
    outlet.close()
    assert "counters begin at 0" in caplog.text


def test_the_example_reads_verdicts(shared: Any, message: Messages) -> None:
    outlet, url, _ = shared
    outlet.send(message(1, station="cell 3"))
    example = Path(__file__).parents[3] / "examples" / "station" / "read_opcua.py"
    with subprocess.Popen(
        [sys.executable, str(example), url, "cell 3", "2"], stdout=subprocess.PIPE, text=True
    ) as reading:
        assert reading.stdout is not None
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(reading.stdout or []))
        reader.start()
        number, end = 1, time.monotonic() + 20
        while reading.poll() is None and time.monotonic() < end:
            number += 1
            outlet.send(message(number, station="cell 3", verdict="pass"))
            time.sleep(0.25)
        reading.kill()
        reader.join()
    assert len(told) == 2
    assert all(line.startswith("A") and line.endswith(": pass, score 1.25 go on\n") for line in told)


def test_the_table_of_nodes_is_what_the_server_shows() -> None:
    page = (Path(__file__).parents[3] / "docs" / "station-connect.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\w+) \|", page, flags=re.MULTILINE)
    told = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names) if name in VALUES}
    assert told == dict(VALUES)
    for verdict, code in CODES.items():
        assert f"{code} {verdict}" in page


def test_stations_without_end_are_not_shown(shared: Any, message: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muad.service.gateways.opcua._MOST_STATIONS", 1)
    outlet, _, _ = shared
    outlet.send(message(1))
    with pytest.raises(RefusedError, match="shows at most 1 stations"):
        outlet.send(message(3, station="station 3"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, r"opcua.certificate must be given to listen on 0\.0\.0\.0"),
        ({"certificate": "a.pem"}, r"opcua.certificate and opcua.key must be given together"),
        ({"certificate": "a.pem", "key": "a.key"}, r"opcua.certificate must be a file that can be read"),
        ({"clients": "trusted"}, r"opcua.clients must come with certificate and key"),
        ({"user": "plc"}, r"opcua.user and its password must be given together"),
        (
            {"host": "0.0.0.0", "unencrypted": True, "user": "plc", "password_file": "password"},
            r"opcua.certificate must be given where a password is asked for",
        ),
    ],
)
def test_settings_that_could_not_work_are_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    (tmp_path / "password").write_text("open sesame", encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        OpcuaSettings.model_validate(settings).check(tmp_path)
    OpcuaSettings().check(tmp_path)
