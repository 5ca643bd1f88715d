"""Training on random looks: resumed bit for bit, otherwise at every step, and refused where it cannot be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from muad.configuration.run_config import load_config
from muad.errors import ConfigError

TrainTiny = Callable[..., object]
LOOKS = ("training.augmentation=few_shot", "detector.resize_px=[64, 64]")


def weights(run: Path) -> bytes:
    return (run / "checkpoints" / "00000012" / "weights.safetensors").read_bytes()


def test_a_stopped_run_ends_as_one_that_was_not_and_sees_other_images_at_every_step(
    train_tiny: TrainTiny, tmp_path: Path
) -> None:
    told: list[str] = []

    def stop(_what: str, done: int, _total: int, _loss: float | None) -> None:
        if done == 7:
            raise KeyboardInterrupt

    train_tiny(tmp_path / "whole", *LOOKS, "training.cache=auto", note=told.append)
    assert any(sentence.startswith("features are not kept: every step sees its images") for sentence in told)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "halves", *LOOKS, "training.cache=auto", progress=stop)
    train_tiny(tmp_path / "halves", *LOOKS, "training.cache=auto", resume=True)
    assert weights(tmp_path / "halves") == weights(tmp_path / "whole")
    train_tiny(tmp_path / "plain", LOOKS[1])
    assert weights(tmp_path / "plain") != weights(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["training.cache=memory"],
            r"training\.cache must be 'auto' or 'off' with training\.augmentation, got 'memory'",
        ),
        (["detector.name=patchcore"], r"training\.augmentation must be 'none' for patchcore, which takes no steps"),
        (["detector.crop_px=[392, 196]"], r"detector\.crop_px must be square with training\.augmentation"),
    ],
)
def test_what_cannot_be_augmented_is_refused_before_anything_is_read(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, ["training.augmentation=few_shot", *settings])
