"""Both databases, and inspections to put into them."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from muad.capture import Reason
from muad.decisions.regions import Region
from muad.service.history import History, NewInspection, new_id

MONDAY = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def postgres_programs() -> Path | None:
    """Where PostgreSQL's server programs are: Debian keeps them off the path, one folder a version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server of our own, without the database's name."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's server programs (initdb, postgres); apt-get install postgresql")
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_owner: dict[str, Any] = (
        {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    )
    if as_owner and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("needs the user postgres: PostgreSQL refuses to run as root")
    folder = Path(tempfile.mkdtemp(prefix="muad-pg-"))
    port = free_port()
    try:
        if as_owner:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        made = [programs / "initdb", "-D", data, "-U", owner, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
        subprocess.run(made, check=True, cwd=folder, stdout=subprocess.DEVNULL, **as_owner)
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        asked = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = (folder / "log").open("wb")
        with log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *asked], cwd=folder, stdout=log, stderr=log, **as_owner
            )
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            for _ in range(200):
                if subprocess.run(ready, check=False).returncode == 0:
                    break
                assert server.poll() is None, (folder / "log").read_text()
                subprocess.run(["sleep", "0.05"], check=True)
            url = f"postgresql://{owner}@127.0.0.1:{port}"
            _run(url, "postgres", "CREATE DATABASE empty_history")
            History(f"{url}/empty_history").close()
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count()


@pytest.fixture
def make_postgres_database(postgres: str) -> Callable[[str], str]:
    """The URL of a new database, a copy of another."""

    def make(template: str) -> str:
        name = f"test_{next(_numbers)}"
        _run(postgres, "postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return f"{postgres}/{name}"

    return make


@pytest.fixture
def postgres_url(make_postgres_database: Callable[[str], str]) -> str:
    """A database of its own, with the tables in it."""
    return make_postgres_database("empty_history")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def history(url: str) -> Iterator[History]:
    """An empty history in each database."""
    opened = History(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_history(tmp_path: Path) -> Iterator[History]:
    """An empty history in a file."""
    opened = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def inspect() -> Callable[..., NewInspection]:
    """A new inspection a second after the one before; everything may be said."""
    seconds = itertools.count()

    def make(**said: Any) -> NewInspection:
        at = said.pop("at", MONDAY + timedelta(seconds=next(seconds)))
        known: dict[str, Any] = {"station": "line 1", "source": "http", "verdict": "pass", "score": 0.25}
        return NewInspection(**{"id": new_id(at), "at": at, **known, **said})

    return make


@pytest.fixture
def full_inspection(inspect: Callable[..., NewInspection]) -> NewInspection:
    """One in which everything is said."""
    region = Region(polygon=((1, 2), (9, 2), (9, 8)), area_px=31, peak=0.75, peak_at=(5, 4), mean=0.5)
    return inspect(
        verdict="reject",
        category="bolt",
        judged_as="bolt",
        recognised="bolt",
        score=0.1 + 0.2,
        p_value=1 / 3,
        review_above=0.2,
        reject_above=0.25,
        map_limit=0.4,
        colour_scale=(0.1, 0.7),
        reasons=(Reason(what="too dark", quantity="brightness", value=12.5, limit=40.0), Reason(what="looks odd")),
        notice="given bolt, looks like nut",
        regions=(region,),
        highest=region,
        width=640,
        height=480,
        model_id="0123456789abcdef",
        serial="SN-Größe-7 '; DROP TABLE inspections; --",
        lot="L1",
        extras={"shift": "früh", "<script>": "alert(1)"},
        idempotency_key="token:1",
        error=None,
        times={"decode": 1.5, "network": 20.0},
        brightness=101.5,
        sharpness=3.5,
        product_p=0.5,
        in_audit=True,
    )


def _run(url: str, database: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(f"{url}/{database}", autocommit=True) as connection:
        connection.execute(statement)
