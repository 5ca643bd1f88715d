"""`log.txt` in a folder of a run or of results: what the commands printed, each line with its time."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

FILE = "log.txt"


@dataclass(slots=True)
class _Log:
    folder: Path
    mark: str
    held: list[str] = field(default_factory=list)


_log: _Log | None = None


def keep_log(folder: Path, mark: str) -> None:
    """Write what this command prints from now on to `log.txt` of a folder, after what is there.

    Lines are held back until there is something to say and the folder holds the file `mark`: a folder that is refused
    gets no log. JSON is left out; it is in files of its own. A disk that takes nothing ends no work.

    Args:
        folder: Of a run, or of results.
        mark: What the command writes first there.
    """
    global _log  # noqa: PLW0603  one command runs in a process
    _log = _Log(folder, mark, [_line(f"$ {shlex.join(['muad', *sys.argv[1:]])}")])


def end_log() -> None:
    """Write no more."""
    global _log  # noqa: PLW0603
    _log = None


def write_log(text: str) -> None:
    """Add text, if a log is kept."""
    if _log is None:
        return
    _log.held += [_line(line) for line in text.splitlines()]
    with suppress(OSError):
        if (_log.folder / _log.mark).exists():
            with (_log.folder / FILE).open("a", encoding="utf-8") as file:
                file.writelines(_log.held)
            _log.held.clear()


def _line(text: str) -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text.rstrip()}\n"
