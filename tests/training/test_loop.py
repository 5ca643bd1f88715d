"""Training as a whole, on data that are not perfect."""

import itertools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from muad import api
from muad.checkpoints.checkpoint import load_detector
from muad.errors import CheckpointError, DataError
from muad.optim import warmup_cosine_rate
from muad.runs.folder import read_run
from muad.runtime.predictor import Predictor

TrainTiny = Callable[..., object]
BAD = {"bolt/train/good/001.png": b"", "bolt/train/good/003.png": None, "cloth/train/good/000.png": b"just text\n"}


def column(run: Path, key: str) -> list[float]:
    return [json.loads(line)[key] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def spoilt(photos: Path, tmp_path: Path) -> Path:
    """The photographs with an empty file, a truncated one and a text file that is called .png among them."""
    data = tmp_path / "spoilt"
    shutil.copytree(photos, data)
    for name, content in BAD.items():
        whole = (data / name).read_bytes()
        (data / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    return data


def test_loss_falls(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", "schedule.total_steps=40", "detector.dropout_rate=0.0")
    loss = column(tmp_path / "run", "loss")
    assert np.mean(loss[-5:]) < 0.5 * np.mean(loss[:3])


def test_the_learning_rate_is_the_schedules(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run")
    expected = [warmup_cosine_rate(step, total_steps=12, warmup_steps=2, peak=2e-3, final=2e-4) for step in range(12)]
    assert column(tmp_path / "run", "learning_rate") == pytest.approx(expected, rel=1e-12)
    assert expected[0] == 0.0


def test_a_step_at_rate_zero_moves_nothing(train_tiny: TrainTiny, tmp_path: Path) -> None:
    """Weights after the first step of the warm-up are the initial ones, which are the seed's."""
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_tiny(tmp_path / name, "schedule.total_steps=1", "schedule.warmup_steps=1", f"training.seed={seed}")
        weights.append(load_file(tmp_path / name / "checkpoints/00000001/weights.safetensors"))
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    assert not weights[0]["bottleneck.fc1.weight"].equal(weights[2]["bottleneck.fc1.weight"])
    assert weights[0]["bottleneck.fc1.weight"].abs().max() <= 0.03


def test_an_unreadable_image_stops_the_run_by_name(train_tiny: TrainTiny, tmp_path: Path, spoilt: Path) -> None:
    names = "|".join(Path(name).name for name in BAD)
    before = set(threading.enumerate())
    with pytest.raises(DataError, match=rf"({names}).*Or train with --skip-bad"):
        train_tiny(tmp_path / "run", data=spoilt)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("muad-read")]


@pytest.mark.parametrize("batch_size", [4, 20])
def test_bad_images_are_named_once_and_left_out(
    train_tiny: TrainTiny, tmp_path: Path, spoilt: Path, batch_size: int
) -> None:
    """Also with a batch larger than the data set, where several threads meet the same file at once."""
    notes: list[str] = []
    train_tiny(
        tmp_path / "run", "training.skip_bad=true", f"training.batch_size={batch_size}", data=spoilt, note=notes.append
    )
    left_out = [note for note in notes if note.startswith("left out of training: ")]
    assert len(left_out) == len(BAD)
    for name in BAD:
        assert sum(name in note for note in left_out) == 1, name
    assert read_run(tmp_path / "run")["finished"]


def test_nothing_but_bad_images_is_an_error(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    for file in data.glob("*/train/good/*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="training images must be readable, got 10 that are not"):
        train_tiny(tmp_path / "run", "training.skip_bad=true", data=data)


def test_one_detector_per_category(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    run = tmp_path / "run"
    seen: list[tuple[str, int]] = []
    train_tiny(run, "training.mode=per_category", progress=lambda name, done, total, _: seen.append((name, done)))
    assert seen == list(itertools.product(("train bolt", "train cloth"), range(1, 13)))
    assert sorted(path.name for path in (run / "categories").iterdir()) == ["bolt", "cloth"]
    assert not (run / "checkpoints").exists()
    bolt, cloth = (load_detector(run / "categories" / name).trainable_state() for name in ("bolt", "cloth"))
    assert not bolt["bottleneck.fc1.weight"].equal(cloth["bottleneck.fc1.weight"])

    report = api.evaluate(run, photos, device="cpu")
    assert set(report.categories) == {"bolt", "cloth"}
    predictor = Predictor(run, device="cpu")
    images = sorted(photos.glob("*/test/*/*.png"))
    scores = [prediction.score for prediction in predictor.predict(images)]
    assert [prediction.category for prediction in predictor.predict(images)] == ["bolt"] * 4 + ["cloth"] * 4
    alone = Predictor(run / "categories/cloth", device="cpu").predict(images[4:])
    assert [prediction.score for prediction in alone] == pytest.approx(scores[4:], rel=1e-5)


def test_a_category_that_cannot_be_a_folder_is_refused_before_training(
    train_tiny: TrainTiny, tmp_path: Path, photos: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    files = sorted(photos.glob("bolt/train/good/*.png"))
    rows = [f"{file},{category},good,,train" for file, category in zip(files, "aabb:", strict=True)]
    manifest.write_text("\n".join(["path,category,label,mask,split", *rows]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="category must be usable as a folder name in per_category mode, got ':'"):
        train_tiny(tmp_path / "run", "training.mode=per_category", data=manifest)
    assert not (tmp_path / "run").exists()


def test_bf16_trains_near_what_float32_trains(train_tiny: TrainTiny, tmp_path: Path) -> None:
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        run = tmp_path / precision
        train_tiny(run, f"training.precision={precision}", "schedule.total_steps=6")
        losses[precision] = column(run, "loss")
        assert read_run(run)["precision"] == precision
        assert {str(t.dtype) for t in load_file(run / "checkpoints/00000006/weights.safetensors").values()} == {
            "torch.float32"
        }
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], abs=0.03)


def test_lines_and_checkpoints_come_as_often_as_asked(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", "training.log_every_steps=3", "training.save_every_steps=4")
    # What a checkpoint holds is checked, and so logged, before it is saved.
    assert column(tmp_path / "run", "step") == [2, 3, 5, 7, 8, 11]
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["00000008", "00000012"]


def test_a_run_folder_says_what_it_is(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    config = train_tiny(tmp_path / "run", "schedule.total_steps=2")
    facts = read_run(tmp_path / "run")
    assert facts["categories"] == {"bolt": 5, "cloth": 5}
    assert facts["data"] == str(photos)
    assert facts["seed"] == 1
    assert facts["processes"] == 1
    assert {"torch", "timm", "numpy"} <= facts["versions"].keys()
    assert "git" in facts
    low, high = facts["map_scale"]
    assert 0 <= low < high
    again = train_tiny(tmp_path / "again", "schedule.total_steps=2")
    assert config == again
    config_file = tmp_path / "run/config.toml"
    assert api.train(photos, tmp_path / "third", recipe=config_file, device="cpu") == config
