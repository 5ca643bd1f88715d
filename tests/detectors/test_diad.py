"""DiAD's two phases, its reconstruction, and what it refuses."""

import sys
from pathlib import Path

import pytest
import torch

from muad.detectors.diad import Diad, DiadConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.errors import CheckpointError, ConfigError
from muad.nn.latent_diffusion import LatentConfig

TINY = LatentConfig(
    autoencoder_widths=(4, 8), autoencoder_blocks=1, scale=0.5, widths=(8, 8), blocks=1, heads=2, context=(2, 8),
    hint_widths=(4, 4),
)  # fmt: skip


def make(**changes: object) -> Diad:
    torch.manual_seed(3)
    small = {
        "encoder": EncoderConfig(name="random-efficientnet-lite0"), "resize_px": (32, 48), "latent": TINY,
        "learns": "all", "autoencoder_steps": 2, "sampling_steps": 2,
    }  # fmt: skip
    return Diad(DiadConfig(**(small | changes)))


def make_batch(seeds: tuple[int, ...] = (0, 1)) -> Batch:
    images = torch.randn(len(seeds), 3, 32, 48, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, seeds=seeds, categories=("nut",) * len(seeds))


def test_the_autoencoder_learns_first_and_the_rest_after_it() -> None:
    detector, batch = make(), make_batch()
    groups = {group["name"]: group for group in detector.parameter_groups()}
    assert [groups["autoencoder"]["learns"](step) for step in (0, 1, 2)] == [True, True, False]
    assert [groups["denoiser"]["learns"](step) for step in (0, 1, 2)] == [False, False, True]
    first = detector(batch, 0)
    assert set(first.terms) == {"pixels", "perceptual", "divergence"}
    first.total.backward()
    assert all(parameter.grad is not None for parameter in groups["autoencoder"]["params"])
    assert all(parameter.grad is None for parameter in groups["denoiser"]["params"])
    detector.zero_grad()
    detector(batch, 2).total.backward()
    assert all(parameter.grad is None for parameter in groups["autoencoder"]["params"])
    assert all(parameter.grad is not None for parameter in groups["denoiser"]["params"])


@pytest.mark.parametrize("step", [0, 2])
def test_losses_fall_and_depend_on_each_image_alone(step: int) -> None:
    detector, batch = make(), make_batch()
    whole, parts = detector(batch, step).total, [detector(part, step).total for part in batch.split(2)]
    assert torch.allclose(whole, torch.stack(parts).mean(), rtol=1e-4)
    learning = detector.parameter_groups()[step > 0]["params"]
    optimizer, losses = torch.optim.Adam(learning, lr=1e-2), []
    for _ in range(8):
        loss = detector(batch, step).total
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]


def test_a_prediction_depends_on_its_image_alone_and_is_the_cosine_distance_to_the_reconstruction() -> None:
    detector, images = make(), make_batch().images
    both, alone = detector.predict(images), detector.predict(images[1:])
    assert torch.allclose(both.anomaly_map[1:], alone.anomaly_map, atol=1e-5)
    assert both.anomaly_map.shape == (2, 32, 48)
    detector.eval()
    restored, measured = detector.restore(images), detector.measure(images)
    assert restored.shape == images.shape
    theirs, ours = detector.encoder(images), detector.encoder(restored)
    for grid, one, other in zip(measured.values(), theirs, ours, strict=True):
        assert torch.allclose(grid, 1 - torch.cosine_similarity(one, other), atol=1e-6)
    network = detector.network()
    assert len(network.turns) == detector.config.sampling_steps
    assert all(torch.equal(found, measured[name]) for name, found in network(images).items())
    moved = make(noise_seed=5).eval()
    moved.load_state_dict(detector.state_dict())
    assert not torch.allclose(moved.restore(images), restored)
    assert not any(name.startswith("encoder.") for name in detector.trainable_state())


def test_half_precision_stays_near() -> None:
    detector, batch = make(), make_batch()
    for step in (0, 2):
        expected = detector(batch, step).total
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(detector(batch, step).total, expected, rtol=0.05)


def test_what_it_cannot_do_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"detector\.weights must name a folder of Stable Diffusion"):
        make(learns="way_up")
    with pytest.raises(ConfigError, match="multiples of 4"):
        make(resize_px=(30, 48))
    with pytest.raises(ConfigError, match="must be a CNN"):
        make(encoder=EncoderConfig(name="random-vit-tiny"))
    with pytest.raises(CheckpointError, match="folder of diffusers"):
        make(learns="way_up", weights=tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"muad\[diffusion\]") as caught:
        make()
    assert "\n" not in str(caught.value)
