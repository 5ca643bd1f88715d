"""What one process of a job does, without Ray."""

import csv
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from muad.errors import MuadError
from muad.outputs import find_images, write_predictions
from muad.outputs.tables import COLUMNS
from muad.runtime.computing import Acceleration
from muad.runtime.predictor import Predictor
from muad.scale.job import JobFolder
from muad.scale.judge import PartJudge, Work, counted_of, parquet_of
from muad.scale.listing import Listed, list_images

ONNX = Acceleration(backend="onnx", precision="fp32")


def _judge(bundle: Path, images: Sequence[Listed], out: str, **how: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    JobFolder(out)
    judge = PartJudge(bundle.read_bytes(), Work(out=out, acceleration=ONNX, **how))
    told = judge({"part": 0, "images": json.dumps([(one.address, one.name, one.category) for one in images])})
    if told["fault"] or told["bug"]:
        return told, []
    return told, parquet.read_table(f"{out.removeprefix('file://')}/parts/part-000000.parquet").to_pylist()


def test_rows_and_pictures_are_those_of_one_process(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    wanted = write_predictions(
        Predictor(patch_bundle, acceleration=ONNX), find_images([many]), whole,
        batch_size=4, category=None, progress=lambda *_: None, save="all",
    )  # fmt: skip
    told, rows = _judge(
        patch_bundle, list_images([str(many)], str(parts)).images, str(parts),
        batch_size=4, pictures=("all", "small", "tiff"),
    )  # fmt: skip
    assert rows == [{name: row[name] for name in COLUMNS} for row in wanted]
    assert sum(count for _, _, count in json.loads(told["verdicts"])) == told["images"] == 26
    for name in ("overlays", "maps"):
        drawn = sorted(file.relative_to(whole) for file in (whole / name).rglob("*.*"))
        assert len(drawn) == 24
        assert all((whole / file).read_bytes() == (parts / file).read_bytes() for file in drawn)


def test_addresses_are_judged_as_files_are(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    files = list_images([str(many)], "out").images
    addresses = list_images([f"file://{many}"], "out").images
    _, plain = _judge(patch_bundle, files, str(tmp_path / "a"))
    _, rows = _judge(patch_bundle, addresses, f"file://{tmp_path}/b")
    by_path = {f"file://{row['path']}": row for row in plain}
    assert len(rows) == len(plain) == 26
    for row in rows:
        same = by_path[row["path"]]
        assert {name: row[name] for name in COLUMNS[1:9]} == {name: same[name] for name in COLUMNS[1:9]}
        assert (row["error"] is None) == (same["error"] is None)


def test_pictures_go_to_an_address(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    images = list_images([str(many / "bolt" / "000.png")], "out").images
    out = f"memory://{tmp_path.name}/out"
    JobFolder(out)
    judge = PartJudge(patch_bundle.read_bytes(), Work(out=out, acceleration=ONNX, pictures=("all", "full", "npy")))
    judge({"part": 5, "images": json.dumps([(one.address, one.name, one.category) for one in images])})
    folder = JobFolder(out)
    assert folder.finished() == {5}
    assert folder.read("overlays/000.png").startswith(b"\x89PNG")
    assert folder.read("maps/000.npy").startswith(b"\x93NUMPY")


def test_what_cannot_be_judged_has_its_reason_and_the_others_are_judged(
    patch_bundle: Path, many: Path, tmp_path: Path
) -> None:
    good = str(many / "bolt" / "000.png")
    images = [
        Listed(address=address, name=f"{number}", category=category)
        for number, (address, category) in enumerate(
            [(good, "screw"), (f"file://{many}/missing.png", None), ("s4://x/y.png", None), (good, "cloth"),
             (str(many / "gone\udcff.png"), None), (good, None)]
        )
    ]  # fmt: skip
    told, rows = _judge(patch_bundle, images, str(tmp_path / "out"))
    errors = [row["error"] for row in rows]
    assert "category must be one of bolt, cloth, got 'screw'" in errors[0]
    assert "missing.png must be one that can be read" in errors[1]
    assert "s4://x/y.png must be one that can be read" in errors[2]
    assert errors[3] is errors[5] is None
    assert rows[4]["path"].endswith("gone\\udcff.png")
    assert [row["category"] for row in rows] == ["screw", None, None, "cloth", None, "bolt"]
    assert ["screw", "not predicted", 1] in json.loads(told["verdicts"])


def test_a_place_that_cannot_be_written_is_told_and_is_no_bug(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    JobFolder(str(out))
    judge = PartJudge(patch_bundle.read_bytes(), Work(out=str(out), acceleration=ONNX))
    (out / "parts").rmdir()
    (out / "parts").write_bytes(b"")
    told = judge({"part": 0, "images": json.dumps([(str(many / "bolt" / "000.png"), "a", None)])})
    assert told["bug"] == ""
    assert told["fault"].startswith(f"out must be a place that can be written, got {out}")


def test_bytes_that_are_no_bundle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MuadError, match="bundle"):
        PartJudge(b"no bundle", Work(out=str(tmp_path), acceleration=ONNX))


def test_a_part_is_counted_as_it_was_written(many: Path) -> None:
    empty = dict.fromkeys(COLUMNS)
    rows = [empty | {"category": "bolt", "verdict": "pass"}] * 2 + [empty | {"error": "no image"}]
    content = parquet_of(rows)
    assert counted_of(content) == (3, [("-", "not predicted", 1), ("bolt", "pass", 2)])
    for broken in (content[:-9], content[:40], b""):
        with pytest.raises((OSError, ValueError)):
            counted_of(broken)


def test_columns_are_those_of_the_table(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    write_predictions(
        Predictor(patch_bundle, acceleration=ONNX), find_images([many / "other"]), tmp_path / "out",
        batch_size=4, category=None, progress=lambda *_: None,
    )  # fmt: skip
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    schema = parquet.read_schema(BytesIO(parquet_of([])))
    assert schema.names == header


def test_a_part_that_judges_die_of_is_left_out_after_four_tries(patch_bundle: Path, many: Path, tmp_path: Path) -> None:
    folder = JobFolder(str(tmp_path))
    images = list_images([str(many / "bolt" / "000.png")], "out").images
    (tmp_path / "parts" / ".000000.begun.partial").write_text("3", encoding="utf-8")
    assert not _judge(patch_bundle, images, str(tmp_path))[0]["died"]
    assert sorted(file.name for file in (tmp_path / "parts").iterdir()) == ["part-000000.parquet"]
    (tmp_path / "parts" / ".000001.begun.partial").write_text("4", encoding="utf-8")
    judge = PartJudge(patch_bundle.read_bytes(), Work(out=str(tmp_path), acceleration=ONNX))
    assert judge({"part": 1, "images": "[]"})["died"]
    folder.clear_drafts()  # the next call tries again
    assert not judge({"part": 1, "images": "[]"})["died"]
