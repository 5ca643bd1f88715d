"""One row per evaluated part, `RUN/evaluation_objects.csv`: what figures, limits and reports of parts are made from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from muad.errors import DataError
from muad.runs.score_tables import read_table, table_to_csv

OBJECTS_FILE = "evaluation_objects.csv"
_COLUMNS = ("object", "category", "is_anomalous", "defect_type", "views", "missing", "highest_view", "mean_top", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """One labelled part.

    Attributes:
        name: Which one.
        category: What it is.
        is_anomalous: Whether at least one of its photographs is.
        defect_type: Kind of defect, or None.
        views: How many photographs it has.
        missing: Views that it lacks; such a part is in no figure.
        highest_view: The view with the highest score of its own.
        mean_top: Mean of the largest 1 % of all map values; of an incomplete part what it is at least.
        max: Largest score of a view.
    """

    name: str
    category: str
    is_anomalous: bool
    defect_type: str | None
    views: int
    missing: tuple[str, ...]
    highest_view: str
    mean_top: float
    max: float

    def score(self, name: str) -> float:
        """`mean_top` or `max`."""
        return self.mean_top if name == "mean_top" else self.max


def object_rows_to_csv(rows: Iterable[ObjectRow]) -> str:
    """The rows with a header; scores keep every digit, labels are 0 and 1."""
    return table_to_csv(_COLUMNS, map(_cells, rows))


def read_object_rows(path: Path) -> tuple[ObjectRow, ...]:
    """The rows of a file that `object_rows_to_csv` gave.

    Raises:
        DataError: The file cannot be read, or is no such table.
    """
    rows = read_table(path, _COLUMNS, what="scores of parts")
    return tuple(_row(row, path, line) for line, row in enumerate(rows, start=2))


def _cells(row: ObjectRow) -> tuple[object, ...]:
    label, missing = int(row.is_anomalous), ";".join(row.missing)
    told = (row.name, row.category, label, row.defect_type or "", row.views, missing, row.highest_view)
    return (*told, repr(row.mean_top), repr(row.max))


def _row(row: dict[str, str], path: Path, line: int) -> ObjectRow:
    try:
        scores, views = [float(row[name]) for name in ("mean_top", "max")], int(row["views"])
    except (ValueError, TypeError):
        scores, views = [math.nan], 0
    if not all(map(math.isfinite, scores)) or row["is_anomalous"] not in ("0", "1"):
        raise DataError(f"scores of parts must have a label and finite scores, got {path} row {line}. Evaluate again.")
    return ObjectRow(
        name=row["object"],
        category=row["category"],
        is_anomalous=row["is_anomalous"] == "1",
        defect_type=row["defect_type"] or None,
        views=views,
        missing=tuple(filter(None, row["missing"].split(";"))),
        highest_view=row["highest_view"],
        mean_top=scores[0],
        max=scores[1],
    )
