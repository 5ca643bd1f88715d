"""Only so many new images of a product and day, so that neither drowns the rest.

Which ones is decided by a digest of their names, one of each day in turn, so the same images give the same choice. A
day is known where a station exported the images: its `words.csv` beside the manifest says when each part was judged.
Dates of files say nothing, because copying changes them.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from muad.errors import DataError

if TYPE_CHECKING:
    from muad.types import Record

WORDS_FILE = "words.csv"
_NEEDED = ("at", "file")


def days_of(data: Path) -> dict[Path, str]:
    """The day, as `2026-01-31`, of each image of a manifest that a station exported; empty of other data.

    Args:
        data: Data set.

    Raises:
        DataError: There is a `words.csv` beside the manifest and it cannot be read.
    """
    path = data.parent / WORDS_FILE
    if not data.is_file() or not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if not set(_NEEDED) <= set(table.fieldnames or ()):
                return {}
            return {data.parent / row["file"]: row["at"][:10] for row in table if row["file"] and row["at"]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{WORDS_FILE} must be a readable table, got {path} ({error}). Export the words again."
        ) from None


def thinned(
    records: Sequence[Record], days: Mapping[Path, str], most_a_day: int | None, most: int
) -> tuple[list[Record], dict[Path, str]]:
    """Images of one product that are taken, in the order they came in, and why each of the others is not.

    Args:
        records: Images of one product.
        days: By path; images without one are of no day.
        most_a_day: Of each day; None for no limit.
        most: Of all.
    """
    by_day: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: hashlib.sha256(record.path.name.encode()).digest()):
        by_day[days.get(record.path, "")].append(record)
    left_out: dict[Path, str] = {}
    for day, own in by_day.items():
        if day and most_a_day is not None:
            left_out |= {record.path: "too many of this day" for record in own[most_a_day:]}
            by_day[day] = own[:most_a_day]
    in_turn = [one for row in zip_longest(*(by_day[day] for day in sorted(by_day))) for one in row if one is not None]
    left_out |= {record.path: "too many of this product" for record in in_turn[most:]}
    return [record for record in records if record.path not in left_out], left_out
