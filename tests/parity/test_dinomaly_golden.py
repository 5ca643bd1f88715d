"""Every number recorded from the authors' Dinomaly, through the code a user runs."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.checkpoints.official import load_official_weights, official_name
from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.dinomaly import Dinomaly, DinomalyConfig, hard_mined_cosine_loss, top_mean
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.optim import warmup_cosine_rate
from muad.training.optimizer import build_optimizer, set_learning_rates

Golden = dict[str, torch.Tensor]


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.double() - expected.double()).norm() / expected.double().norm())


def under(golden: Golden, prefix: str) -> Golden:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


@pytest.fixture(scope="module")
def detector(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Dinomaly:
    file = tmp_path_factory.mktemp("encoder") / "meta.safetensors"
    save_file({key: t.contiguous() for key, t in under(golden, "weights.encoder.").items()}, file)
    encoder = EncoderConfig(
        name="custom", weights=file, layout=VitLayout(width=64, depth=12, heads=4, registers=4, position_grid=37)
    )
    config = DinomalyConfig(
        encoder=encoder, resize_px=(112, 112), crop_px=(112, 112), dropout_rate=0.0, easy_ramp_steps=10
    )
    return Dinomaly(config)


def restore(detector: Dinomaly, golden: Golden) -> None:
    weights = {key: t for key, t in under(golden, "weights.").items() if not key.startswith("encoder.")}
    load_official_weights(detector, weights)


def grid(tokens: torch.Tensor, detector: Dinomaly) -> torch.Tensor:
    return tokens.transpose(1, 2).unflatten(2, detector.encoder.grid)


def test_fused_features_are_the_authors(detector: Dinomaly, golden: Golden) -> None:
    restore(detector, golden)
    with torch.no_grad():
        encoded, decoded = detector.decode(detector.encode(golden["image"]))
    for group in range(2):
        assert relative_error(grid(encoded[group], detector), golden[f"encoder_group.{group}"]) < 1e-5
        assert relative_error(grid(decoded[group], detector), golden[f"decoder_group.{group}"]) < 1e-5


def test_the_three_stages_of_the_map_and_the_score_are_the_authors(detector: Dinomaly, golden: Golden) -> None:
    restore(detector, golden)
    distance = detector.distance_map(golden["image"]).detach()
    assert relative_error(detector.upsample_map(distance), golden["anomaly_map.input_size"][:, 0]) < 1e-5
    assert relative_error(detector.resize_map(distance), golden["anomaly_map.256"][:, 0]) < 1e-5
    prediction = detector.predict(golden["image"])
    assert relative_error(prediction.anomaly_map, golden["anomaly_map.256_blurred"][:, 0]) < 1e-5
    assert relative_error(prediction.score, golden["score.top1percent"]) < 1e-5
    assert relative_error(top_mean(golden["anomaly_map.256_blurred"][:, 0], 0.01), golden["score.top1percent"]) < 1e-6


@pytest.mark.parametrize("easy_fraction", [0.0, 0.45, 0.9])
def test_hard_mined_loss_is_the_authors(detector: Dinomaly, golden: Golden, easy_fraction: float) -> None:
    restore(detector, golden)
    encoded, decoded = detector.decode(detector.encode(golden["image"]))
    losses = [hard_mined_cosine_loss(a, b, easy_fraction, 0.1) for a, b in zip(encoded, decoded, strict=True)]
    assert relative_error(torch.stack(losses).mean().detach(), golden[f"loss.p{easy_fraction:.2f}"]) < 1e-5


def test_gradients_of_every_trainable_tensor_are_the_authors(detector: Dinomaly, golden: Golden) -> None:
    restore(detector, golden)
    detector.zero_grad()
    batch = Batch(images=golden["image"], seeds=(0, 1, 2, 3), categories=("a",) * 4)
    detector(batch, 10).total.backward()  # the ramp of ten steps is over: easy fraction 0.9
    expected = under(golden, "grad.p0.90.")
    ours = {official_name(name): p.grad for name, p in detector.named_parameters() if p.requires_grad}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert relative_error(gradient, expected[name]) < 1e-5, name


def test_twelve_training_steps_are_the_authors(detector: Dinomaly, golden: Golden) -> None:
    restore(detector, golden)
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(lr=2e-3, weight_decay=1e-4, eps=1e-10, clip_norm=0.1),
        schedule=ScheduleConfig(total_steps=12, warmup_steps=3, final_lr=2e-4),
    )
    optimizer = build_optimizer(config.optim, detector)
    losses, rates = [], []
    for step, images in enumerate(golden["train.images"]):
        rates.append(set_learning_rates(config, optimizer, step))
        loss = detector(Batch(images=images, seeds=(0, 1, 2, 3), categories=("a",) * 4), step).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameter_groups()[0]["params"], config.optim.clip_norm)
        optimizer.step()
        losses.append(loss.item())
    assert torch.tensor(rates, dtype=torch.float64).allclose(golden["train.learning_rates"], rtol=1e-12, atol=0)
    assert relative_error(torch.tensor(losses), golden["train.losses"]) < 1e-5
    expected = under(golden, "train.final_weights.")
    ours = {official_name(name): tensor for name, tensor in detector.trainable_state().items()}
    assert ours.keys() == expected.keys()
    for name, weights in ours.items():
        assert relative_error(weights.detach(), expected[name]) < 1e-4, name


def test_learning_rate_table_of_10000_steps_is_the_authors(golden: Golden) -> None:
    ours = [
        warmup_cosine_rate(step, total_steps=10_000, warmup_steps=100, peak=2e-3, final=2e-4) for step in range(10_000)
    ]
    assert torch.tensor(ours, dtype=torch.float64).allclose(golden["schedule.10000"], rtol=1e-12, atol=1e-18)


def test_recorded_sizes_are_not_special(detector: Dinomaly, golden: Golden) -> None:
    """Rectangles pass through the same code: a 112 x 140 input has 8 x 10 patches and a 256 x 256 map."""
    config = dataclasses.replace(detector.config, resize_px=(112, 140), crop_px=(112, 140))
    wide = Dinomaly(config)
    prediction = wide.predict(torch.randn(2, 3, 112, 140))
    assert wide.encoder.grid == (8, 10)
    assert prediction.anomaly_map.shape == (2, 256, 256)
    assert Path(config.encoder.weights or "").is_file()
