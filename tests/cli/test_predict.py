"""`muad predict`: results, pictures, and going on past what cannot be read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

COLUMNS = ["path", "category", "recognised", "score", "verdict", "reason", "p_value", "width", "height"]
COLUMNS += ["map", "overlay", "notice", "error"]


@pytest.fixture
def photos(tiny_data: Path, tmp_path: Path) -> Path:
    """Three images that can be read and three that cannot."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, source in enumerate(sorted((tiny_data / "pill_blister" / "test").glob("*/000.png"))[:3]):
        copyfile(source, folder / f"{number}.PNG")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no image", encoding="utf-8")
    Image.new("RGB", (8, 40)).save(folder / "tiny.png")
    return folder


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def test_what_can_be_read_is_predicted_and_the_rest_is_reported(
    muad: Callable[..., Any], tiny_run: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = muad("predict", tiny_run, photos, "--out", out, "--batch-size", "2", "--device", "cpu")
    assert done.code == 0, done.err
    assert done.out == ""
    assert "3 images predicted, 3 not" in done.err
    rows = {Path(row["path"]).name: row for row in _rows(out)}
    assert sorted(rows) == ["0.PNG", "1.PNG", "2.PNG", "empty.jpg", "text.png", "tiny.png"]
    for name in ("0.PNG", "1.PNG", "2.PNG"):
        assert float(rows[name]["score"]) > 0
        assert rows[name]["error"] == ""
        assert (rows[name]["width"], rows[name]["height"]) == ("64", "64")
        overlay = np.asarray(Image.open(out / rows[name]["overlay"]))
        assert overlay.shape[0] > 64 < overlay.shape[1]  # with its band
        anomaly_map = np.asarray(Image.open(out / rows[name]["map"]))
        assert anomaly_map.shape == (64, 64)
        assert anomaly_map.dtype == np.float32
    for name, told in (("empty.jpg", "0 bytes"), ("text.png", "must be an image"), ("tiny.png", "at least 16 px")):
        assert rows[name]["score"] == ""
        assert told in rows[name]["error"]
        assert f"not predicted: {rows[name]['error']}" in done.err


def test_json_is_all_there_is_on_stdout(
    muad: Callable[..., Any], tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = tiny_data / "printed_board" / "test" / "good"
    rows = json.loads(muad("predict", tiny_run, folder, "--out", tmp_path / "out", "--json").out)
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert {row["category"] for row in rows} == {"printed_board"}
    written = _rows(tmp_path / "out")
    assert [float(row["score"]) for row in written] == [row["score"] for row in rows]


def test_a_detector_per_category_is_chosen_by_folder_or_option(
    muad: Callable[..., Any], tiny_runs: Path, tiny_data: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tiny_data / "pill_blister" / "test" / "good"
    by_folder = json.loads(muad("predict", tiny_runs, folder, "--out", tmp_path / "a", "--json").out)
    assert {row["category"] for row in by_folder} == {"pill_blister"}
    given = muad("predict", tiny_runs, folder, "--out", tmp_path / "b", "--category", "printed_board", "--json")
    assert [row["score"] for row in json.loads(given.out)] != [row["score"] for row in by_folder]
    unnamed = Path(copytree(tiny_runs, tmp_path / "run"))
    (unnamed / "products.toml").unlink()
    fault = muad("predict", unnamed, photos, "--out", tmp_path / "c").error
    assert "Name one of pill_blister, printed_board" in fault
    assert not (tmp_path / "c").exists()


def test_what_is_recognised_and_disagreements_are_in_the_table_and_told(
    muad: Callable[..., Any], tiny_runs: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = copytree(tiny_data / "printed_board" / "test" / "good", tmp_path / "camera")
    done = muad("predict", tiny_runs, folder, "--out", tmp_path / "a", "--json")
    for row in json.loads(done.out):
        assert (row["category"], row["recognised"], row["notice"]) == ("printed_board", "printed_board", None)
    done = muad("predict", tiny_runs, folder, "--out", tmp_path / "b", "--category", "pill_blister")
    for row in _rows(tmp_path / "b"):
        assert (row["category"], row["recognised"]) == ("pill_blister", "printed_board")
        assert f"{row['path']}: {row['notice']}" in done.err
        assert row["reason"].startswith("looks like printed_board (p-value ")
    assert "3 of the images do not pass, whatever their score: 3 looks like printed_board (column reason)" in done.err


def test_an_unknown_category_is_told_before_anything_is_written(
    muad: Callable[..., Any], tiny_run: Path, tiny_runs: Path, photos: Path, tmp_path: Path
) -> None:
    for run in (tiny_run, tiny_runs):
        fault = muad("predict", run, photos, "--out", tmp_path / "out", "--category", "screw").error
        assert fault == "category must be one of pill_blister, printed_board, got 'screw'."
        assert not (tmp_path / "out").exists()


def test_paths_without_images_are_told(muad: Callable[..., Any], tiny_run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "out")
    assert "must be an existing image or folder" in muad("predict", tiny_run, photos, tmp_path / "no.png", *out).error
    assert "must hold images" in muad("predict", tiny_run, tmp_path / "empty", *out).error
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_told(
    muad: Callable[..., Any], tiny_run: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        assert f"output folder must be writable, got {out}" in muad("predict", tiny_run, photos, "--out", out).error


def test_rows_already_written_stay_when_writing_fails(
    muad: Callable[..., Any], tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """A file lies where the second image's overlay should go."""
    out = tmp_path / "out"
    (out / "overlays" / "001.png").mkdir(parents=True)
    folder = tiny_data / "printed_board" / "test" / "good"
    fault = muad("predict", tiny_run, folder, "--out", out, "--batch-size", "1").error
    assert "1 of 3 images are done and stay." in fault
    assert [Path(row["path"]).name for row in _rows(out)] == ["000.png"]
    assert (out / "overlays" / "000.png").is_file()


def test_a_used_output_folder_is_refused_and_can_be_added_to_or_replaced(
    muad: Callable[..., Any], tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out, good = tmp_path / "out", tiny_data / "printed_board" / "test" / "good"
    muad("predict", tiny_run, good / "000.png", "--out", out)
    fault = muad("predict", tiny_run, good, "--out", out).error
    assert "results.csv with 1 row. Name another, or add to it with --append, or replace it with --overwrite." in fault
    assert len(_rows(out)) == 1
    done = muad("predict", tiny_run, good, "--out", out, "--append")
    assert "1 of 3 images are in" in done.err
    assert "2 images predicted, 0 not" in done.err
    assert len(_rows(out)) == 3
    done = muad("predict", tiny_run, good, "--out", out, "--append")
    assert (done.code, len(_rows(out))) == (0, 3)
    muad("predict", tiny_run, good / "001.png", "--out", out, "--overwrite")
    assert [Path(row["path"]).name for row in _rows(out)] == ["001.png"]
    assert "together" in muad("predict", tiny_run, good, "--out", out, "--overwrite", "--append").error


def test_when_no_image_can_be_read_it_is_an_error(muad: Callable[..., Any], tiny_run: Path, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").write_text("no image", encoding="utf-8")
    done = muad("predict", tiny_run, tmp_path, "--out", tmp_path / "out")
    assert "images must hold at least one that can be read, got none of 7" in done.error
    assert "2 more not predicted" in done.err
    assert len(_rows(tmp_path / "out")) == 7
    assert "a device or pipe" in muad("predict", tiny_run, "/dev/null", "--out", tmp_path / "b").error


def test_results_among_the_photographs_are_not_predicted_the_next_time(
    muad: Callable[..., Any], tiny_run: Path, photos: Path
) -> None:
    muad("predict", tiny_run, photos, "--out", photos)
    assert "6 of 6 images are in" in muad("predict", tiny_run, photos, "--out", photos, "--append").err
    muad("predict", tiny_run, photos, "--out", photos / "again", "--save", "all", "--maps", "16-bit")
    assert len(_rows(photos / "again")) == 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--save", "some"), "save must be one of all, review, reject, none, got 'some'"),
        (("--maps", "large"), "maps must be one of none, small, full, 16-bit, got 'large'"),
        (("--maps", "16-bit", "--map-format", "tiff"), "map_format must be png or left out with maps 16-bit"),
    ],
)
def test_pictures_that_do_not_exist_are_refused(
    options: tuple[str, ...], told: str, muad: Callable[..., Any], tiny_run: Path, photos: Path, tmp_path: Path
) -> None:
    assert told in muad("predict", tiny_run, photos, "--out", tmp_path / "out", *options).error
    assert not (tmp_path / "out").exists()


def test_there_is_a_page_to_leaf_through_also_of_what_was_appended(
    muad: Callable[..., Any], tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out, good = tmp_path / "out", tiny_data / "printed_board" / "test" / "good"
    done = muad("predict", tiny_run, good / "000.png", "--out", out)
    assert str(out / "results.html") in done.err
    muad("predict", tiny_run, good, "--out", out, "--append")
    text = (out / "results.html").read_text(encoding="utf-8")
    assert all(f"good/{name}.png" in text for name in ("000", "001", "002"))


def test_what_to_do_next_comes_last_and_on_stderr(
    muad: Callable[..., Any], tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    done = muad("predict", tiny_run, tiny_data / "pill_blister" / "test" / "good", "--out", tmp_path / "out", "--json")
    assert "what to do next\n  1. No limits for pill_blister, printed_board" in done.err
    assert "what to do next" not in done.out
