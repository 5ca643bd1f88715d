"""Verdicts at a real broker: in order, kept for who comes later, encrypted, and all of them when it was away."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from muad.errors import ConfigError
from muad.service.gateways.base import AwayError
from muad.service.gateways.mqtt import MqttOutlet, MqttSettings
from muad.service.gateways.spool import Spool, SpoolSettings

Messages = Callable[..., dict[str, Any]]
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="needs the broker mosquitto, which is not installed")


class Broker:
    """mosquitto on the loopback; what it keeps lies in its folder and outlives it."""

    def __init__(self, folder: Path, port: int, *lines: str) -> None:
        self.port, self._config = port, folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        store = [
            "user root",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]
        self._config.write_text("\n".join([f"listener {port} 127.0.0.1", *lines, *store, ""]), encoding="utf-8")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, "the broker does not start"
                assert self._process.poll() is None, "the broker has given up"
                time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(10)
            self._process = None


class Reader:
    """A client that remembers what it is told."""

    def __init__(self, broker: Broker, topic: str, prepare: Callable[[paho.Client], object] = lambda _: None) -> None:
        self.told: Queue[paho.MQTTMessage] = Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="reader", clean_session=False)
        prepare(self._client)
        self._client.on_message = lambda _client, _data, message: self.told.put(message)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.reconnect_delay_set(0.1, 0.2)
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def next(self) -> paho.MQTTMessage:
        return self.told.get(timeout=15)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Broker]:
    found = Broker(tmp_path_factory.mktemp("broker"), free_port(), "allow_anonymous true")
    found.start()
    yield found
    found.stop(kill=True)


def _outlet(broker: Broker, folder: Path, **settings: Any) -> MqttOutlet:
    outlet = MqttOutlet(MqttSettings(host="127.0.0.1", port=broker.port, **settings), folder)
    outlet.open()
    return outlet


def test_the_broker_keeps_the_last_verdict_of_every_station(broker: Broker, tmp_path: Path, message: Messages) -> None:
    outlet = _outlet(broker, tmp_path, prefix="plant/hall 3")
    for number, station in enumerate(["left", "left", "a/b+c#d", ""]):
        outlet.send(message(number, station=station))
    reader = Reader(broker, "plant/hall 3/+/inspection")
    told = {entry.topic.split("/")[2]: entry for entry in (reader.next() for _ in range(3))}
    assert set(told) == {"left", "a%2Fb%2Bc%23d", "station"}
    assert all(entry.retain and entry.qos == 1 for entry in told.values())
    assert json.loads(told["left"].payload) == message(1, station="left") | {
        "id": json.loads(told["left"].payload)["id"]
    }
    outlet.send(message(9, station="left"))
    assert json.loads(reader.next().payload)["number"] == 9
    reader.leave()
    outlet.close()


def test_the_status_says_whether_the_station_is_there(broker: Broker, tmp_path: Path) -> None:
    reader = Reader(broker, "muad/+/status")
    outlet = _outlet(broker, tmp_path, name="line-1")
    online = reader.next()
    assert (online.topic, online.payload) == ("muad/line-1/status", b"online")
    outlet.close()
    assert reader.next().payload == b"offline"
    again = _outlet(broker, tmp_path, name="line-1")
    assert reader.next().payload == b"online"
    # As a process that is killed, or a cable that is pulled: no goodbye.
    again._client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    assert reader.next().payload == b"offline", "said by the broker"
    assert reader.next().payload == b"online", "and taken back once the connection stands again"
    reader.leave()
    again.close()


def test_while_the_broker_is_gone_messages_wait_and_then_all_arrive_in_order(
    broker: Broker, tmp_path: Path, message: Messages, wait_for: Any
) -> None:
    reader = Reader(broker, "muad/+/inspection")
    outlet = MqttOutlet(MqttSettings(host="127.0.0.1", port=broker.port, timeout_s=1.0), tmp_path)
    settings = SpoolSettings(first_wait_s=0.05, longest_wait_s=0.2)
    spool = Spool(tmp_path, outlet, settings)
    spool.start()
    numbers = []
    for number in range(1, 31):
        begun = time.monotonic()
        spool.put([message(number)])
        assert time.monotonic() - begun < 1.0, "nobody waits for the broker"
        if number == 10:
            numbers.append(json.loads(reader.next().payload)["number"])
            broker.stop(kill=True)
        if number == 20:
            wait_for(spool.is_away)
            assert spool.state().waiting >= 10
            spool.close()  # and the station is started anew meanwhile
            spool = Spool(tmp_path, MqttOutlet(outlet._settings, tmp_path), settings)
            spool.start()
    broker.start()
    while not numbers or numbers[-1] != 30:
        numbers.append(json.loads(reader.next().payload)["number"])
    assert list(dict.fromkeys(numbers)) == list(range(1, 31)), f"in order, once or more: {numbers}"
    wait_for(lambda: not spool.is_away())
    spool.close()
    assert spool.state().waiting == 0
    reader.leave()


def test_the_connection_is_encrypted_and_the_password_checked(
    tmp_path: Path, free_port: Callable[[], int], certificates: Path, message: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("s3cret-of-the-line\n", encoding="utf-8")
    users = tmp_path / "users"
    make = ["mosquitto_passwd", "-b", "-c", str(users), "line", "s3cret-of-the-line"]
    subprocess.run(make, check=True, capture_output=True)
    users.chmod(0o644)
    broker = Broker(
        *(tmp_path, free_port(), "allow_anonymous false", f"password_file {users}"),
        *(f"cafile {certificates / 'ca.pem'}", f"certfile {certificates / 'server.pem'}"),
        f"keyfile {certificates / 'server-key.pem'}",
    )
    broker.start()
    try:
        settings: dict[str, Any] = {"tls": True, "ca": certificates / "ca.pem", "user": "line"}
        outlet = _outlet(broker, tmp_path, password_file=Path("password"), **settings)
        reader = Reader(
            broker,
            "muad/#",
            lambda client: (
                client.tls_set(str(certificates / "ca.pem")),
                client.username_pw_set("line", "s3cret-of-the-line"),
            ),
        )
        outlet.send(message(1))
        heard = [reader.next() for _ in range(2)]
        assert {entry.topic for entry in heard} == {"muad/station/status", "muad/line 1/inspection"}
        assert not any(b"s3cret" in entry.payload for entry in heard)
        reader.leave()
        outlet.close()
        monkeypatch.setenv("MQTT_PASSWORD", "wrong-one")
        with pytest.raises(AwayError, match=r"(?i)not authori[sz]ed|bad user") as refused:
            _outlet(broker, tmp_path, password_env="MQTT_PASSWORD", **settings)
        assert "wrong-one" not in str(refused.value)
        with pytest.raises(AwayError, match="certificate verify failed"):
            _outlet(broker, tmp_path, tls=True)  # signed by nobody the system knows
    finally:
        broker.stop(kill=True)


def test_a_broker_that_is_not_there_is_said_so(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    with pytest.raises(AwayError, match=rf"broker 127.0.0.1:{port}: .*refused"):
        MqttOutlet(MqttSettings(host="127.0.0.1", port=port), tmp_path).open()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = MqttSettings(host="127.0.0.1", port=silent.getsockname()[1], timeout_s=0.3)
        with pytest.raises(AwayError, match="no answer"):
            MqttOutlet(mute, tmp_path).open()


def test_the_example_reads_verdicts(broker: Broker, tmp_path: Path, message: Messages) -> None:
    outlet = _outlet(broker, tmp_path)
    outlet.send(message(1))
    example = Path(__file__).parents[3] / "examples" / "station" / "read_mqtt.py"
    reading = subprocess.Popen(
        [sys.executable, str(example), "127.0.0.1", str(broker.port), "2"], stdout=subprocess.PIPE, text=True
    )
    assert reading.stdout is not None
    assert reading.stdout.readline() == "listening\n"
    sent = [message(2), message(3, verdict="pass")]
    for each in (sent[0], sent[0], sent[1]):
        outlet.send(each)
    assert reading.communicate(timeout=20)[0] == "A2: reject stop\nA3: pass go on\n"
    outlet.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prefix": "a/#"}, "mqtt.prefix must be a topic"),
        ({"ca": "ca.pem"}, "mqtt.tls must be true"),
        ({"tls": True, "ca": "missing.pem"}, r"mqtt.ca must be a file that can be read, got .*missing.pem"),
        ({"tls": True, "ca": "empty.pem"}, "mqtt.ca must hold certificates"),
        ({"tls": True, "key": "empty.pem"}, "mqtt.certificate must be given with mqtt.key"),
        ({"tls": True, "key": "empty.pem", "certificate": "empty.pem"}, "must be a pair in PEM form"),
        ({"password_env": "NO_SUCH_VARIABLE", "user": "a"}, "mqtt.password_env must name an environment variable"),
        ({"password_file": "empty.pem", "user": "a"}, "mqtt.password_file must hold the secret"),
        ({"password_file": "text"}, "mqtt.user must be given"),
        ({"password_file": "text", "password_env": "HOME", "user": "a"}, "must not both be given"),
    ],
)
def test_settings_that_could_not_work_are_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    (tmp_path / "empty.pem").write_text("", encoding="utf-8")
    (tmp_path / "text").write_text("secret", encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        MqttSettings.model_validate({"host": "broker", **settings}).check(tmp_path)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="password"):
        MqttSettings.model_validate({"host": "broker", "password": "in the open"})
