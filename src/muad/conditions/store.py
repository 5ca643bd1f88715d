"""What is finished stays: one file a condition, `finished/light=0.8.json`, used again by the same study only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from muad.conditions.condition import Condition
from muad.conditions.outcome import ImageOutcome
from muad.errors import DataError
from muad.metrics.report import Report
from muad.runs.folder import make_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT_VERSION = 2
_FOLDER = "finished"


def read_finished(
    folder: Path, condition: Condition, claim: Mapping[str, Any]
) -> tuple[Report, list[ImageOutcome]] | None:
    """Figures and outcomes of a condition, if that was finished by a study of the same claim; else None.

    Args:
        folder: Of the study.
        condition: Which.
        claim: What decides about the outcomes, such as digests of weights and photographs.
    """
    try:
        values = json.loads(_file(folder, condition).read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION or values["claim"] != dict(claim):
            return None
        rows = [ImageOutcome(**{**row, "warnings": tuple(row["warnings"])}) for row in values["images"]]
        return Report.from_json(values["figures"]), rows
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None  # not finished, or damaged: it is done again


def write_finished(
    folder: Path, condition: Condition, claim: Mapping[str, Any], report: Report, rows: Sequence[ImageOutcome]
) -> None:
    """Keep a condition's outcomes.

    Raises:
        CheckpointError: The folder is not writable.
    """
    values = {
        "format_version": FORMAT_VERSION,
        "claim": dict(claim),
        "figures": report.to_json(),
        "images": [asdict(row) for row in rows],
    }
    path = _file(folder, condition)
    make_folder(path.parent)
    # Names that are no text on this system are kept as they are, by JSON's own escapes.
    write_text(path, json.dumps(values, indent=1) + "\n")


def _file(folder: Path, condition: Condition) -> Path:
    return folder / _FOLDER / f"{condition.name}.json"
