"""Kept features change the time a run takes and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from muad.checkpoints.checkpoint import load_detector
from muad.cli.main import app
from muad.configuration.run_config import RunConfig
from muad.encoders.kept_features import cached_sets
from muad.errors import CheckpointError

TrainTiny = Callable[..., RunConfig]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "features"


def losses(run: Path) -> torch.Tensor:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return torch.tensor([json.loads(line)["loss"] for line in lines])


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(
    "setting",
    ["detector.grouping=two_groups", "detector.grouping=every_second", "detector.attention=conv3"],
)
def test_losses_and_weights_are_those_of_a_run_without(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path, place: str, setting: str
) -> None:
    """In float32 only the order of sums in batches of another make-up differs."""
    train_tiny(tmp_path / "without", setting)
    train_tiny(tmp_path / "with", setting, f"training.cache={place}")
    assert kept.is_dir() == (place == "disk") or not any(kept.iterdir())
    assert torch.allclose(losses(tmp_path / "with"), losses(tmp_path / "without"), rtol=1e-5)
    ours, theirs = (load_detector(tmp_path / name).trainable_state() for name in ("with", "without"))
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], rtol=1e-3, atol=1e-6), name


def test_in_bf16_the_loss_curve_stays_within_the_rounding_of_what_is_stored(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path
) -> None:
    # A small rate: at the usual one, two warm-up steps let the loss jump, and a jump magnifies any rounding.
    settings = ("training.precision=bf16-mixed", "optim.lr=2e-4", "schedule.final_lr=2e-5")
    train_tiny(tmp_path / "without", *settings)
    train_tiny(tmp_path / "with", *settings, "training.cache=memory")
    assert torch.allclose(losses(tmp_path / "with"), losses(tmp_path / "without"), rtol=5e-3)


def test_a_second_run_on_the_same_images_finds_them_and_other_images_do_not(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path, photos: Path
) -> None:
    notes: list[str] = []
    train_tiny(tmp_path / "first", "training.cache=disk", note=notes.append)
    assert any("encoded once" in note for note in notes)
    notes.clear()
    train_tiny(tmp_path / "second", "training.cache=disk", "training.seed=9", note=notes.append)
    assert any("found" in note for note in notes)
    (entry,) = cached_sets()
    assert entry.images == 10
    changed = tmp_path / "changed"
    for file in photos.rglob("*.png"):
        target = changed / file.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    first = next(changed.glob("bolt/train/good/*.png"))
    first.write_bytes((changed / "cloth/train/good/000.png").read_bytes())
    train_tiny(tmp_path / "third", "training.cache=disk", data=changed)
    assert len(cached_sets()) == 2


def test_an_interrupted_encoding_leaves_nothing_that_is_taken_for_whole(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path
) -> None:
    def stop(what: str, *_: object) -> None:
        if what == "encode":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "run", "training.cache=disk", progress=stop)
    assert cached_sets() == []
    assert not any(kept.iterdir())
    train_tiny(tmp_path / "run", "training.cache=disk", resume=True)
    assert len(cached_sets()) == 1


def test_resuming_with_kept_features_is_exact(train_tiny: TrainTiny, tmp_path: Path, kept: Path) -> None:
    class CrashError(Exception):
        pass

    def crash(what: str, done: int, *_: object) -> None:
        if (what, done) == ("train", 8):
            raise CrashError

    train_tiny(tmp_path / "whole", "training.cache=memory", "training.save_every_steps=4")
    with pytest.raises(CrashError):
        train_tiny(tmp_path / "parts", "training.cache=memory", "training.save_every_steps=4", progress=crash)
    train_tiny(tmp_path / "parts", "training.cache=memory", "training.save_every_steps=4", resume=True)
    whole, parts = (load_detector(tmp_path / name).trainable_state() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_bad_images_are_named_and_left_out_as_without(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path, photos: Path
) -> None:
    data = tmp_path / "data"
    for file in photos.rglob("*.png"):
        target = data / file.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (data / "bolt/train/good/002.png").write_bytes(b"not an image")
    notes: list[str] = []
    train_tiny(tmp_path / "without", "training.skip_bad=true", data=data)
    train_tiny(tmp_path / "with", "training.skip_bad=true", "training.cache=memory", data=data, note=notes.append)
    assert sum("002.png" in note for note in notes) == 1
    assert torch.allclose(losses(tmp_path / "with"), losses(tmp_path / "without"), rtol=1e-5)


def test_an_unwritable_cache_is_one_line_with_a_remedy(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"features must be written to .* MUAD_CACHE"):
        train_tiny(tmp_path / "run", "training.cache=disk")


def test_auto_does_not_encode_what_the_run_will_not_look_at_again(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path
) -> None:
    seen: list[str] = []
    short = ("training.cache=auto", "schedule.total_steps=2", "schedule.warmup_steps=1")
    train_tiny(tmp_path / "short", *short, progress=lambda what, *_: seen.append(what))
    assert set(seen) == {"train"}
    train_tiny(tmp_path / "long", "training.cache=auto", progress=lambda what, *_: seen.append(what))
    assert set(seen) == {"encode", "train"}


def test_the_cache_is_listed_and_cleared_from_the_command_line(
    train_tiny: TrainTiny, tmp_path: Path, kept: Path
) -> None:
    train_tiny(tmp_path / "run", "training.cache=disk")
    (entry,) = cached_sets()
    assert entry.folder.name[:8] in CliRunner().invoke(app, ["cache", "list"]).stdout
    assert CliRunner().invoke(app, ["cache", "clear"]).exit_code == 0
    assert cached_sets() == []
