import csv
import io
import tracemalloc
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from muad.service.history import InspectionFilter
from muad.service.history.upkeep.export import COLUMNS, csv_chunks, parquet_chunks


def read_csv(history, wanted):
    text = b"".join(csv_chunks(history, wanted)).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def read_parquet(history, wanted):
    return parquet.read_table(pa.BufferReader(b"".join(parquet_chunks(history, wanted))))


def test_both_tables_say_the_same_of_what_was_asked_for(history, inspect, full_inspection):
    history.record([full_inspection, inspect(serial="2", score=None, verdict="error"), inspect(lot="other")])
    history.add_word(full_inspection.id, who="anna", word="bad")
    wanted = InspectionFilter(verdicts=("reject", "error"))
    rows, packed = read_csv(history, wanted), read_parquet(history, wanted).to_pylist()
    assert [row["id"] for row in rows] == [row["id"] for row in packed] == [one.id for one in history.stream(wanted)]
    first, second = packed
    assert list(first) == list(rows[0]) == list(COLUMNS)
    assert first["score"] == float(rows[0]["score"]) == 0.1 + 0.2
    assert first["at"] == datetime.fromisoformat(rows[0]["at"]) == full_inspection.at
    assert (rows[0]["in_audit"], rows[0]["word"], rows[0]["highest_x"]) == ("true", "bad", "5")
    assert rows[0]["reasons"] == "too dark (brightness 12.5, at least 40); looks odd"
    assert first["extras"] == rows[0]["extras"] == '{"shift":"früh","<script>":"alert(1)"}'
    assert (rows[1]["score"], second["score"]) == ("", None)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0"])
def test_a_cell_of_the_csv_is_never_a_formula(sqlite_history, inspect, text):
    sqlite_history.record([inspect(serial=text, score=-1.5)])
    (row,) = read_csv(sqlite_history, InspectionFilter())
    assert row["serial"] == f"'{text}"
    assert row["score"] == "-1.5"
    assert read_parquet(sqlite_history, InspectionFilter())["serial"].to_pylist() == [text]


def test_quotes_commas_and_lines_stay_in_their_cell(sqlite_history, inspect):
    sqlite_history.record([inspect(serial='a",b\r\nc;d', lot="é\u2028")])
    (row,) = read_csv(sqlite_history, InspectionFilter())
    assert (row["serial"], row["lot"]) == ('a",b\r\nc;d', "é\u2028")


def test_nothing_found_is_a_table_without_rows(sqlite_history):
    assert read_csv(sqlite_history, InspectionFilter()) == []
    assert read_parquet(sqlite_history, InspectionFilter()).num_rows == 0


def test_a_long_table_comes_in_pieces_and_takes_no_more_memory(sqlite_history, inspect):
    for _ in range(3):
        sqlite_history.record([inspect(serial="s" * 150) for _ in range(1000)])
    tracemalloc.start()
    sizes = [len(chunk) for chunk in csv_chunks(sqlite_history, InspectionFilter())]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sizes) >= 3
    assert peak < 20e6, "a thousand inspections are about 8 MB"
    packed = read_parquet(sqlite_history, InspectionFilter())
    assert packed.num_rows == 3000
    assert all(one <= next_one for one, next_one in pairwise(packed["at"].to_pylist()))
    assert packed.schema.field("at").type == pa.timestamp("us", tz="UTC")


def test_what_is_recorded_while_a_table_is_read_is_left_out(sqlite_history, inspect):
    sqlite_history.record([inspect() for _ in range(1001)])
    chunks = csv_chunks(sqlite_history, InspectionFilter())
    text = next(chunks)
    sqlite_history.record([inspect(at=datetime(2027, 1, 1, tzinfo=UTC))])
    text += b"".join(chunks)
    assert text.count(b"\r\n") == 1002
