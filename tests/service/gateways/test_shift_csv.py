"""A table per shift: whole rows, each part once, in the right shift, and nothing a spreadsheet would carry out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from muad.errors import ConfigError
from muad.service.gateways.base import AwayError
from muad.service.gateways.shift_csv import COLUMNS, ShiftCsvSettings, ShiftTables, harmless
from muad.service.shifts import ShiftSettings

Messages = Callable[..., dict[str, Any]]
BERLIN = ShiftSettings.model_validate({"zone": "Europe/Berlin"})


def _rows(file: Path, separator: str = ",") -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, delimiter=separator))


@pytest.fixture
def tables(tmp_path: Path) -> Callable[[], ShiftTables]:
    def begin() -> ShiftTables:
        outlet = ShiftTables(ShiftCsvSettings(), BERLIN, tmp_path)
        outlet.open()
        return outlet

    return begin


def test_parts_go_into_the_table_of_their_shift(tables: Any, message: Messages, tmp_path: Path) -> None:
    outlet = tables()
    for number, clock in enumerate(["12:59:59", "13:00:00", "20:59:59", "21:00:00"]):  # UTC; Berlin is an hour ahead
        outlet.send(message(number, at=datetime.fromisoformat(f"2026-03-02T{clock}+00:00")))
    found = {file.name: [row["serial"] for row in _rows(file)] for file in sorted((tmp_path / "shifts").iterdir())}
    assert found == {
        "2026-03-02-0600-early.csv": ["A0"],
        "2026-03-02-1400-late.csv": ["A1", "A2"],
        "2026-03-02-2200-night.csv": ["A3"],
    }
    row = _rows(tmp_path / "shifts" / "2026-03-02-1400-late.csv")[0]
    assert tuple(row) == COLUMNS
    assert (row["time"], row["verdict"], row["score"]) == ("2026-03-02T14:00:00.000+01:00", "reject", "1.25")


def test_a_part_that_comes_twice_has_one_row_also_after_a_restart(
    tables: Any, message: Messages, tmp_path: Path
) -> None:
    first, second = message(1), message(2)
    outlet = tables()
    outlet.send(first)
    outlet.send(first)
    again = tables()
    again.send(first)
    again.send(second)
    (file,) = (tmp_path / "shifts").iterdir()
    assert [row["serial"] for row in _rows(file)] == ["A1", "A2"]


@pytest.mark.parametrize("cut", [1, 2, 40, 10_000])
def test_a_row_that_a_crash_has_cut_is_written_again(tables: Any, message: Messages, tmp_path: Path, cut: int) -> None:
    outlet = tables()
    outlet.send(message(1))
    outlet.send(last := message(2))
    (file,) = (tmp_path / "shifts").iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    again = tables()
    again.send(last)  # it was not confirmed, so it comes again
    rows = _rows(file)
    assert [row["serial"] for row in rows] == (["A2"] if cut == 10_000 else ["A1", "A2"])
    assert all(None not in row and len(row["id"]) == 32 for row in rows)
    assert file.read_bytes().endswith(b"\r\n")


def test_a_table_with_other_columns_is_left_as_it_is(tables: Any, message: Messages, tmp_path: Path) -> None:
    other = tmp_path / "shifts" / "2026-03-02-0600-early.csv"
    outlet = tables()
    other.write_text("time,verdict\n", encoding="utf-8")
    outlet.send(message(1))
    assert other.read_text(encoding="utf-8") == "time,verdict\n"
    assert len(_rows(other.with_stem(f"{other.stem}-2"))) == 1


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "\n=cmd|' /C calc'!A0", "\uff1d1+1", "|calc", "%0A=1"],
)
def test_text_from_outside_is_no_formula(tables: Any, message: Messages, tmp_path: Path, text: str) -> None:
    outlet = tables()
    outlet.send(message(1, serial=text, lot='a"b,c\r\nd', score=-0.5))
    (file,) = (tmp_path / "shifts").iterdir()
    (row,) = _rows(file)
    assert row["serial"] == harmless(text)
    assert row["serial"].startswith("'")
    assert row["lot"] == 'a"b,c d'
    assert row["score"] == "-0.5", "a number is one"
    assert len(file.read_bytes().splitlines()) == 2, "a part is one line"


def test_german_spreadsheets_are_served(message: Messages, tmp_path: Path) -> None:
    outlet = ShiftTables(ShiftCsvSettings(separator=";", decimal=","), BERLIN, tmp_path)
    outlet.open()
    outlet.send(message(1, lot="Größe; 3"))
    (file,) = (tmp_path / "shifts").iterdir()
    (row,) = _rows(file, ";")
    assert (row["score"], row["lot"]) == ("1,25", "Größe; 3")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    with pytest.raises(ConfigError, match=r"shift_csv.separator must differ"):
        ShiftCsvSettings(decimal=",").check(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_tried_again(tables: Any, message: Messages, tmp_path: Path) -> None:
    outlet = tables()
    outlet.send(message(1))
    (file,) = (tmp_path / "shifts").iterdir()
    kept = file.rename(tmp_path / "kept.csv")
    file.mkdir()  # as good as a file that somebody has locked
    with pytest.raises(AwayError, match=r"2026-03-02-0600-early\.csv"):
        outlet.send(message(2))
    file.rmdir()
    kept.rename(file)
    outlet.send(message(2))
    assert [row["serial"] for row in _rows(file)] == ["A1", "A2"]
    with pytest.raises(ConfigError, match=r"shift_csv.folder must be one that can be written to"):
        ShiftCsvSettings(folder=Path("kept.csv/x")).check(file)
