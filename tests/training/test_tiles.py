"""Tiles and letterbox: the same in training and prediction, exact with kept features and when resumed."""

import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from muad import Predictor, evaluate
from muad.checkpoints.checkpoint import load_detector, read_config
from muad.configuration.run_config import RunConfig
from muad.encoders.kept_features import cached_sets
from muad.errors import ConfigError

TrainTiny = Callable[..., RunConfig]
TILES = ("images.tiles=[2, 2]", "images.tile_overlap=0.25", "images.fit=letterbox")


def losses(run: Path) -> torch.Tensor:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return torch.tensor([json.loads(line)["loss"] for line in lines])


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_kept_features_of_tiles_give_the_losses_of_the_tiles(
    train_tiny: TrainTiny, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "kept"))
    notes: list[str] = []
    train_tiny(tmp_path / "without", *TILES)
    train_tiny(tmp_path / "with", *TILES, f"training.cache={place}", note=notes.append)
    assert torch.allclose(losses(tmp_path / "with"), losses(tmp_path / "without"), rtol=1e-5)
    train_tiny(tmp_path / "whole", f"training.cache={place}")
    assert not torch.allclose(losses(tmp_path / "whole"), losses(tmp_path / "with"), rtol=1e-2)
    assert [kept.images for kept in cached_sets()] == ([10, 10] if place == "disk" else [])
    if place == "disk":
        sizes = sorted(kept.bytes for kept in cached_sets())
        assert sizes[1] == 4 * sizes[0]


def test_a_resumed_run_sees_the_tiles_it_would_have_seen(train_tiny: TrainTiny, tmp_path: Path) -> None:
    class CrashError(Exception):
        pass

    def crash(what: str, done: int, *_: object) -> None:
        if (what, done) == ("train", 8):
            raise CrashError

    train_tiny(tmp_path / "whole", *TILES)
    with pytest.raises(CrashError):
        train_tiny(tmp_path / "parts", *TILES, progress=crash)
    train_tiny(tmp_path / "parts", *TILES, resume=True)
    whole, parts = (load_detector(tmp_path / name).trainable_state() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(ConfigError, match=r"images\.tiles must stay \[2, 2\] to resume this run, got \[1, 2\]"):
        train_tiny(tmp_path / "parts", *TILES[1:], "images.tiles=[1, 2]", resume=True)


@pytest.fixture(scope="module")
def tiled_run(tiny_recipe: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from muad import train

    run = tmp_path_factory.mktemp("tiled") / "run"
    train(photos, run, recipe=tiny_recipe, overrides=TILES, device="cpu")
    return run


def test_a_tiled_run_maps_every_pixel_whatever_the_batch(tiled_run: Path) -> None:
    predictor = Predictor(tiled_run, device="cpu")
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, (*size, 3), np.uint8) for size in ((60, 64), (40, 200), (301, 77))]
    alone = [predictor.predict(image, batch_size=1)[0] for image in images]
    for image, one, other in zip(images, alone, predictor.predict(images, batch_size=16), strict=True):
        assert one.anomaly_map is not None
        assert one.anomaly_map.shape == image.shape[:2]
        assert not np.isnan(one.anomaly_map).any()
        assert other.score == pytest.approx(one.score, rel=1e-5)
        np.testing.assert_allclose(other.anomaly_map, one.anomaly_map, rtol=1e-4, atol=1e-6)


def test_the_score_of_an_image_is_that_of_its_worst_tile(tiled_run: Path) -> None:
    detector, predictor = load_detector(tiled_run), Predictor(tiled_run, device="cpu")
    image = np.random.default_rng(1).integers(0, 255, (80, 80, 3), np.uint8)
    tiles = torch.from_numpy(detector.preprocessing.normalise(detector.preprocessing.views(image)))
    (found,) = predictor.predict(image)
    assert found.score == pytest.approx(detector.predict(tiles).score.max().item(), rel=1e-5)


@pytest.mark.parametrize("protocol", ["dinomaly", "exact"])
def test_a_tiled_run_is_measured_on_maps_of_whole_images(tiled_run: Path, photos: Path, protocol: str) -> None:
    report = evaluate(tiled_run, photos, protocol=protocol, device="cpu", batch_size=3)
    assert report.images == 8
    assert all(figures.pixel_aupro is not None for figures in report.categories.values())


def test_the_settings_are_kept_with_the_run(tiled_run: Path) -> None:
    images = read_config(tiled_run).images
    assert (images.tiles, images.tile_overlap, images.fit) == ((2, 2), 0.25, "letterbox")
    assert load_detector(tiled_run).preprocessing.count == 4


def test_a_stream_of_tiled_images_holds_few_of_them_and_training_says_how_much(
    train_tiny: TrainTiny, tmp_path: Path
) -> None:
    notes: list[str] = []
    train_tiny(tmp_path / "run", *TILES, note=notes.append)
    assert any("tiles: 2 x 2 of each image" in note and "MiB" in note for note in notes)
    given: list[weakref.ref[np.ndarray]] = []

    def camera() -> Iterator[np.ndarray]:
        for number in range(30):
            image = np.full((40, 40, 3), number, np.uint8)
            given.append(weakref.ref(image))
            yield image

    most = 0
    for found in Predictor(tmp_path / "run", device="cpu").stream(camera(), batch_size=4):
        most = max(most, sum(image() is not None for image in given))
        del found
    assert len(given) == 30
    assert most <= 4  # one photograph is a batch of four tiles: it, the next one, and what threads have in hand
