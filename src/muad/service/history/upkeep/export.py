"""Inspections as CSV and Parquet, in pieces: memory stays that of some thousand rows, whatever is asked for.

Both have the same columns, a row for each inspection, the oldest first. In CSV a text that a spreadsheet would take for
a formula has an apostrophe in front; Parquet has it as it is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from muad.errors import ConfigError
from muad.service.history.filters import InspectionFilter
from muad.service.history.history import History
from muad.service.history.record import Inspection

Kind = Literal["text", "time", "number", "count", "truth"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also the wide forms
_GROUP = 10_000  # rows that Parquet packs together


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_OWN: dict[str, tuple[Kind, Callable[[Inspection], Any]]] = {
    "reasons": ("text", lambda one: "; ".join(map(str, one.reasons))),
    "regions": ("count", lambda one: len(one.regions)),
    "highest_x": ("count", lambda one: None if one.highest is None else one.highest.peak_at[0]),
    "highest_y": ("count", lambda one: None if one.highest is None else one.highest.peak_at[1]),
    "highest_value": ("number", lambda one: None if one.highest is None else one.highest.peak),
    "photo": ("text", lambda one: one.kept.photo),
    "photo_sha256": ("text", lambda one: one.kept.photo_sha256),
    "extras": ("text", lambda one: _compact(dict(one.extras)) if one.extras else None),
    "times_ms": ("text", lambda one: _compact(dict(one.times)) if one.times else None),
}
COLUMNS: dict[str, Kind] = {
    "id": "text",
    "at": "time",
    "station": "text",
    "source": "text",
    "serial": "text",
    "lot": "text",
    "category": "text",
    "recognised": "text",
    "judged_as": "text",
    "verdict": "text",
    "score": "number",
    "p_value": "number",
    "review_above": "number",
    "reject_above": "number",
    "map_limit": "number",
    "reasons": "text",
    "notice": "text",
    "regions": "count",
    "highest_x": "count",
    "highest_y": "count",
    "highest_value": "number",
    "width": "count",
    "height": "count",
    "model_id": "text",
    "brightness": "number",
    "sharpness": "number",
    "product_p": "number",
    "in_audit": "truth",
    "word": "text",
    "word_at": "time",
    "error": "text",
    "photo": "text",
    "photo_sha256": "text",
    "pictures_removed": "truth",
    "extras": "text",
    "times_ms": "text",
}
"""The columns, and what is in them."""


def csv_chunks(history: History, wanted: InspectionFilter) -> Iterator[bytes]:
    """UTF-8 with a line of headings; times as ISO 8601 in UTC, `true` and `false`, nothing where there is nothing.

    Args:
        history: Where they are.
        wanted: Which.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for batch in history.batches(wanted):
        for one in batch:
            writer.writerow([_cell(_value(one, name), kind) for name, kind in COLUMNS.items()])
        yield buffer.getvalue().encode("utf-8")
        buffer.seek(0)
        buffer.truncate()
    if rest := buffer.getvalue():
        yield rest.encode("utf-8")


def parquet_chunks(history: History, wanted: InspectionFilter) -> Iterator[bytes]:
    """A Parquet file with the same columns: times in UTC, numbers as numbers.

    Args:
        history: Where they are.
        wanted: Which.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ConfigError(
            "pyarrow must be installed for Parquet, got none. Run: pip install 'muad[parquet]', or ask for CSV."
        ) from None
    kinds = {
        "text": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "number": pa.float64(),
        "count": pa.int64(),
        "truth": pa.bool_(),
    }
    return _packed(history, wanted, pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()]), pa, parquet)


def _packed(history: History, wanted: InspectionFilter, schema: Any, pa: Any, parquet: Any) -> Iterator[bytes]:  # noqa: ANN401
    """The file's bytes as they are made."""
    made = io.BytesIO()
    sink = _Sink(made)
    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for batch in history.batches(wanted):
            for one in batch:
                for name, column in rows.items():
                    column.append(_value(one, name))
            if len(rows["id"]) >= _GROUP:
                writer.write_table(pa.table(rows, schema=schema))
                rows = {name: [] for name in COLUMNS}
            yield from sink.taken()
        if rows["id"]:
            writer.write_table(pa.table(rows, schema=schema))
        yield from sink.taken()
    yield from sink.taken()


class _Sink(io.RawIOBase):
    """A file that hands on what is written to it and forgets it."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__()
        self._buffer, self._passed = buffer, 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401
        """Take some."""
        return self._buffer.write(content)

    def tell(self) -> int:
        """How much has been written in all."""
        return self._passed + self._buffer.tell()

    def taken(self) -> Iterator[bytes]:
        """What has come since."""
        content = self._buffer.getvalue()
        if content:
            self._passed += len(content)
            self._buffer.seek(0)
            self._buffer.truncate()
            yield content


def _value(one: Inspection, name: str) -> Any:  # noqa: ANN401
    own = _OWN.get(name)
    return getattr(one, name) if own is None else own[1](one)


def _cell(value: Any, kind: Kind) -> str:  # noqa: ANN401
    """What stands in a cell of a table."""
    if value is None:
        return ""
    if kind == "text":
        text = str(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    if kind == "truth":
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return repr(value)
