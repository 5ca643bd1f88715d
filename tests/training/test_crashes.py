"""DiAD and MambaAD through the training loop: a crash, of DiAD in its second phase, is made up for."""

from pathlib import Path

import pytest

import muad

COMMON = (
    "detector.encoder.name=random-efficientnet-lite0", "schedule.total_steps=3", "training.batch_size=2",
    "training.precision=32-true", "training.save_every_steps=1",
)  # fmt: skip
SETTINGS = {
    "diad": (
        "detector.resize_px=[32, 48]", "detector.latent.autoencoder_widths=[4, 8]",
        "detector.latent.autoencoder_blocks=1", "detector.latent.blocks=1", "detector.latent.widths=[8, 8]",
        "detector.latent.heads=2", "detector.latent.context=[2, 8]", "detector.latent.hint_widths=[4, 4]",
        "detector.learns=all", "detector.autoencoder_steps=1", "detector.sampling_steps=2",
    ),
    "mambaad": (
        "detector.resize_px=[32, 64]", "detector.depths=[2, 2, 2, 2]", "detector.state=2", "detector.expansion=1",
        "detector.directions=2", "training.cache=memory",
    ),
}  # fmt: skip


class PowerCut(BaseException):
    pass


def fail_after_two(name: str, done: int, total: int, loss: float | None) -> None:
    if done == 2:
        raise PowerCut


@pytest.mark.parametrize("name", SETTINGS)
def test_a_crash_is_made_up_for_bit_for_bit(photos: Path, tmp_path: Path, name: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = (f"detector.name={name}", *COMMON, *SETTINGS[name])
    muad.train(photos, whole, overrides=settings, device="cpu")
    with pytest.raises(PowerCut):
        muad.train(photos, cut, overrides=settings, device="cpu", progress=fail_after_two)
    muad.train(photos, cut, overrides=settings, device="cpu", resume=True)
    last = "checkpoints/00000003/weights.safetensors"
    assert (cut / last).read_bytes() == (whole / last).read_bytes()
    if name == "mambaad":  # which predicts quickly
        assert muad.evaluate(whole, photos, device="cpu").images == 8
