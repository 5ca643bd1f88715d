"""MambaAD through the training loop: kept features, a crash that is made up for, figures."""

from pathlib import Path

import pytest

import muad

SETTINGS = (
    "detector.name=mambaad", "detector.encoder.name=random-efficientnet-lite0", "detector.resize_px=[32, 64]",
    "detector.depths=[2, 2, 2, 2]", "detector.state=2", "detector.expansion=1", "detector.directions=2",
    "schedule.total_steps=3", "training.batch_size=2", "training.precision=32-true", "training.save_every_steps=1",
    "training.cache=memory",
)  # fmt: skip


class PowerCut(BaseException):
    pass


def fail_after_two(name: str, done: int, total: int, loss: float | None) -> None:
    if done == 2:
        raise PowerCut


def test_a_crash_is_made_up_for_bit_for_bit(photos: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    muad.train(photos, whole, overrides=SETTINGS, device="cpu")
    with pytest.raises(PowerCut):
        muad.train(photos, cut, overrides=SETTINGS, device="cpu", progress=fail_after_two)
    muad.train(photos, cut, overrides=SETTINGS, device="cpu", resume=True)
    last = "checkpoints/00000003/weights.safetensors"
    assert (cut / last).read_bytes() == (whole / last).read_bytes()
    assert muad.evaluate(whole, photos, device="cpu").images == 8
