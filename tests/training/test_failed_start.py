"""A run that fails before anything was computed leaves nothing that looks like a run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from muad.errors import CheckpointError, ConfigError, DataError, MuadError
from muad.training.runlog import TrainingError

TrainTiny = Callable[..., object]


@pytest.mark.parametrize("mode", ["multi_class", "per_category"])
def test_no_folder_is_left_of_a_start_that_failed(train_tiny: TrainTiny, tmp_path: Path, mode: str) -> None:
    with pytest.raises(CheckpointError, match="encoder weights must be an existing file"):
        train_tiny(
            tmp_path / "run",
            f"training.mode={mode}",
            'detector.encoder.name="custom"',
            'detector.encoder.weights="nowhere.safetensors"',
        )
    assert list(tmp_path.iterdir()) == []


def test_what_was_in_the_folder_stays(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    run = tmp_path / "run"
    (run / "categories").mkdir(parents=True)
    (run / "categories/mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(MuadError):
        train_tiny(run, 'detector.encoder.name="custom"', 'detector.encoder.weights="nowhere.safetensors"')
    assert [path.relative_to(run).as_posix() for path in run.rglob("*")] == ["categories", "categories/mine.txt"]


def test_a_damaged_image_before_the_first_step_leaves_nothing(
    train_tiny: TrainTiny, tmp_path: Path, photos: Path
) -> None:
    data = tmp_path / "photos"
    shutil.copytree(photos, data)
    for file in data.glob("*/train/good/*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="must be an image"):
        train_tiny(tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


def test_what_was_computed_is_kept(train_tiny: TrainTiny, tmp_path: Path) -> None:
    def fail(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "train" and done == 2:
            raise TrainingError("loss must be finite, got nan at step 2.")

    with pytest.raises(TrainingError):
        train_tiny(tmp_path / "run", progress=fail)
    assert (tmp_path / "run/metrics.jsonl").is_file()
    assert (tmp_path / "run/run.json").is_file()


@pytest.mark.parametrize("place", ["a" * 300, "file", "file/run"])
def test_a_place_no_run_can_be_in_is_one_line(train_tiny: TrainTiny, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises((CheckpointError, ConfigError), match="run folder must"):
        train_tiny(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
