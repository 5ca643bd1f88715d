"""The folded network is the detector, exactly in float32 and closely in bf16."""

import pytest
import torch
from torch import nn

from muad.acceleration.folding import FoldedDinomaly, why_not_foldable
from muad.detectors import Dinomaly
from muad.errors import ConfigError

PLAIN = {"registers": 0, "class_token": False, "layer_scale": False}


@pytest.mark.parametrize(
    ("layout", "changes"),
    [
        ({}, {}),
        ({"registers": 0}, {}),
        (PLAIN, {}),
        ({"registers": 0, "position_grid": 8}, {"resize_px": (56, 56), "crop_px": (56, 56)}),
        ({}, {"attention": "softmax"}),
        ({}, {"attention_eps": 1e-3}),
        ({}, {"grouping": "one_group"}),
        ({}, {"grouping": "layer_to_layer"}),
        ({}, {"grouping": "every_second"}),
        ({}, {"grouping": "every_fourth"}),
        ({}, {"recentring": True, "bottleneck_width": 24}),
        ({}, {"recentring": True, "grouping": "every_second"}),
        ({}, {"recentring": True, "bottleneck_layers": (0, 3)}),
    ],
)
def test_folded_network_gives_the_detectors_distances(make_detector, layout, changes) -> None:
    detector = make_detector(layout, **changes)
    height, width = detector.config.crop_px
    images = torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = detector.distance_map(images)
        folded = FoldedDinomaly(detector)(images)
    assert expected.std() > 0.01
    assert folded.shape == expected.shape
    assert (folded - expected).abs().max() < 1e-6


def test_bf16_rounds_the_products_and_little_else(trained_detector: Dinomaly, make_images) -> None:
    images = make_images(4)
    expected = trained_detector.distance_map(images).detach()
    with torch.no_grad():
        rounded = FoldedDinomaly(trained_detector, dtype=torch.bfloat16)(images)
    assert rounded.dtype == torch.float32
    assert 1e-6 < (rounded - expected).abs().max() < 1e-3


def test_a_change_of_a_tenth_of_a_grey_level_reaches_the_map_in_bf16_too(trained_detector: Dinomaly) -> None:
    # Pixels of 1.5 and 1.5017 are the same number in bfloat16, and that is what rounding them would make of a texture.
    height, width = trained_detector.config.crop_px
    images = torch.full((2, 3, height, width), 1.5)
    images[1, :, ::2] += 0.1 / 255 / 0.229
    assert torch.equal(*images.bfloat16())
    with torch.no_grad():
        one, other = FoldedDinomaly(trained_detector, dtype=torch.bfloat16)(images)
    assert not torch.equal(one, other)


def test_patch_embedding_and_first_block_are_float32_in_bf16_too(make_detector, make_images) -> None:
    detector, images = make_detector(), make_images(1)
    exact, rounded = FoldedDinomaly(detector), FoldedDinomaly(detector, dtype=torch.bfloat16)
    assert rounded.stem_blocks == 1
    assert torch.equal(rounded.stem(images), exact.stem(images))
    assert rounded.encoder[0].fc1.weight.dtype == torch.float32
    assert rounded.encoder[1].fc1.weight.dtype == torch.bfloat16
    assert FoldedDinomaly(make_detector({"depth": 2}, taps=(0, 1))).stem_blocks == 0, (
        "a layer that is read is not in it"
    )


def test_sums_of_features_are_float32_in_bf16_too(make_detector, make_images) -> None:
    features = FoldedDinomaly(make_detector(), dtype=torch.bfloat16).features(make_images(1))
    assert [(feature.dtype, feature.shape) for feature in features] == [(torch.float32, (1, 48, 32))] * 4


def test_blocks_after_the_last_tap_are_absent_and_no_norm_has_parameters(make_detector) -> None:
    folded = FoldedDinomaly(make_detector({"depth": 9}))
    assert len(folded.encoder) == 5
    assert not any(isinstance(module, nn.LayerNorm) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_folding_leaves_the_detector_as_it_was(make_detector, make_images) -> None:
    detector, images = make_detector(), make_images(2)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    FoldedDinomaly(detector, dtype=torch.bfloat16)(images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert any(parameter.requires_grad for parameter in detector.parameters())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention": "conv3"}, "attention is conv3"),
        ({"neighbour_mask": 3}, "neighbour_mask"),
        ({"grouping": "concatenation"}, "concatenation"),
    ],
)
def test_a_setting_that_cannot_be_folded_is_named(make_detector, changes, reason: str) -> None:
    detector = make_detector(**changes)
    assert reason in str(why_not_foldable(detector))
    with pytest.raises(ConfigError, match=reason):
        FoldedDinomaly(detector)


def test_an_encoder_that_cannot_be_folded_is_named(make_detector) -> None:
    rotary, gated, tanh = make_detector(), make_detector(), make_detector()
    rotary.encoder.network.pos_embed = None
    gated.encoder.network.blocks[1].attn.q_norm = nn.LayerNorm(16)
    tanh.encoder.network.blocks[2].mlp.act = nn.GELU(approximate="tanh")
    assert "no table of positions" in str(why_not_foldable(rotary))
    assert "blocks of another kind" in str(why_not_foldable(gated))
    assert "blocks of another kind" in str(why_not_foldable(tanh))
    assert why_not_foldable(make_detector()) is None
