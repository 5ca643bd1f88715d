"""What prediction writes: maps without loss or small, pictures of what was stopped, tables that stay whole."""

import csv
import json
import os
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from muad import Predictor
from muad.decisions.regions import find_regions
from muad.errors import ConfigError
from muad.outputs import earlier_results, find_images, write_png, write_predictions, write_tiff
from muad.outputs.maps import small_map


def test_a_written_map_is_the_predicted_one(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    seen: list[tuple[int, int]] = []
    rows = write_predictions(
        predictor,
        find_images([tiny_data / "pill_blister" / "test" / "good"]),
        tmp_path / "out",
        batch_size=2,
        category=None,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for row in rows:
        (expected,) = predictor.predict(row["path"])
        written = np.asarray(Image.open(tmp_path / "out" / row["map"]))
        np.testing.assert_allclose(written, expected.anomaly_map, rtol=1e-4, atol=1e-6)
        assert np.isnan(written[0]).all()


@pytest.mark.parametrize("map_format", ["tiff", "npy", "png"])
def test_maps_come_in_three_formats_and_results_as_json(
    map_format: str, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    predictor, out = Predictor(tiny_run, device="cpu"), tmp_path / "out"
    predictor.map_scale = (0.0, 0.1)  # low enough that there is something to outline
    sources = find_images([tiny_data / "pill_blister" / "test" / "stain"])
    (tmp_path / "broken.png").write_bytes(b"nothing")
    sources += find_images([tmp_path / "broken.png"])
    silent = {"batch_size": 2, "category": None, "progress": lambda *_: None}
    rows = write_predictions(predictor, sources, out, map_format=map_format, **silent)  # type: ignore[arg-type]
    entries = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [entry["path"] for entry in entries] == [row["path"] for row in rows]
    assert entries[-1]["error"] == rows[-1]["error"]
    entry = entries[0]
    (found,) = predictor.predict(entry["path"])
    assert found.anomaly_map is not None
    file = out / entry["map"]
    assert file.suffix == f".{map_format}"
    if map_format == "png":
        (low, high), levels = entry["map_range"], np.asarray(Image.open(file))
        assert levels.dtype == np.uint16
        written = np.where(levels == 0, np.nan, low + (levels.astype(float) - 1) * (high - low) / 65534)
        np.testing.assert_allclose(written, found.anomaly_map, atol=(high - low) / 65534)
    else:
        written = np.load(file) if map_format == "npy" else np.asarray(Image.open(file))
        np.testing.assert_allclose(written, found.anomaly_map, rtol=1e-4, atol=1e-6)
    assert entry["limit"] == 0.1
    expected = find_regions(found.anomaly_map, 0.1)
    assert entry["regions"]
    assert [region["area_px"] for region in entry["regions"]] == [region.area_px for region in expected]


def test_a_flat_map_is_written_too(tmp_path: Path) -> None:
    assert write_png(np.full((20, 20), 3.0, np.float32), tmp_path / "a.png") == (3.0, 3.0)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == 1).all()


def test_an_unknown_map_format_is_refused_before_anything_is_written(tiny_run: Path, tmp_path: Path) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    with pytest.raises(ConfigError, match="map_format must be one of tiff, npy, png, got 'exr'"):
        write_predictions(
            predictor, [], tmp_path / "out", batch_size=1, category=None, map_format="exr", progress=lambda *_: None
        )
    assert not (tmp_path / "out").exists()


def _limits(run: Path, score: float) -> None:
    tables = [
        f"[categories.{name}]\nreview = {score}\nreject = {score}\n" for name in ("pill_blister", "printed_board")
    ]
    (run / "limits.toml").write_text("".join(tables), encoding="utf-8")


def _silent(**how: Any) -> dict[str, Any]:
    return {"batch_size": 4, "category": None, "progress": lambda *_: None} | how


def test_only_what_is_stopped_leaves_pictures(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run, sources = copytree(tiny_run, tmp_path / "run"), find_images([tiny_data / "pill_blister" / "test"])
    scores = [found.score for found in Predictor(run, device="cpu").stream([source.path for source in sources])]
    _limits(run, float(np.median(scores)))
    predictor = Predictor(run, device="cpu")
    for save, expected in (("all", None), ("review", "reject"), ("reject", "reject"), ("none", "nothing")):
        rows = write_predictions(predictor, sources, tmp_path / save, save=save, **_silent())
        assert {row["verdict"] for row in rows} == {"pass", "reject"}
        for row in rows:
            kept = expected is None or row["verdict"] == expected
            assert (row["overlay"] is not None) == (row["map"] is not None) == kept
            assert all((tmp_path / save / row[name]).is_file() for name in ("overlay", "map") if row[name])


def test_without_verdict_or_of_an_unknown_product_counts_as_review(
    tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    predictor, sources = Predictor(tiny_run, device="cpu"), find_images([tiny_data / "pill_blister" / "test" / "good"])
    assert all(row["overlay"] for row in write_predictions(predictor, sources, tmp_path / "a", **_silent()))
    rows = write_predictions(predictor, sources, tmp_path / "b", save="reject", **_silent())
    assert not any(row["overlay"] for row in rows)


def test_maps_are_small_unless_asked_for_whole(tiny_run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 1200, 3), np.uint8)).save(tmp_path / "long.png")
    predictor, sources = Predictor(tiny_run, device="cpu"), find_images([tmp_path / "long.png"])
    (found,) = predictor.predict(tmp_path / "long.png")
    assert found.anomaly_map is not None
    sizes = {"small": [512, 128], "full": [1200, 300], "16-bit": [1200, 300], "none": None}
    for maps, size in sizes.items():
        (row,) = write_predictions(predictor, sources, tmp_path / maps, maps=maps, **_silent())
        (entry,) = json.loads((tmp_path / maps / "results.json").read_text(encoding="utf-8"))
        assert entry["map_px"] == size
        assert (row["map"] or "").endswith({"16-bit": ".png", "none": ""}.get(maps, ".tiff"))
    (row,) = write_predictions(predictor, sources, tmp_path / "by_format", map_format="npy", **_silent())
    np.testing.assert_array_equal(np.load(tmp_path / "by_format" / row["map"]), found.anomaly_map)
    small = np.asarray(Image.open(tmp_path / "small" / "maps" / "long.tiff"))
    for x, y in ((100, 40), (255, 64), (400, 90)):  # where the docstring says
        there = found.anomaly_map[round((y + 0.5) * 300 / 128 - 0.5), round((x + 0.5) * 1200 / 512 - 0.5)]
        assert small[y, x] == pytest.approx(there, abs=0.02 * float(np.nanmax(small)))
    with pytest.raises(ConfigError, match="map_format must be png or left out with maps 16-bit, got npy"):
        write_predictions(predictor, sources, tmp_path / "c", maps="16-bit", map_format="npy", **_silent())


def test_a_small_map_leaves_out_what_was_not_inspected() -> None:
    anomaly_map = np.full((1024, 2048), 2.0, np.float32)
    anomaly_map[:, :1001] = np.nan
    small = small_map(anomaly_map)
    assert small.shape == (256, 512)
    assert np.isnan(small[:, :250]).all()
    assert (small[:, 251:] == 2).all()


def test_exact_maps_take_little_room(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).random((28, 28), np.float32)
    anomaly_map = cv2.resize(coarse, (1000, 800), interpolation=cv2.INTER_LINEAR)
    write_tiff(anomaly_map, tmp_path / "a.tiff")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tiff")), anomaly_map)
    assert (tmp_path / "a.tiff").stat().st_size < anomaly_map.nbytes / 2


def test_overlays_of_large_photographs_are_jpeg(tiny_run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((1400, 1600, 3), 90, np.uint8)).save(tmp_path / "large.png")
    (row,) = write_predictions(
        Predictor(tiny_run, device="cpu"), find_images([tmp_path / "large.png"]), tmp_path / "out", **_silent()
    )
    assert row["overlay"] == "overlays/large.jpg"


def test_results_that_are_there_are_kept_added_to_or_replaced(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    photos, out = copytree(tiny_data / "pill_blister" / "test", tmp_path / "photos"), tmp_path / "out"
    predictor = Predictor(tiny_run, device="cpu")
    first = write_predictions(predictor, find_images([photos / "good"]), out, **_silent())
    with pytest.raises(ConfigError, match=r"must hold no results yet, got .*results.csv with 3 rows. Name another, or"):
        write_predictions(predictor, find_images([photos / "stain"]), out, **_silent())
    copyfile(photos / "stain" / "000.png", photos / "good" / "000.png")  # another photograph under a name of before
    earlier = earlier_results(out, "append")
    sources = find_images([photos / "good"], taken=earlier.names)
    again = earlier.unknown(sources)
    assert [source.path.name for source in again] == ["000.png"]
    second = write_predictions(predictor, again, out, used="append", **_silent())
    assert second[0]["overlay"] not in {row["overlay"] for row in first}
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [row["path"] for row in [*first, *second]]
    entries = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [entry["path"] for entry in entries] == [row["path"] for row in [*first, *second]]
    (out / "overlays" / "mine.txt").write_text("kept", encoding="utf-8")
    replaced = write_predictions(predictor, find_images([photos / "stain"]), out, used="overwrite", **_silent())
    names = {Path(str(row["overlay"])).name for row in replaced}
    assert {file.name for file in (out / "overlays").rglob("*") if file.is_file()} == names | {"mine.txt"}


def test_a_list_cut_by_a_crash_is_gone_on_with(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    predictor, out = Predictor(tiny_run, device="cpu"), tmp_path / "out"
    sources = find_images([tiny_data / "pill_blister" / "test" / "good"])
    write_predictions(predictor, sources[:2], out, **_silent())
    text = (out / "results.json").read_text(encoding="utf-8")
    (out / "results.json").write_text(text[: text.index("\n", 3) + 40], encoding="utf-8")
    with (out / "results.csv").open("a", encoding="utf-8") as file:
        file.write("half a ro")
    write_predictions(predictor, earlier_results(out, "append").unknown(sources), out, used="append", **_silent())
    entries = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [Path(entry["path"]).name for entry in entries] == ["000.png", "001.png", "002.png"]
    rows = (out / "results.csv").read_text(encoding="utf-8").splitlines()
    assert not any(row.startswith("half") for row in rows)


def test_a_name_that_is_no_text_is_written_as_far_as_it_can_be(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    source = tiny_data / "pill_blister" / "test" / "good" / "000.png"
    folder = tmp_path / "photos"
    folder.mkdir()
    copyfile(source, folder / os.fsdecode(b"a\xff:b\n.png"))
    (row,) = write_predictions(Predictor(tiny_run, device="cpu"), find_images([folder]), tmp_path / "out", **_silent())
    assert row["overlay"] == "overlays/a__b_.png"
    assert "a\\udcff:b" in (tmp_path / "out" / "results.csv").read_text(encoding="utf-8")
