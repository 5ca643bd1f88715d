"""One row per evaluated image, `RUN/evaluation.csv`: what figures, limits and reports can be made from again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muad.datasets.content_hash import relative_name
from muad.errors import DataError
from muad.runs.score_tables import read_table, table_to_csv

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from muad.types import Record

SCORES_FILE = "evaluation.csv"
_COLUMNS = ("path", "category", "is_anomalous", "defect_type", "score")
_WITH_VIEWS = (*_COLUMNS, "object", "view")  # where photographs show parts from several views


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScore:
    """The score of one labelled image.

    Attributes:
        path: From the data set's folder, with forward slashes.
        category: What it shows.
        is_anomalous: The label.
        defect_type: Kind of defect, or None.
        score: What the detector gave, unbounded; higher is more anomalous.
        part: Which part it shows, where several photographs show the same; else None.
        view: In which view.
    """

    path: str
    category: str
    is_anomalous: bool
    defect_type: str | None
    score: float
    part: str | None = None
    view: str | None = None


def image_scores(records: Sequence[Record], values: Float[np.ndarray, " n"], root: Path) -> list[ImageScore]:
    """Rows for images and their scores, named from the data set's folder `root` (or the manifest in it)."""
    return [
        ImageScore(
            path=relative_name(record.path, root),
            category=record.category,
            is_anomalous=record.is_anomalous,
            defect_type=record.defect_type,
            score=value,
            part=record.object_id,
            view=record.view,
        )
        for record, value in zip(records, values.tolist(), strict=True)
    ]


def scores_to_csv(scores: Iterable[ImageScore]) -> str:
    """The rows with a header; scores keep every digit, labels are 0 and 1."""
    rows = list(scores)
    if not any(row.part is not None for row in rows):
        return table_to_csv(_COLUMNS, map(_cells, rows))
    return table_to_csv(_WITH_VIEWS, ((*_cells(row), row.part or "", row.view or "") for row in rows))


def read_scores(path: Path) -> tuple[ImageScore, ...]:
    """The rows of a file that `scores_to_csv` gave.

    Raises:
        DataError: The file cannot be read, or is no such table.
    """
    rows = read_table(path, _COLUMNS, _WITH_VIEWS, what="scores")
    return tuple(_row(row, path, line) for line, row in enumerate(rows, start=2))


def _cells(row: ImageScore) -> tuple[object, ...]:
    return row.path, row.category, int(row.is_anomalous), row.defect_type or "", repr(row.score)


def _row(row: dict[str, str], path: Path, line: int) -> ImageScore:
    try:
        score = float(row["score"])
    except (ValueError, TypeError):
        score = math.nan
    if not math.isfinite(score) or row["is_anomalous"] not in ("0", "1"):
        raise DataError(
            f"scores must have a label of 0 or 1 and a finite score in every row, got {path} row {line}. "
            "Evaluate the run again."
        )
    return ImageScore(
        path=row["path"],
        category=row["category"],
        is_anomalous=row["is_anomalous"] == "1",
        defect_type=row["defect_type"] or None,
        score=score,
        part=row.get("object") or None,
        view=row.get("view") or None,
    )
