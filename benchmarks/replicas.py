"""A station of replicas by Ray Serve: how many parts a second, and whether a change of bundle loses a request.

    python benchmarks/replicas.py BUNDLE NEXT PHOTOS --database postgresql://postgres@127.0.0.1:5432/station

Side by side in one run: `muad serve` as one process of one thread, a station of one replica and one of two, of one
thread each, all on the same history in PostgreSQL (an empty database, whose tables are made) and under the same load
from Locust on the same cores. At two replicas, NEXT is promoted amid the load, and then one replica is killed. The
table goes to `benchmarks/replicas.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from muad.service.history import History
from muad.service.history.search import ROWS

RESULT = Path(__file__).with_name("replicas.md")
LOAD = Path(__file__).with_name("station_load.py")
USERS, PORT = 16, 8429
_ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local", "RAY_COLOR_PREFIX": "0",
}  # fmt: skip


def settings(database: str) -> str:
    """station.toml."""
    return f'[history]\nurl = "{database}"\n[access]\nrequests_per_s = 1e6\nburst = 1000000\n'


def serve_config(folder: Path, model: Path, replicas: int) -> dict[str, Any]:
    """As in `deploy/ray-serve.yaml`, with a number of replicas that stays."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": PORT},
        "applications": [
            {
                "name": "station",
                "route_prefix": "/",
                "import_path": "muad.service.replicas:application",
                "args": {"folder": str(folder), "model": str(model)},
                "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}},
                "deployments": [
                    {"name": "StationReplica", "num_replicas": replicas, "ray_actor_options": {"num_cpus": 0.8}}
                ],
            }
        ],
    }


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[str]:
    """A station that answers, and an administrator's token of it."""
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=_ENVIRONMENT, start_new_session=True)
        try:
            until = time.monotonic() + 300
            while not is_ready():
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"not ready:\n{(folder / 'log.txt').read_text()[-4000:]}")
                time.sleep(0.2)
            (token,) = folder.glob("station/*token*")
            yield token.read_text().split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            while is_ready():
                time.sleep(0.2)


def is_ready() -> bool:
    """Whether a station answers and judges."""
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def load(photos: Path, token: str, seconds: float, meanwhile: Any = None) -> dict[str, float]:
    """What Locust found; `meanwhile` is called a third into it, in a thread of its own."""
    environment = os.environ | {
        "LOAD_PHOTOS": str(photos), "LOAD_RATE": "0", "LOAD_CATEGORY": "", "LOAD_TOKEN": token,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "locust", "-f", str(LOAD), "--headless", "--json", "--skip-log", "--host",
        f"http://127.0.0.1:{PORT}", "--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", f"{seconds:g}s",
        "--stop-timeout", "120",
    ]  # fmt: skip
    timer = threading.Timer(seconds / 3, meanwhile) if meanwhile is not None else None
    if timer is not None:
        timer.start()
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if timer is not None:
        timer.join()
    kinds = json.loads(ran.stdout)
    done = next(kind for kind in kinds if kind["name"] == "answered")
    span = done["last_request_timestamp"] - done["start_time"]
    return {
        "rate": done["num_requests"] / span,
        "answered": sum(kind["num_requests"] - kind["num_failures"] for kind in kinds),
        "failed": sum(kind["num_failures"] for kind in kinds),
    }


def call(token: str, method: str, path: str, **body: Any) -> Any:
    """What the station answers."""
    address = f"http://127.0.0.1:{PORT}{path}"
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.request(method, address, headers=headers, json=body or None, trust_env=False, timeout=120)
    answer.raise_for_status()
    return answer.json()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("next", type=Path, help="another bundle, of the same products")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--database", required=True, help="URL of an empty database")
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    lines = ["| served by | photographs a second | answered | failed |", "|---|---|---|---|"]

    def row(what: str, found: dict[str, float]) -> None:
        lines.append(f"| {what} | {found['rate']:.2f} | {found['answered']:.0f} | {found['failed']:.0f} |")
        print(lines[-1], flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder, station = Path(name), Path(name) / "station"
        station.mkdir()
        (station / "station.toml").write_text(settings(given.database), encoding="utf-8")
        model = given.bundle.absolute()
        alone = [sys.executable, "-m", "muad", "serve", str(model), "--data", str(station), "--port", str(PORT)]
        with started(alone, folder) as token:
            load(given.photos, token, 3)
            row("one process, `muad serve`", load(given.photos, token, given.seconds))
        for replicas in (1, 2):
            config = folder / "serve.json"
            config.write_text(json.dumps(serve_config(station, model, replicas)), encoding="utf-8")
            with started(
                [sys.executable, "-c", "from ray.serve.scripts import cli; cli()", "run", str(config)], folder
            ) as token:
                load(given.photos, token, 5)
                row(f"Ray Serve, {replicas} replica{'s' * (replicas > 1)}", load(given.photos, token, given.seconds))
                if replicas < 2:
                    continue
                shutil.copy(given.next, station / "models" / "next.muad")
                loaded = call(token, "POST", "/v1/models/load", name="next.muad")

                def promote(token: str = token, own: str = loaded["id"]) -> None:
                    call(token, "POST", f"/v1/models/{own}/promote", reason="the next bundle")

                row("2 replicas, the next bundle promoted meanwhile", load(given.photos, token, given.seconds, promote))
                lines.append(f"| of it, by each bundle | | {judged_by(given.database)} | |")
                row("2 replicas, one killed meanwhile", load(given.photos, token, given.seconds, kill_a_replica))
    RESULT.write_text("\n".join(["`python benchmarks/replicas.py BUNDLE NEXT PHOTOS`", "", *lines]) + "\n")


def judged_by(database: str) -> str:
    """How many parts of the history each model has judged."""
    with History(database).database.reading() as connection:
        found = connection.execute(sa.select(ROWS.c.model_id, sa.func.count()).group_by(ROWS.c.model_id)).all()
    return ", ".join(str(count) for _, count in found)


def kill_a_replica() -> None:
    """End one of them by SIGKILL."""
    asked = ["pgrep", "-f", "ray::ServeReplica:station:StationReplica"]
    listed = subprocess.run(asked, check=True, capture_output=True, text=True)
    os.kill(int(listed.stdout.split()[0]), signal.SIGKILL)


if __name__ == "__main__":
    main()
