"""What MambaAD learns, keeps, skips and refuses."""

import pytest
import torch

from muad.detectors.mambaad import MambaAd, MambaAdConfig, modules_of
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.errors import ConfigError

ENCODER = EncoderConfig(name="random-efficientnet-lite0")


def make(**changes: object) -> MambaAd:
    torch.manual_seed(7)
    small = {
        "encoder": ENCODER, "resize_px": (32, 64), "depths": (2, 2, 3, 2), "state": 2, "expansion": 1, "directions": 2,
    }  # fmt: skip
    return MambaAd(MambaAdConfig(**(small | changes)))


def learning(detector: MambaAd) -> list[torch.nn.Parameter]:
    return [parameter for group in detector.parameter_groups() for parameter in group["params"]]


def make_batch(seeds: tuple[int, ...] = (0, 1)) -> Batch:
    images = torch.randn(len(seeds), 3, 32, 64, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, seeds=seeds, categories=("nut",) * len(seeds))


def test_the_maps_given_back_have_the_sizes_of_those_read_and_the_loss_falls() -> None:
    detector, batch = make(drop_path=0.0), make_batch()
    stages = detector.encode(batch.images)
    restored = detector.decode(tuple(stages))
    assert [tensor.shape for tensor in restored] == [stage.shape for stage in stages]
    assert [tuple(stage.shape[2:]) for stage in stages] == [(8, 16), (4, 8), (2, 4)]
    optimizer = torch.optim.AdamW(learning(detector), lr=5e-3)
    losses = []
    for step in range(6):
        loss = detector(batch, step).total
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(not parameter.requires_grad for parameter in detector.encoder.parameters())


def test_who_passes_a_block_by_depends_on_the_seed_of_the_image_alone() -> None:
    detector = make(drop_path=0.9)
    both, kept = make_batch((3, 4)), detector.encode(make_batch((3, 4)).images)
    detector.bottleneck.eval()  # batch norm of a part is another
    whole = detector(Batch(images=both.images[:0], seeds=(3, 4), categories=both.categories, features=kept), 0).total
    parts = [
        detector(Batch(images=both.images[row : row + 1], seeds=(seed,), categories=("nut",)), 0).total
        for row, seed in enumerate((3, 4))
    ]
    assert torch.allclose(whole, torch.stack(parts).mean(), rtol=1e-4)
    other = detector(Batch(images=both.images, seeds=(8, 9), categories=both.categories), 0).total
    assert not torch.allclose(whole, other, rtol=1e-4)


def test_every_curve_and_number_of_directions_predicts_with_statistics_of_training() -> None:
    images = make_batch().images
    for curve, directions in (("scan", 8), ("zigzag", 4), ("zorder", 2), ("sweep", 8)):
        detector = make(curve=curve, directions=directions)
        found = detector.predict(images)
        assert found.anomaly_map.shape == (2, 32, 64)
        assert torch.allclose(found.score, found.anomaly_map.flatten(1).amax(1))
        alone = detector.predict(images[:1])
        assert torch.allclose(alone.anomaly_map, found.anomaly_map[:1], atol=1e-5)
    assert any(name.endswith("running_var") for name in detector.trainable_state())
    assert not any("orders" in name or name.startswith("encoder.") for name in detector.trainable_state())


def test_directions_side_by_side_say_what_they_say_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, images = make(directions=8), make_batch().images
    expected = detector.predict(images)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.allclose(detector.predict(images).anomaly_map, expected.anomaly_map, atol=1e-5)


def test_half_precision_gives_nearly_the_same_loss_and_finite_gradients() -> None:
    detector, batch = make(drop_path=0.0), make_batch()
    expected = detector(batch, 0).total
    with torch.autocast("cpu", torch.bfloat16):
        loss = detector(batch, 0).total
    loss.backward()
    assert torch.allclose(loss, expected, rtol=0.05)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning(detector))


def test_what_it_cannot_use_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match="must be a CNN such as"):
        make(encoder=EncoderConfig(name="random-vit-tiny"))
    with pytest.raises(ConfigError) as caught:
        make(encoder=EncoderConfig(name="random-efficientnet-lite0", tap_layers=(1, 3)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="multiples of 32"):
        make(resize_px=(48, 64))
    with pytest.raises(ConfigError, match="depths"):
        make(depths=(3, 5, 2, 2))
    with pytest.raises(ConfigError, match="mamba-ssm"):
        make(scan="cuda")


def test_a_stage_is_made_of_modules_of_three_or_two_blocks() -> None:
    assert [modules_of(depth) for depth in (3, 4, 6, 2, 5)] == [[3], [2, 2], [3, 3], [2], []]
