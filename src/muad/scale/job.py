"""The folder of a large job: what it is of, which parts are finished, and that no other job writes into it.

OUT/muad-job.json                 what is judged by what; the same command goes on, another is refused
OUT/parts/part-000000.parquet …   finished parts: whole under their name, or not there
OUT/overlays/, OUT/maps/          pictures, if they are asked for
OUT/muad-job.lock                 while a job works: a count that goes on
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.errors import ConfigError, DataError
from muad.outputs.sources import JOB_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS, LOCK_FILE = "parts", "muad-job.lock"
_BEAT_S = 2.0
_WATCHED_S = 7.0  # a lock that has not moved so long is left over
_PART = re.compile(r"part-(\d{6,})\.parquet")
DRAFT = ".partial"


class JobFolder:
    """Where the results of a job lie: a folder, or an address that fsspec opens.

    Args:
        out: The place.
        beat_s: How often a working job says so.
        watched_s: How long a lock is watched for signs of life.

    Raises:
        DataError: It cannot be written.
    """

    def __init__(self, out: str, *, beat_s: float = _BEAT_S, watched_s: float = _WATCHED_S) -> None:
        self.out, self._beat_s, self._watched_s = out, beat_s, watched_s
        with self._writing():
            self.system, self.root, self.is_local = place_of(out)
            self.system.makedirs(f"{self.root}/{PARTS}", exist_ok=True)

    def facts(self) -> dict[str, Any] | None:
        """What the job here is of; None where there is none.

        Raises:
            DataError: That cannot be read.
        """
        try:
            known = json.loads(self.read(JOB_JSON))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{JOB_JSON} must be what a job has written, got {error} in {self.out}.") from None
        if not isinstance(known, dict):
            raise DataError(f"{JOB_JSON} must be what a job has written, got a {type(known).__name__} in {self.out}.")
        return known

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Begin a job here, or go on with the same one.

        Raises:
            ConfigError: The folder holds another job.
            DataError: It cannot be written.
        """
        known = self.facts()
        if known is None:
            with self._writing():
                self.write(JOB_JSON, (json.dumps(dict(facts), indent=1) + "\n").encode())
            return
        other = next((key for key in facts if known.get(key) != facts[key]), None)
        if other is not None:
            raise ConfigError(
                f"out must be new or hold the same job, got {self.out}, whose {other} is {known.get(other)!r:.80}, "
                f"not {facts[other]!r:.80}. Name another folder."
            )

    def finished(self) -> set[int]:
        """Numbers of the parts that are there under their name."""
        return {int(found[1]) for name in self._names() if (found := _PART.fullmatch(name))}

    def clear_drafts(self) -> None:
        """Take away what processes that died have left: parts begun, and how often they were."""
        for name in self._names():
            if name.endswith(DRAFT):
                with contextlib.suppress(OSError):
                    self.system.rm_file(f"{self.root}/{PARTS}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that it is whole under its name, or not there."""
        write_whole(self.system, f"{self.root}/{name}", content, local=self.is_local)

    def read(self, name: str) -> bytes:
        """The content of a file."""
        content: bytes = self.system.cat_file(f"{self.root}/{name}")
        return content

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other jobs out of the folder.

        Raises:
            ConfigError: Another job is at work in it.
            DataError: It cannot be written.
        """
        place, mine = f"{self.root}/{LOCK_FILE}", secrets.token_hex(8)
        self._require_free(place)
        self._create(place, f"{mine} 0".encode())
        stop = threading.Event()

        def beat() -> None:
            count = 0
            while not stop.wait(self._beat_s):
                count += 1
                with contextlib.suppress(OSError):
                    self.write(LOCK_FILE, f"{mine} {count}".encode())

        thread = threading.Thread(target=beat, name="job-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with contextlib.suppress(OSError):
                self.system.rm_file(place)

    def _require_free(self, place: str) -> None:
        """Wait for signs of life of a lock that is there; one without is taken away."""
        before = self._lock(place)
        if before is None:
            return
        end = time.monotonic() + self._watched_s
        while time.monotonic() < end:
            time.sleep(min(0.2, self._beat_s))
            now = self._lock(place)
            if now is None:
                return
            if now != before:
                raise self._in_use()
        with contextlib.suppress(OSError):
            self.system.rm_file(place)

    def _create(self, place: str, content: bytes) -> None:
        """Write the lock, unless another job has just done so."""
        with self._writing():
            try:
                if self.is_local:
                    with Path(place).open("xb") as file:
                        file.write(content)
                else:
                    self.system.pipe_file(place, content, mode="create")
            except FileExistsError:
                raise self._in_use() from None

    def _in_use(self) -> ConfigError:
        return ConfigError(
            f"out must be a folder of one job at a time, got {self.out}, where another is at work. "
            "Wait for it, or name another folder."
        )

    def _lock(self, place: str) -> bytes | None:
        self.system.invalidate_cache()
        try:
            content: bytes = self.system.cat_file(place)
        except OSError:
            return None
        return content

    def _names(self) -> list[str]:
        with self._writing():
            self.system.invalidate_cache()
            return [str(name).rpartition("/")[2] for name in self.system.ls(f"{self.root}/{PARTS}", detail=False)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell faults of the file system in a line."""
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001  every file system has faults of its own
            raise DataError(
                f"out must be a folder or an address that can be written, got {self.out} ({line_of(error)})."
            ) from None


def part_name(number: int) -> str:
    """Where the rows of a part lie below the folder."""
    return f"{PARTS}/part-{number:06d}.parquet"


def is_address(place: str) -> bool:
    """Whether a place is not a path of this machine but, for instance, `s3://bucket/folder`."""
    return "://" in place


def place_of(place: str) -> tuple[Any, str, bool]:
    """The file system of a path or address, the place in it, and whether that is a folder of this machine."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    system, root = url_to_fs(place)
    return system, root.rstrip("/"), isinstance(system, LocalFileSystem)


def write_whole(system: Any, place: str, content: bytes, *, local: bool) -> None:  # noqa: ANN401  of fsspec
    """Write a file so that it is whole under its name, or not there; object stores write so by themselves."""
    if not local:
        system.pipe_file(place, content)
        return
    file = Path(place)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}{DRAFT}")
    with draft.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


def line_of(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
