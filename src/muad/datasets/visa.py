"""VisA as released: images under `<object>/Data`, and the split in `split_csv/1cls.csv`.

The columns are `object, split, label, image, mask`, with paths from the root. Masks hold small class numbers, so
any non-zero value is defect. The converted `1cls` tree has the layout of MVTec AD and is read by that reader.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, cast

from muad.datasets.pairing import note_missing_masks
from muad.datasets.tree import require_files, subfolders
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muad.types import Split

_SPLIT_FILE = "split_csv/1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")


def is_visa(root: Path) -> bool:
    """Whether the folder has the split file of VisA, or folders `<object>/Data/Images`."""
    return (root / _SPLIT_FILE).is_file() or any((inside / "Data" / "Images").is_dir() for inside in subfolders(root))


def read_visa(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of VisA in its one-class split."""
    notes: list[str] = []
    rows = _read_rows(root / _SPLIT_FILE)
    records = [_record(root, row, number) for number, row in rows]
    if left_out := [record for record in records if record.split == "train" and record.is_anomalous]:
        notes.append(f"Left out {len(left_out)} anomalous training images, because training uses normal images only.")
        records = [record for record in records if record.split == "test" or not record.is_anomalous]
    require_files(path for record in records for path in (record.path, record.mask_path))
    for category in sorted({record.category for record in records}):
        note_missing_masks(category, [record for record in records if record.category == category], notes)
    return records, notes


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"split file {path} must be a CSV file that can be read, got: {error}. Restore it from the VisA release."
        raise DataError(msg) from None
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        msg = (
            f"split file {path} must have the columns {', '.join(_COLUMNS)}, got none named {', '.join(missing)}. "
            "Restore it from the VisA release."
        )
        raise DataError(msg)
    return rows


def _record(root: Path, row: dict[str, str], number: int) -> Record:
    if row["split"] not in {"train", "test"} or row["label"] not in {"normal", "anomaly"} or not row["image"]:
        msg = (
            f"row {number} of {_SPLIT_FILE} must have split train or test, label normal or anomaly, and an image, got "
            f"{row['split']!r}, {row['label']!r}, {row['image']!r}. Restore it from the VisA release."
        )
        raise DataError(msg)
    is_anomalous = row["label"] == "anomaly"
    return Record(
        path=root / row["image"],
        category=row["object"],
        split=cast("Split", row["split"]),
        is_anomalous=is_anomalous,
        defect_type="anomaly" if is_anomalous else None,
        mask_path=root / row["mask"] if is_anomalous and row["mask"] else None,
        mask_kind="labels",
    )
