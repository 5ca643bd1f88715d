"""PostgreSQL's own programs: `pg_dump` and `pg_restore`, which copy a database as of one moment while it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy.engine import URL

from muad.errors import ConfigError
from muad.service.history.faults import HistoryError

_DEBIAN = Path("/usr/lib/postgresql")  # a folder a version, none of them on the path


def dump(url: URL, file: Path) -> None:
    """Copy a database into a file.

    Raises:
        ConfigError: pg_dump is not installed.
        HistoryError: It failed.
    """
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={file}"]
    _run("pg_dump", url, options)


def load(file: Path, url: URL) -> None:
    """Put it into a database that has none of its tables; all or nothing.

    Raises:
        ConfigError: pg_restore is not installed.
        HistoryError: It failed.
    """
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(file)]
    _run("pg_restore", url, options)


def _run(name: str, url: URL, options: list[str]) -> None:
    program = shutil.which(name) or next(iter(sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)), None)
    if program is None:
        raise ConfigError(
            f"{name} must be installed to copy a PostgreSQL database, got none. Run: apt-get install postgresql-client"
        )
    # The password goes by the environment: a command line can be read by everybody on the machine.
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    environment = {**os.environ, **({} if url.password is None else {"PGPASSWORD": str(url.password)})}
    target = f"--dbname={plain.render_as_string(hide_password=False)}"
    ran = subprocess.run([str(program), target, *options], env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = " ".join(ran.stderr.split())[-500:]
        raise HistoryError(f"{name} must copy the database, got {said or f'exit code {ran.returncode}'}.")
