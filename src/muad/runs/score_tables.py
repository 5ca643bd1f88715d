"""Tables of scores in a run folder, as CSV: how they are written and read, whatever a row is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from muad.errors import DataError


def table_to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and rows; whoever writes a number says how many digits it keeps.

    Names that are no text on this system are written so that they can be read, not found.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")


def read_table(path: Path, *forms: tuple[str, ...], what: str) -> list[dict[str, str]]:
    """The rows of a file that `table_to_csv` gave.

    Args:
        path: The file.
        forms: Columns it may have, the usual ones first.
        what: What it holds, for messages.

    Raises:
        DataError: It cannot be read, or has other columns.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            columns, rows = tuple(table.fieldnames or ()), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{what} must be a readable table, got {path} ({error}). Evaluate the run again.") from None
    if columns not in forms:
        raise DataError(f"{what} must have the columns {', '.join(forms[0])}, got {path}. Evaluate the run again.")
    return rows
