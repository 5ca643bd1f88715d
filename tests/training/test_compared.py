"""SimpleNet, DeSTSeg and UniAD through the whole training: resumed bit for bit, from kept features, used afterwards."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.configuration.run_config import RunConfig

Train = Callable[..., RunConfig]
TINY = {
    "simplenet": (
        "detector.resize_px=[32, 32]", "detector.crop_px=[32, 32]", "detector.stage_width=16", "detector.width=16",
        "detector.hidden=8", "optim.kind=adam", "optim.lr=2e-4",
    ),
    "destseg": (
        "detector.resize_px=[32, 32]", "detector.encoder.tap_layers=[1, 2]", "detector.segmenter_width=8",
        "detector.dilations=[1, 2]", "detector.student_share=0.5", "detector.slightly_turned=['bolt']",
        "optim.kind=sgd", "optim.lr=0.01",
    ),
    "uniad": (
        "detector.resize_px=[64, 64]", "detector.neighbours=3", "detector.width=16", "detector.heads=2",
        "detector.feedforward=16", "detector.encoder_layers=1", "detector.decoder_layers=2", "optim.kind=adamw",
    ),
}  # fmt: skip


@pytest.fixture(params=list(TINY))
def train(request: pytest.FixtureRequest, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "kept"))

    def train(out: Path, *overrides: str, **how: object) -> RunConfig:
        settings = (
            f"detector.name={request.param}", "detector.encoder.name=random-resnet18", *TINY[request.param],
            "schedule.kind=constant", "schedule.warmup_steps=0", "schedule.total_steps=4", "training.batch_size=4",
            "training.save_every_steps=100", "training.calibration_share=0", *overrides,
        )  # fmt: skip
        return muad.train(photos, out, overrides=settings, device="cpu", **how)

    return train


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_detector(run).trainable_state()


def interrupt_at(steps: int) -> Callable[..., None]:
    def progress(what: str, done: int, *_: object) -> None:
        if what == "train" and done == steps:
            signal.raise_signal(signal.SIGINT)

    return progress


def test_a_resumed_run_is_the_uninterrupted_one_and_predicts(train: Train, photos: Path, tmp_path: Path) -> None:
    train(tmp_path / "whole", "training.cache=off")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", "training.cache=off", progress=interrupt_at(2))
    train(tmp_path / "run", "training.cache=off", resume=True)
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())
    report = muad.evaluate(tmp_path / "run", photos, device="cpu")
    assert report.images == 8


def test_bfloat16_and_kept_features_train_too(train: Train, tmp_path: Path) -> None:
    train(tmp_path / "run", "training.cache=memory", "training.precision=bf16-mixed", "schedule.total_steps=2")
    found = weights(tmp_path / "run")
    assert all(bool(tensor.isfinite().all()) for tensor in found.values())
    assert not any(name.startswith("encoder.") for name in found)
