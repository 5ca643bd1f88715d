"""A list of images: CSV with a header line, or JSON-lines with one object a line.

Columns: `path`, `category` and `label` are needed; `mask`, `split`, `defect_type`, `object_id` and `view` may be
there or be empty. Paths are relative to the manifest. Without a column `split`, anomalous images are for testing and
about every fifth normal one of a category that has anomalous ones is held out (see `holdout`).
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from muad.datasets.holdout import held_out
from muad.datasets.pairing import check_unshared, note_missing_masks
from muad.datasets.tree import ANOMALOUS_NAMES, NORMAL_NAMES, name_some
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from muad.types import Split

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson"})
NORMAL_LABELS = NORMAL_NAMES | {"0", "false", "pass"}
ANOMALOUS_LABELS = ANOMALOUS_NAMES | {"1", "fail", "true"}

_NEEDED = ("path", "category", "label")
_OPTIONAL = ("mask", "split", "defect_type", "object_id", "view")
_SPLIT_WORDS: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}

Row = tuple[int, dict[str, str]]


def is_manifest(path: Path) -> bool:
    """Whether the file's ending is that of a manifest."""
    return path.suffix.lower() in CSV_SUFFIXES | JSON_SUFFIXES


def read_manifest(path: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of a manifest file.

    Raises:
        DataError: Naming the row, if one is incomplete, contradicts itself, repeats an image or names a missing file.
    """
    notes: list[str] = []
    rows = read_rows(path)
    columns = {name for _, row in rows for name in row}
    if ignored := sorted(columns - {*_NEEDED, *_OPTIONAL}):
        notes.append(f"Columns of the manifest that are not read: {', '.join(ignored)}.")
    records: list[Record] = []
    first_row: dict[Path, int] = {}
    for number, row in rows:
        record = _record(path, number, row, has_splits="split" in columns)
        if (first := first_row.setdefault(record.path, number)) != number:
            raise _fault(path, number, f"must name an image of its own, got {row['path']!r} as in row {first}")
        records.append(record)
    check_unshared({record.path: record.mask_path for record in records if record.mask_path is not None})
    if "split" not in columns:
        records = _split(records, path.parent, notes)
    for category in sorted({record.category for record in records}):
        note_missing_masks(category, [record for record in records if record.category == category], notes)
    return records, notes


def read_rows(path: Path, needed: tuple[str, ...] = _NEEDED) -> list[Row]:
    """Rows of a list by the number of their line; columns are in lower case, values text.

    Args:
        path: CSV with a header, or JSON-lines.
        needed: Columns that a CSV must have.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _csv_rows(path, text, needed) if path.suffix.lower() in CSV_SUFFIXES else _json_rows(path, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"manifest {path} must be text in UTF-8 that can be read, got: {error}. Save it again as UTF-8."
        raise DataError(msg) from None


def _csv_rows(path: Path, text: str, needed: tuple[str, ...]) -> list[Row]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = {name: name.strip().lower() for name in reader.fieldnames or ()}
    if missing := [name for name in needed if name not in names.values()]:
        msg = (
            f"manifest {path} must have the columns {', '.join(needed)} in its first line, got none named "
            f"{', '.join(missing)}. "
            f"Columns that may be there: {', '.join(name for name in (*_NEEDED, *_OPTIONAL) if name not in needed)}."
        )
        raise DataError(msg)
    rows: list[Row] = []
    for row in reader:
        if None in row or None in row.values():
            raise _fault(path, reader.line_num, f"must have {len(names)} cells, as the first line has")
        rows.append((reader.line_num, {names[name]: cell.strip() for name, cell in row.items()}))
    return rows


def _json_rows(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _fault(path, number, f"must be a JSON object, got: {error}") from None
        if not isinstance(entry, dict) or any(isinstance(value, dict | list) for value in entry.values()):
            raise _fault(path, number, f"must be a JSON object of plain values, got {line.strip()[:60]}")
        rows.append((number, {name: "" if value is None else str(value).strip() for name, value in entry.items()}))
    return rows


def _record(manifest: Path, number: int, row: dict[str, str], *, has_splits: bool) -> Record:
    for name in _NEEDED:
        if not row.get(name):
            raise _fault(manifest, number, f"must have a value for {name}, got none")
    is_anomalous = _is_anomalous(manifest, number, row["label"])
    split: Split = "test" if is_anomalous else "train"
    if has_splits:
        word = row.get("split", "").lower()
        if word not in _SPLIT_WORDS:
            raise _fault(manifest, number, f"must have split train or test, got {row.get('split', '')!r}")
        split = _SPLIT_WORDS[word]
    if is_anomalous and split == "train":
        raise _fault(manifest, number, "must be for testing, being anomalous, got split train")
    if not is_anomalous and row.get("defect_type"):
        raise _fault(manifest, number, f"must have no defect_type, being normal, got {row['defect_type']!r}")
    return Record(
        path=_file(manifest, number, "path", row["path"]),
        category=row["category"],
        split=split,
        is_anomalous=is_anomalous,
        defect_type=(row.get("defect_type") or "anomaly") if is_anomalous else None,
        mask_path=_file(manifest, number, "mask", row["mask"]) if is_anomalous and row.get("mask") else None,
        object_id=row.get("object_id") or None,
        view=row.get("view") or None,
    )


def _is_anomalous(manifest: Path, number: int, label: str) -> bool:
    word = label.lower()
    if word not in NORMAL_LABELS | ANOMALOUS_LABELS:
        words = f"one of {', '.join(sorted(NORMAL_LABELS))} or {', '.join(sorted(ANOMALOUS_LABELS))}"
        raise _fault(manifest, number, f"must have a label that is {words}, got {label!r}")
    return word in ANOMALOUS_LABELS


def _file(manifest: Path, number: int, column: str, value: str) -> Path:
    path = manifest.parent / value
    if not path.is_file():
        raise _fault(manifest, number, f"must have a {column} that is a file beside the manifest, got {value!r}")
    return path


def _split(records: list[Record], root: Path, notes: list[str]) -> list[Record]:
    """Hold out normal images of every category that has anomalous ones; all images of one object, or none."""
    testing: set[Path] = set()
    divided = {record.category for record in records if record.is_anomalous}
    for category in sorted(divided):
        named: dict[str, list[Path]] = {}
        for record in records:
            if record.category == category and not record.is_anomalous:
                name = _name(record.path, root) if record.object_id is None else f"object {record.object_id}"
                named.setdefault(name, []).append(record.path)
        testing.update(path for name in held_out(named) for path in named[name])
    if testing:
        notes.append(
            f"The manifest has no column split, so {len(testing)} normal images are held out for testing, chosen by a "
            f"hash of their paths: {name_some(sorted(path.name for path in testing))}."
        )
    return [
        replace(
            record,
            split="test" if record.path in testing else record.split,
            split_chosen=record.category in divided and not record.is_anomalous,
        )
        for record in records
    ]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _fault(manifest: Path, number: int, fault: str) -> DataError:
    return DataError(f"row {number} of {manifest} {fault}. Correct the row or remove it.")
