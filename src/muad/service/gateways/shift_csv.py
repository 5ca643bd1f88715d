"""A table per shift, for people: one row per part, appended when it is judged, each part once.

Rows are whole or absent: a row that a crash has cut is taken out before the next one goes in. Text that came from
outside is written so that no spreadsheet takes it for a formula.
"""

from __future__ import annotations

import csv
import io
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from muad.errors import ConfigError
from muad.service.gateways.base import AwayError, Message, Section
from muad.service.shifts import ShiftSettings

COLUMNS: Final = (
    *("time", "station", "product", "serial", "lot", "verdict", "score", "p_value"),
    *("review_above", "reject_above", "regions", "reasons", "notice", "error", "model", "source", "id"),
)
_BOM: Final = "\ufeff"  # without it a spreadsheet takes UTF-8 for something else
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_FULL_WIDTH: Final = {
    0xFF1D: "=",
    0xFF0B: "+",
    0xFF0D: "-",
    0xFF20: "@",
}  # some spreadsheets take them for the plain ones
_ID: Final = re.compile("[0-9a-f]{32}")


class ShiftCsvSettings(Section):
    """`[shift_csv]`: a table per shift; when shifts begin is said by `[shifts]`.

    Attributes:
        folder: Where the tables lie.
        separator: Between cells.
        decimal: In numbers; `,` where the spreadsheet speaks German.
    """

    folder: Path = Path("shifts")
    separator: Literal[",", ";"] = ","
    decimal: Literal[".", ","] = "."

    section: ClassVar[str] = "shift_csv"

    def check(self, folder: Path) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: The folder cannot be written to, or cells could not be told apart.
        """
        if self.separator == self.decimal:
            raise ConfigError('shift_csv.separator must differ from the decimal sign, got "," for both. Take ";".')
        place = folder / self.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise ConfigError(f"shift_csv.folder must be one that can be written to, got {folder / self.folder}.")


class ShiftTables:
    """The outlet.

    Args:
        settings: Its section.
        shifts: When shifts begin.
        folder: The station's.
    """

    def __init__(self, settings: ShiftCsvSettings, shifts: ShiftSettings, folder: Path) -> None:
        self.name = settings.section
        self._settings, self._shifts = settings, shifts
        self._folder = folder / settings.folder
        self._place: Path | None = None
        self._label = ""
        self._ids: set[str] = set()

    def open(self) -> None:
        """Make the folder.

        Raises:
            AwayError: It cannot be made now.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AwayError(f"{self._folder}: {error.strerror or error}") from None

    def send(self, message: Message) -> None:
        """Append the row of an inspection, on disk when this returns; one that is there already is left alone.

        Raises:
            AwayError: The file cannot be written now, such as one that a spreadsheet has open.
        """
        at = datetime.fromisoformat(message["at"])
        shift = self._shifts.shift_at(at)
        try:
            if self._place is None or shift.label != self._label or not self._place.exists():
                self._place, self._ids = self._begin(shift.label)
                self._label = shift.label
            if message["id"] not in self._ids:
                _append(self._place, self._line(self._row(message, at.astimezone(shift.begins.tzinfo))))
                self._ids.add(message["id"])
        except OSError as error:
            self._place = None  # look again what is there before the next row
            raise AwayError(f"{error.filename or self._place}: {error.strerror or error}") from None

    def close(self) -> None:
        """Nothing is open between rows."""

    def _begin(self, label: str) -> tuple[Path, set[str]]:
        """The file of a shift, whole, and which parts it has; a file with other columns is left as it is."""
        header = self._line(list(COLUMNS))
        number = 1
        while True:
            place = self._folder / (f"{label}.csv" if number == 1 else f"{label}-{number}.csv")
            number += 1
            try:
                content = place.read_bytes()
            except FileNotFoundError:
                content = b""
            whole = content[: content.rfind(b"\n") + 1].decode(errors="replace")
            if whole and not whole.startswith(_BOM + header):
                continue
            end = content.rfind(b"\n") + 1
            cut = content[end:].decode(errors="replace")
            if whole and any(_ID.fullmatch(row["id"] or "") for row in self._rows(cut)):
                rest = "\n" if cut.endswith("\r") else "\r\n"
                _append(place, rest)  # only the line's end is missing, as some editors leave it
                whole += cut + rest
            elif cut:
                os.truncate(place, end)
            if not whole:
                _append(place, _BOM + header)
            return place, {row["id"] for row in self._rows(whole.removeprefix(_BOM + header))}

    def _rows(self, lines: str) -> list[dict[str, str | Any]]:
        return list(csv.DictReader(io.StringIO(lines), fieldnames=COLUMNS, delimiter=self._settings.separator))

    def _row(self, message: Message, at: datetime) -> list[str]:
        reasons = "; ".join(reason["what"] for reason in message["reasons"])
        cells: dict[str, Any] = {
            **{name: message.get(name) for name in COLUMNS},
            "time": at.isoformat(timespec="milliseconds"),
            "regions": len(message["regions"]),
            "reasons": reasons,
            "model": message["model_id"],
        }
        return [self._cell(cells[name]) for name in COLUMNS]

    def _cell(self, value: str | float | None) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return harmless(value)
        return repr(value).replace(".", self._settings.decimal)

    def _line(self, cells: list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self._settings.separator, lineterminator="\r\n").writerow(cells)
        return text.getvalue()


def harmless(text: str) -> str:
    """The same on one line, and with a ' before what a spreadsheet would take for a formula.

    >>> harmless("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"
    >>> harmless("A 17")
    'A 17'
    """
    line = " ".join(text.splitlines())
    return (
        f"'{line}" if text.startswith(_FORMULA) or line.lstrip().translate(_FULL_WIDTH).startswith(_FORMULA) else line
    )


def _append(place: Path, text: str) -> None:
    with place.open("ab") as file:
        file.write(text.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
