"""`OUT/ledger.jsonl`: which files are done, so that none is judged twice, whatever stops the watching.

The first line names the watched folder. Each further line is a file by its way from there, with the size and the time
of change it had; `"moved": true` takes it off again, for what has left the folder may come back to be judged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from muad.errors import ConfigError

LEDGER_FILE = "ledger.jsonl"
Facts = tuple[int | None, int | None]


class Ledger:
    """What is done; one process at a time.

    Args:
        out: Folder of results.
        folder: The watched folder.

    Raises:
        ConfigError: Another process has it, or it is of another folder.
        OSError: It cannot be written.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        path = out / LEDGER_FILE
        self._done: dict[str, Facts] = {}
        self._bad: set[str] = set()
        self._file = path.open("a+b")
        _lock(self._file, out)
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)  # a line that a crash has cut
        watched = None
        for line in content.splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                watched = entry.get("folder", watched)
                self._take(entry)
        here = str(folder.resolve())
        if watched is None:
            self._write([{"folder": here}])
        elif watched != here:
            self.close()
            raise ConfigError(f"out must hold results of {here}, got {out} with those of {watched}. Name another.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._done)

    def is_done(self, name: str, facts: Facts) -> bool:
        """Whether that very file is done; one that was replaced under its name is not."""
        return self._done.get(name) == facts

    def is_bad(self, name: str) -> bool:
        """Whether a file that is done could not be read."""
        return name in self._bad

    def add(self, files: Iterable[tuple[str, Facts, bool]]) -> None:
        """Remember files as done, on disk when this returns; with the name, the facts, and whether they are bad."""
        self._write(
            [
                {"path": name, "bytes": facts[0], "modified_ns": facts[1], **({"bad": True} if bad else {})}
                for name, facts, bad in files
            ]
        )

    def take_off(self, name: str) -> None:
        """Remember that a file has left the folder."""
        self._write([{"path": name, "moved": True}])

    def close(self) -> None:
        """Let other processes have it."""
        self._file.close()

    def _take(self, entry: dict[str, Any]) -> None:
        if "path" not in entry:
            return
        name = entry["path"]
        self._bad.discard(name)
        if entry.get("moved"):
            self._done.pop(name, None)
            return
        self._done[name] = (entry["bytes"], entry["modified_ns"])
        if entry.get("bad"):
            self._bad.add(name)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        if not entries:
            return
        self._file.write(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())
        for entry in entries:
            self._take(entry)


def _lock(file: Any, out: Path) -> None:  # noqa: ANN401  a file
    """Keep other processes out for as long as the file is open; where the system has no such locks, none."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"out must be of one muad watch at a time, got {out}, in use. End that one first.") from None
    except OSError:  # a network folder without locks
        return
