"""What a line loses when its station and its broker are killed again and again, and what ways out cost.

    python benchmarks/station_gateways.py BUNDLE [--seconds 60] [--seed 1]

Photographs come over HTTP from three clients and into a watched folder, while `muad serve` and mosquitto are killed
with SIGKILL at random. At the end the history is compared with what a subscriber, a webhook and the tables per shift
have got.
"""

import argparse
import io
import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median, quantiles

import httpx
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

from muad.service.gateways.base import AwayError
from muad.service.gateways.message import inspection_message
from muad.service.gateways.spool import Spool, SpoolSettings
from muad.service.history import Inspection, new_id

SETTINGS = """
[service]
port = {http}
[access]
open = true
requests_per_s = 100000
burst = 100000
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[webhook]
url = "http://127.0.0.1:{hook}/"
[shift_csv]
[watch]
folder = "{folder}"
settle_s = 0.1
[spool]
first_wait_s = 0.05
longest_wait_s = 0.5
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def photographs(count):
    found = []
    for seed in range(count):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(60, 180, (60, 64, 3), np.uint8)).save(file, "PNG")
        found.append(file.getvalue())
    return found


class Process:
    """A program that can be killed and started again."""

    def __init__(self, command, log, is_there):
        self.command, self.log, self.is_there = command, log, is_there
        self.start()

    def start(self):
        """Return once it is there."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=log, stderr=log)
        while not self.is_there():
            if self.running.poll() is not None:
                sys.exit(f"{self.command[0]} ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def end(self, how=signal.SIGKILL):
        """Return once it is gone."""
        self.running.send_signal(how)
        self.running.wait()


def answers(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def is_ready(port):
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    return False


def subscriber(port, got):
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="benchmark", clean_session=False)
    client.on_message = lambda _client, _data, message: got.append(json.loads(message.payload)["id"])
    client.on_connect = lambda client, *_: client.subscribe("muad/+/inspection", qos=1)
    client.reconnect_delay_set(0.1, 0.2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def receiver(got):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def clients(port, photos, until, answered):
    def send(name):
        with httpx.Client(trust_env=False, timeout=5) as client:
            number = 0
            while time.monotonic() < until:
                number += 1
                url = f"http://127.0.0.1:{port}/v1/inspections?category=bolt&serial={name}-{number}"
                with suppress(httpx.HTTPError):
                    answer = client.post(url, content=photos[number % len(photos)])
                    if answer.status_code == 201:
                        answered.append(answer.json()["id"])
                time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(name,)) for name in "ABC"]
    for thread in threads:
        thread.start()
    return threads


def files(folder, photos, until):
    def write():
        number = 0
        while time.monotonic() < until:
            number += 1
            file = folder / f".{number:05d}.png"
            file.write_bytes(photos[number % len(photos)])
            file.rename(folder / file.name[1:])
            time.sleep(0.1)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def kill_test(bundle, root, seconds, seed):
    chance, photos = random.Random(seed), photographs(20)
    by_mqtt, by_hook, answered = [], [], []
    (root / "in" / "bolt").mkdir(parents=True)
    (root / "station").mkdir()
    hook, mqtt, http = receiver(by_hook), free_port(), free_port()
    ports = {"http": http, "mqtt": mqtt, "hook": hook.server_port, "folder": root / "in"}
    (root / "station" / "station.toml").write_text(SETTINGS.format(**ports), encoding="utf-8")
    (root / "mosquitto.conf").write_text(
        f"listener {mqtt} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\npersistence true\n"
        f"persistence_location {root}/\nautosave_on_changes true\nautosave_interval 1\n",
        encoding="utf-8",
    )
    mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    broker = Process([mosquitto, "-c", str(root / "mosquitto.conf")], root / "broker.log", lambda: answers(mqtt))
    reader = subscriber(mqtt, by_mqtt)
    command = [sys.executable, "-m", "muad", "serve", str(bundle), "--data", str(root / "station")]
    station = Process(command, root / "station.log", lambda: is_ready(http))
    until = time.monotonic() + seconds
    threads = [*clients(http, photos, until, answered), files(root / "in" / "bolt", photos, until)]
    kills = {"station": 0, "broker": 0}
    while time.monotonic() < until - 6:
        time.sleep(chance.uniform(1, 4))
        what = "station" if chance.random() < 0.65 else "broker"
        process = {"station": station, "broker": broker}[what]
        process.end()
        time.sleep(chance.uniform(0, 2) if what == "broker" else 0)
        process.start()
        kills[what] += 1
    for thread in threads:
        thread.join()
    for _ in range(300):
        time.sleep(0.2)
        told = httpx.get(f"http://127.0.0.1:{http}/v1/gateways", trust_env=False).json()
        if not any(one["waiting"] for one in (*told["outlets"], *told["inlets"])):
            break
    station.end(signal.SIGTERM)
    time.sleep(0.5)
    reader.disconnect()
    broker.end()
    rows = (
        sqlite3.connect(root / "station" / "history.sqlite")
        .execute("SELECT id, source FROM inspections ORDER BY number")
        .fetchall()
    )
    recorded = [name for name, _ in rows]
    tables = [
        line.rpartition(",")[2]
        for file in sorted((root / "station" / "shifts").iterdir())
        for line in file.read_text(encoding="utf-8-sig").splitlines()[1:]
    ]
    watched = sum(source == "watch" for _, source in rows)
    print(f"killed: station {kills['station']} times, broker {kills['broker']} times")
    print(f"answered {len(answered)}, of them not recorded {len(set(answered) - set(recorded))}")
    print(f"files written {len(list((root / 'in' / 'bolt').iterdir()))}, recorded from the folder {watched}")
    print("| way out | recorded | missing | came more than once | in order |\n|---|---|---|---|---|")
    for name, got in (("MQTT", by_mqtt), ("webhook", by_hook), ("table per shift", tables)):
        first = list(dict.fromkeys(got))
        order = "yes" if first == [one for one in recorded if one in set(first)] else "no"
        missing = len(set(recorded) - set(first))
        print(f"| {name} | {len(recorded)} | {missing} | {len(got) - len(first)} | {order} |")


class Away:
    """A far end that is never there."""

    name = "away"

    def open(self):
        """Say so."""
        raise AwayError("nobody listens")

    def send(self, message):
        """Never called."""

    def close(self):
        """Nothing is open."""


def cost(root, count=2000):
    at = datetime.now(UTC)
    found = [
        Inspection(id=new_id(at), number=number, at=at, station="line", source="http", verdict="pass", score=0.5)
        for number in range(count)
    ]
    spool, times = Spool(root / "cost", Away(), SpoolSettings()), []
    spool.start()
    for inspection in found:
        begun = time.perf_counter()
        spool.put([inspection_message(inspection)])
        times.append(1000 * (time.perf_counter() - begun))
    spool.close(0)
    tail = quantiles(times, n=100)[98]
    print(f"putting a message into a spool whose far end is away: median {median(times):.2f} ms, p99 {tail:.2f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kill_test(given.bundle, Path(folder), given.seconds, given.seed)
        cost(Path(folder))


if __name__ == "__main__":
    main()
