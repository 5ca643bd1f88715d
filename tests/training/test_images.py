"""What a run fixes of its images at the start, and uses ever after."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pytest
from PIL import Image

from muad import Predictor
from muad.checkpoints.checkpoint import load_detector, read_config
from muad.configuration.run_config import RunConfig
from muad.errors import ConfigError
from muad.recognition.products import FACTS_FILE

TrainTiny = Callable[..., RunConfig]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Twelve-bit photographs of one product."""
    random, root = np.random.default_rng(0), tmp_path / "deep"
    for number in range(5):
        file = root / "bolt" / "good" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(800, 3300, (60, 64)).astype(np.uint16)).save(file)
    return root


@pytest.fixture
def roi(tmp_path: Path) -> Path:
    """The upper half of both products."""
    folder = tmp_path / "roi"
    folder.mkdir()
    for name in ("bolt", "cloth"):
        mask = np.zeros((30, 32), np.uint8)
        mask[:15] = 255
        Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


def test_the_value_range_is_found_once_and_kept_with_the_run(train_tiny: TrainTiny, tmp_path: Path, deep: Path) -> None:
    notes: list[str] = []
    config = train_tiny(tmp_path / "run", data=deep, note=notes.append)
    assert config.images.value_range is not None
    low, high = config.images.value_range
    assert 500 < low < 800
    assert 3300 < high < 3600
    assert any("more than 8 bits in 5 of 5 training images" in note for note in notes)
    assert read_config(tmp_path / "run").images.value_range == (low, high)
    train_tiny(tmp_path / "run", data=deep, resume=True)
    predictor = Predictor(tmp_path / "run", device="cpu")
    path = deep / "bolt" / "good" / "0.png"
    by_path = predictor.predict(path)[0]
    assert predictor.predict(np.asarray(Image.open(path)))[0].score == by_path.score
    brighter = np.minimum(np.asarray(Image.open(path)) * 1.3, 65535).astype(np.uint16)
    assert predictor.predict(brighter)[0].score != by_path.score  # the window does not follow the image
    (refused,) = predictor.predict(np.zeros((60, 64), bool))
    assert refused.error is not None
    assert refused.error.startswith("image must be a path")


def test_a_value_range_set_by_hand_stands(train_tiny: TrainTiny, tmp_path: Path, deep: Path) -> None:
    config = train_tiny(tmp_path / "run", "images.value_range=[0, 4095]", data=deep)
    assert config.images.value_range == (0, 4095)


def test_photographs_of_eight_bits_have_no_value_range(train_tiny: TrainTiny, tmp_path: Path) -> None:
    notes: list[str] = []
    assert train_tiny(tmp_path / "run", note=notes.append).images.value_range is None
    assert not any("8 bits" in note for note in notes)


def test_a_run_keeps_its_regions_of_interest_and_takes_them_along(
    train_tiny: TrainTiny, tmp_path: Path, roi: Path, photos: Path
) -> None:
    train_tiny(tmp_path / "run", f"images.roi_dir='{roi}'")
    copytree(tmp_path / "run", tmp_path / "moved")
    rmtree(tmp_path / "run")
    rmtree(roi)
    assert load_detector(tmp_path / "moved").preprocessing.interest is not None
    predictor = Predictor(tmp_path / "moved", device="cpu")
    path = photos / "bolt" / "test" / "scratch" / "007.png"
    (found,) = predictor.predict(path)
    assert found.anomaly_map is not None
    assert np.isnan(found.anomaly_map[30:]).all()
    assert not np.isnan(found.anomaly_map[:30]).any()
    below = np.asarray(Image.open(path)).copy()
    below[30:] = 255
    assert predictor.predict(below, category="bolt")[0].score == found.score
    (recognised,) = predictor.predict(below)
    assert recognised.anomaly_map is not None
    assert np.isnan(recognised.anomaly_map[30:]).all()
    (tmp_path / "moved" / FACTS_FILE).unlink()
    with pytest.raises(ConfigError, match="this run has one region of interest per category"):
        Predictor(tmp_path / "moved", device="cpu").predict(below)


def test_a_category_without_a_region_is_told_before_training(train_tiny: TrainTiny, tmp_path: Path, roi: Path) -> None:
    (roi / "cloth.png").unlink()
    with pytest.raises(ConfigError, match=r"without cloth\.png"):
        train_tiny(tmp_path / "run", f"images.roi_dir='{roi}'")
    assert not (tmp_path / "run").exists()


def test_one_detector_per_category_keeps_the_regions_too(train_tiny: TrainTiny, tmp_path: Path, roi: Path) -> None:
    train_tiny(tmp_path / "run", f"images.roi_dir='{roi}'", "training.mode=per_category")
    rmtree(roi)
    predictor = Predictor(tmp_path / "run", device="cpu")
    (found,) = predictor.predict(np.zeros((60, 64, 3), np.uint8), category="cloth")
    assert found.anomaly_map is not None
    assert np.isnan(found.anomaly_map).sum() == 30 * 64
