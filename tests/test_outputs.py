"""What prediction writes: names that stay apart, overlays on one scale, maps without loss."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad import Predictor
from muad.errors import ConfigError, DataError
from muad.outputs import draw_overlay, find_images, write_png, write_predictions
from muad.regions import find_regions

GREY = np.full((20, 30, 3), 100, np.uint8)


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _names(*paths: Path) -> list[str]:
    return [source.name.as_posix() for source in find_images(paths)]


def test_a_folder_is_searched_through_and_names_are_relative_to_it(tmp_path: Path) -> None:
    _touch(tmp_path, "b/2.PNG", "b/1.jpg", "a.bmp", "notes.txt", ".hidden/3.png", ".4.png")
    assert _names(tmp_path) == ["a", "b/1", "b/2"]


def test_images_of_several_folders_keep_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "line1/0001.png", "line2/0001.png", "line2/good/0001.png")
    assert _names(tmp_path / "line1", tmp_path / "line2") == ["line1/0001", "line2/0001", "line2/good/0001"]
    assert _names(tmp_path / "line2" / "0001.png", tmp_path / "line1" / "0001.png") == ["line2/0001", "line1/0001"]
    assert _names(tmp_path / "line1" / "0001.png") == ["0001"]


def test_images_that_differ_in_their_ending_alone_keep_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "1.bmp", "1.png", "1.png.bmp")
    names = _names(tmp_path)
    assert names == ["1", "1.png", "1.png.bmp"]
    assert len(set(names)) == 3


def test_an_image_named_twice_is_predicted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    assert _names(Path("2.png"), Path(), tmp_path / "1.png") == ["2", "1"]


def test_a_file_given_by_name_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    _touch(tmp_path, "camera.raw")
    assert _names(tmp_path / "camera.raw") == ["camera"]


def test_a_missing_path_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "empty/notes.txt", "1.png")
    with pytest.raises(DataError, match="must be an existing image or folder"):
        find_images([tmp_path / "1.png", tmp_path / "2.png"])
    with pytest.raises(DataError, match="must hold images"):
        find_images([tmp_path / "1.png", tmp_path / "empty"])


def test_an_overlay_leaves_the_photograph_as_it_is_where_nothing_is_anomalous() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(draw_overlay(image, np.full((20, 30), 0.5, np.float32), (0.5, 1.0)), image)
    np.testing.assert_array_equal(draw_overlay(image, np.zeros((20, 30), np.float32), (0.5, 1.0)), image)


def test_an_overlay_is_on_the_same_scale_for_all_images() -> None:
    anomaly_map = np.full((20, 30), 0.2, np.float32)
    anomaly_map[5, 5] = 0.6
    beside = anomaly_map.copy()
    beside[10, 10] = 9.0
    one, other = draw_overlay(GREY, anomaly_map, (0.2, 1.0)), draw_overlay(GREY, beside, (0.2, 1.0))
    np.testing.assert_array_equal(one[5, 5], other[5, 5])
    assert (one[5, 5] != GREY[5, 5]).any()


def test_an_overlay_turns_from_yellow_to_red_and_keeps_the_part_visible() -> None:
    anomaly_map = np.broadcast_to(np.linspace(0, 1, 30, dtype=np.float32), (20, 30))
    row = draw_overlay(GREY, anomaly_map, (0.0, 1.0))[0].astype(int)
    assert (np.diff(np.abs(row - 100).sum(axis=1)) >= 0).all()  # ever further from the photograph
    assert row[-1, 0] > 200 > 100 > row[-1, 1]
    assert row[12, 1] > row[12, 2]
    assert (draw_overlay(GREY + 100, anomaly_map, (0.0, 1.0))[0, -1] > row[-1]).all()


def test_an_overlay_darkens_what_was_never_looked_at() -> None:
    anomaly_map = np.zeros((20, 30), np.float32)
    anomaly_map[:4] = np.nan
    overlay = draw_overlay(GREY, anomaly_map, (0.0, 1.0))
    assert (overlay[:4] == 45).all()
    assert (overlay[4:] == 100).all()


def test_without_a_scale_the_range_of_the_map_is_taken() -> None:
    anomaly_map = np.full((20, 30), 3.0, np.float32)
    np.testing.assert_array_equal(draw_overlay(GREY, anomaly_map), GREY)
    anomaly_map[0, 0] = 4.0
    assert draw_overlay(GREY, anomaly_map)[0, 0, 0] > 200


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
