"""The tables of an output folder: `results.csv` and `results.json`, both whole after every row."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from muad.errors import ConfigError, DataError
from muad.outputs.names import name_key
from muad.outputs.sources import MAPS, OVERLAYS, RESULTS_CSV, RESULTS_JSON, Source

COLUMNS = (
    *("path", "category", "recognised", "score", "verdict", "reason", "p_value", "width", "height"),
    *("map", "overlay", "notice", "error"),
)
VIEW_COLUMNS = ("object", "view")
"""At the end, where photographs are judged as parts."""
Used = Literal["refuse", "append", "overwrite"]
_END = "\n]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an output folder holds already.

    Attributes:
        entries: Of `results.json`.
        used: What becomes of them.
        columns: Of `results.csv`, where rows are appended to.
    """

    entries: Sequence[Mapping[str, Any]] = ()
    used: Used = "refuse"
    columns: tuple[str, ...] | None = None

    @property
    def names(self) -> set[str]:
        """Names of outputs that are given away, by `name_key`."""
        files = [
            Path(*Path(file).parts[1:]) for entry in self.entries for file in (entry.get("overlay"), entry.get("map"))
            if file is not None
        ]  # fmt: skip
        return {name_key(file.with_suffix("")) for file in files} if self.used == "append" else set()

    def unknown(self, sources: Sequence[Source]) -> list[Source]:
        """Those of the images that are not in the table yet, or whose file has changed since."""
        if self.used != "append":
            return list(sources)
        known = {(entry["path"], entry.get("bytes"), entry.get("modified_ns")) for entry in self.entries}
        return [source for source in sources if (source.path.as_posix(), *file_facts(source.path)) not in known]


def earlier_results(out: Path, used: Used) -> Earlier:
    """What the output folder holds, if it may be used that way.

    Raises:
        ConfigError: There are results, and it is not said what becomes of them; or rows of another version are to be
            appended to.
        DataError: They cannot be read.
    """
    if used not in get_args(Used):
        raise ConfigError(f"used must be one of {', '.join(get_args(Used))}, got {used!r}.")
    table = out / RESULTS_CSV
    try:
        with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, None)
            count = sum(1 for _ in lines)
    except (FileNotFoundError, NotADirectoryError):
        return Earlier(used=used)
    except OSError as error:
        raise DataError(f"output folder must be one that can be read, got {out} ({error.strerror}).") from None
    if count and used == "refuse":
        raise ConfigError(
            f"output folder must hold no results yet, got {table} with {count} row{'' if count == 1 else 's'}. "
            "Name another, or add to it with --append, or replace it with --overwrite."
        )
    columns = tuple(header) if header is not None and count and used == "append" else None
    if columns not in (None, COLUMNS, COLUMNS + VIEW_COLUMNS):
        raise ConfigError(f"{table} must have the columns {', '.join(COLUMNS)} to append to, got others. Name another.")
    return Earlier(entries=tuple(_stored_entries(out / RESULTS_JSON)), used=used, columns=columns)


def file_facts(path: Path) -> tuple[int | None, int | None]:
    """Size and time of change of a file, by which it is known again; None for one that is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None, None
    return facts.st_size, facts.st_mtime_ns


class ResultTables:
    """The tables while they are written; rows are on disk as soon as they are added.

    Args:
        out: Output folder; it is made.
        earlier: What it holds.
        columns: Of `results.csv`.

    Raises:
        ConfigError: Rows with other columns are to be appended to.
        OSError: A file cannot be written.
    """

    def __init__(self, out: Path, earlier: Earlier, columns: tuple[str, ...] = COLUMNS) -> None:
        if earlier.columns not in (None, columns):
            how = "one by one" if earlier.columns == COLUMNS else "as parts"
            raise ConfigError(
                f"results that are appended to must be of photographs judged in the same way, got {out / RESULTS_CSV}, "
                f"whose were judged {how}. Name another folder."
            )
        self._columns = columns
        out.mkdir(parents=True, exist_ok=True)
        kept = earlier.entries if earlier.used == "append" else ()
        if earlier.used == "overwrite":
            _remove_pictures(out, earlier.entries)
        self._table = _open_table(out / RESULTS_CSV, keep=bool(kept))
        self._rows = csv.DictWriter(self._table, columns)
        if self._table.tell() == 0:
            self._rows.writeheader()
            self._table.flush()
        else:
            for entry in kept[_row_count(out / RESULTS_CSV) :]:  # a crash came between list and table
                self._write_row(entry)
        self._list = _JsonList(out / RESULTS_JSON, kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._list.close()

    def add(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Write an entry of `results.json`; returns its row of `results.csv`."""
        self._list.add(entry)
        row = self._write_row(entry)
        self._table.flush()
        return row

    def sync(self) -> None:
        """Have it on disk, should the power fail."""
        self._list.sync()
        os.fsync(self._table.fileno())

    def _write_row(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        row = {column: entry.get(column) for column in self._columns}
        self._rows.writerow({name: _one_line(value) for name, value in row.items()})
        return row


class _JsonList:
    """A JSON list on disk that is whole after every entry, so that a crash leaves one that can be read."""

    def __init__(self, path: Path, kept: Sequence[Mapping[str, Any]]) -> None:
        draft = path.with_name(f"{path.name}.partial")
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write("[\n" + ",\n".join(json.dumps(entry) for entry in kept) + _END if kept else "[]\n")
        draft.replace(path)
        self._file = path.open("r+b")
        self._end = self._file.seek(0, os.SEEK_END) - len(_END) if kept else 0

    def add(self, entry: Mapping[str, Any]) -> None:
        text = (",\n" if self._end else "[\n") + json.dumps(entry)
        self._file.seek(self._end)
        self._file.write((text + _END).encode())
        self._file.flush()
        self._end += len(text)

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def rows_as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `results.csv` as a JSON list."""
    return json.dumps(list(rows), indent=2)


def _one_line(value: Any) -> Any:  # noqa: ANN401  a cell
    """A row is one line, whatever a file is called, so that a crash can cut no more than the last."""
    return value.replace("\r", "\\r").replace("\n", "\\n") if isinstance(value, str) else value


def _row_count(path: Path) -> int:
    with path.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)


def _open_table(path: Path, *, keep: bool) -> Any:  # noqa: ANN401  a text file
    """The table, at its end; a last line that a crash has cut is taken away."""
    if keep:
        with path.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
    # Names that are no text on this system are written as far as they can be.
    table = path.open("a" if keep else "w", encoding="utf-8", errors="backslashreplace", newline="")
    table.seek(0, os.SEEK_END)
    return table


def _stored_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Entries of a list that this module has written, as many as can be read: each has a line of its own."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        with suppress(ValueError):
            entry = json.loads(line.strip().rstrip(","))
            if isinstance(entry, dict) and "path" in entry:
                yield entry


def _remove_pictures(out: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Take away overlays and maps that the replaced table names, and nothing else."""
    for entry in entries:
        for folder, file in ((OVERLAYS, entry.get("overlay")), (MAPS, entry.get("map"))):
            if isinstance(file, str) and (out / file).resolve().is_relative_to((out / folder).resolve()):
                (out / file).unlink(missing_ok=True)
