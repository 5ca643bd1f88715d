"""Dinomaly2's settings: what each of them changes, and that they change nothing by themselves."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from muad.detectors.dinomaly import recentred
from muad.errors import ConfigError

DINOMALY2 = {"recentring": True, "bottleneck_width": 24, "bottleneck_lr_factor": 0.1, "attention_eps": 1e-8}


def test_a_target_is_what_a_patch_is_beside_its_image(make_detector, make_batch) -> None:
    """Written out: minus the class token, mean 0 and variance 1 over the width; the decoder's side as it was."""
    plain, detector = make_detector(), make_detector(recentring=True)
    images = make_batch().images
    with torch.no_grad():
        encoded = plain.encode(images)
        (before, restored), (after, restored_too) = plain.decode(encoded), detector.decode(encoded)
    assert all(a.equal(b) for a, b in zip(restored, restored_too, strict=True))
    for group in range(2):
        beside = before[group] - encoded[:, group, :1]
        written_out = (beside - beside.mean(-1, keepdim=True)) / beside.std(-1, correction=0, keepdim=True)
        assert (after[group] - written_out).abs().max() < 1e-5


def test_what_a_whole_image_shares_is_not_in_the_target() -> None:
    tokens = torch.randn(2, 1 + 2 + 6, 16, generator=torch.Generator().manual_seed(0))
    shifted = tokens + torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(1))
    assert recentred(tokens, 3).shape == (2, 6, 16)
    assert (recentred(shifted, 3) - recentred(tokens, 3)).abs().max() < 1e-5
    registers = tokens.clone()
    registers[:, 1:3] += 5
    assert recentred(registers, 3).equal(recentred(tokens, 3))


def test_a_sum_of_layers_is_recentred_as_their_mean() -> None:
    """Also where hardly anything differs, so that the epsilon under the root counts."""
    tokens = 1e-4 * torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    assert (recentred(4 * tokens, 1, summed=4) - recentred(tokens, 1)).abs().max() < 1e-5


def test_kept_features_give_the_losses_of_the_images(make_detector, make_batch) -> None:
    """The class token is kept with them."""
    detector, batch = make_detector(**DINOMALY2), make_batch()
    from_images = detector(batch, 1).total
    batch.features = detector.encode(batch.images)
    batch.images = batch.images[:0]
    assert detector(batch, 1).total == from_images


def test_features_are_kept_once_for_both(make_detector) -> None:
    assert make_detector(**DINOMALY2).encoding == make_detector().encoding
    assert make_detector(bottleneck_layers=(0, 1)).encoding != make_detector().encoding


def test_the_narrow_layer_comes_before_the_noise(make_detector) -> None:
    """So that a linear layer sees tokens as they are, and noise falls on 24 values, 4 x 32 and 32."""
    bottleneck = make_detector(bottleneck_width=24, dropout_rate=0.5).bottleneck
    shapes = {name: tuple(parameter.shape) for name, parameter in bottleneck.named_parameters()}
    assert shapes["narrow.weight"] == (24, 32)
    assert shapes["fc1.weight"] == (128, 24)
    assert shapes["fc2.weight"] == (32, 128)
    seen: list[torch.Tensor] = []
    for layer in (bottleneck.narrow, bottleneck.fc1, bottleneck.fc2):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    out = bottleneck(torch.ones(2, 9, 32), [torch.Generator().manual_seed(seed) for seed in range(2)])
    shares = [float((each == 0).float().mean()) for each in (*seen, out)]
    assert shares[0] == 0
    assert shares[1:] == pytest.approx([0.5] * 3, abs=0.15)


def test_the_bottlenecks_own_layers_feed_it_and_nothing_else(make_detector, make_batch) -> None:
    detector, images = make_detector(bottleneck_layers=(1, 3)), make_batch().images
    layers = detector.encoder(images)
    encoded = detector.encode(images)
    assert (encoded[:, -1] - (layers[1] + layers[3]) / 2).abs().max() < 1e-5
    assert (encoded[:, 0] - (layers[0] + layers[1]) / 2).abs().max() < 1e-5
    assert make_detector(bottleneck_layers=(0, 1, 2, 3)).encode(images).equal(make_detector().encode(images))


def test_the_first_layer_has_a_rate_of_its_own(make_detector) -> None:
    (alone,) = make_detector().parameter_groups()
    assert "lr_factor" not in alone
    for changes, named in (({"bottleneck_width": 24}, "bottleneck.narrow"), ({}, "bottleneck.fc1")):
        detector = make_detector(bottleneck_lr_factor=0.1, **changes)
        first, rest = detector.parameter_groups()
        names = {id(parameter): name for name, parameter in detector.named_parameters()}
        assert {names[id(one)] for one in first["params"]} == {f"{named}.weight", f"{named}.bias"}
        assert first["lr_factor"] == 0.1
        assert len(first["params"]) + len(rest["params"]) == len(detector.trainable_state())


@pytest.mark.parametrize("grouping", ["one_group", "layer_to_layer", "every_second", "concatenation"])
@pytest.mark.parametrize("attention", ["linear", "softmax"])
def test_it_trains_and_predicts_with_every_grouping(make_detector, make_batch, grouping: str, attention: str) -> None:
    detector, batch = make_detector(grouping=grouping, attention=attention, **DINOMALY2), make_batch()
    detector(batch, 3).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters() if p.requires_grad)
    for target in detector.decode(detector.encode(batch.images))[0]:
        assert F.layer_norm(target, target.shape[-1:]) == pytest.approx(target, abs=1e-3)
    assert detector.predict(batch.images).score.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recentring": True, "attention": "conv3"}, "detector.recentring must be false with"),
        ({"bottleneck_width": 0}, "detector.bottleneck_width must be from 1"),
        ({"bottleneck_layers": ()}, "detector.bottleneck_layers must be rising"),
        ({"bottleneck_layers": (2, 1)}, "detector.bottleneck_layers must be rising"),
        ({"bottleneck_layers": (-1, 1)}, "detector.bottleneck_layers must be rising"),
        ({"bottleneck_layers": (2, 4)}, r"detector.bottleneck_layers must be below the 4 tapped layers, got \[2, 4\]"),
        ({"bottleneck_lr_factor": 0.0}, "detector.bottleneck_lr_factor must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make_detector, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_detector(**changes)


def test_an_encoder_without_a_class_token_cannot_be_recentred(make_config, make_detector) -> None:
    encoder = make_config().encoder
    bare = dataclasses.replace(encoder, layout=dataclasses.replace(encoder.layout, class_token=False, registers=0))
    with pytest.raises(ConfigError, match="recentring needs a class token"):
        make_detector(encoder=bare, recentring=True)
