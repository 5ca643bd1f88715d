"""The detector's contract, and every ablation of the paper as a value of its configuration."""

import itertools
import typing

import pytest
import torch

from muad.detectors.dinomaly import Bottleneck, DecoderBlock, Grouping, Mixer, layer_groups
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.errors import ConfigError
from muad.nn.attention import LinearAttention
from muad.nn.noise import dropout
from muad.optim import StableAdamW


def test_shapes_and_ranges(make_detector, make_batch) -> None:
    detector, batch = make_detector(), make_batch()
    losses = detector(batch, 0)
    assert losses.total.shape == ()
    assert set(losses.terms) == {"cosine_group_0", "cosine_group_1"}
    assert losses.total.item() == pytest.approx(sum(t.item() for t in losses.terms.values()) / 2)
    prediction = detector.predict(batch.images)
    assert prediction.anomaly_map.shape == (4, 32, 32)
    assert prediction.score.shape == (4,)
    assert 0 <= prediction.anomaly_map.min() < prediction.anomaly_map.max() <= 2
    assert not prediction.anomaly_map.requires_grad


def test_loss_is_a_function_of_weights_images_and_seeds(make_detector, make_batch) -> None:
    detector = make_detector(dropout_rate=0.3)
    same = [detector(make_batch((1, 2, 3, 4)), 1).total.item() for _ in range(2)]
    assert same[0] == same[1]
    assert detector(make_batch((1, 2, 3, 5)), 1).total.item() != same[0]
    torch.manual_seed(77)  # the global stream has no part in it
    assert detector(make_batch((1, 2, 3, 4)), 1).total.item() == same[0]


def test_an_images_noise_does_not_depend_on_its_batch(make_detector, make_batch) -> None:
    detector, batch = make_detector(dropout_rate=0.3), make_batch((1, 2, 3, 4))

    def decoded(part: slice) -> torch.Tensor:
        noise = [torch.Generator().manual_seed(seed) for seed in batch.seeds[part]]
        return detector.decode(detector.encode(batch.images[part]), noise)[1][0]

    assert decoded(slice(2, 4)).allclose(decoded(slice(0, 4))[2:], atol=1e-6)


def test_without_dropout_seeds_do_not_matter(make_detector, make_batch) -> None:
    detector = make_detector(dropout_rate=0.0)
    assert detector(make_batch((1, 2, 3, 4)), 0).total == detector(make_batch((5, 6, 7, 8)), 0).total


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
    dropped = dropout(torch.ones(2, 500, 64), 0.4, noise, place=0)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(dropped[0], dropped[1])


def test_decoder_block_is_pre_norm_with_the_authors_small_epsilon() -> None:
    """Tokens of tiny variance, so that the usual 1e-5 under the root would show."""
    block = DecoderBlock(16, LinearAttention(16, 2, eps=0.0))
    tokens = 1e-3 * torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-8).sqrt()

    middle = tokens + block.attn(norm(tokens))
    expected = middle + block.mlp["fc2"](torch.nn.functional.gelu(block.mlp["fc1"](norm(middle))))
    assert block(tokens).allclose(expected, atol=1e-5)


def test_noise_enters_the_bottleneck_at_three_places() -> None:
    """Before, between and after the two layers, as in the authors' bMlp."""
    bottleneck, tokens = Bottleneck(16, 0.4), torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(6)
    kept = [torch.empty(30, width).bernoulli_(0.6, generator=draw) / 0.6 for width in (16, 64, 16)]
    hidden = torch.nn.functional.gelu(bottleneck.fc1(tokens * kept[0]))
    expected = bottleneck.fc2(hidden * kept[1]) * kept[2]
    assert bottleneck(tokens, [torch.Generator().manual_seed(6)]).allclose(expected, atol=1e-6)
    plain = bottleneck.fc2(torch.nn.functional.gelu(bottleneck.fc1(tokens)))
    assert bottleneck(tokens, None).allclose(plain, atol=1e-6)


def test_prediction_is_the_same_in_train_and_eval_mode(make_detector, make_batch) -> None:
    detector, images = make_detector(dropout_rate=0.5), make_batch().images
    first, second = detector.train().predict(images), detector.eval().predict(images)
    assert torch.equal(first.anomaly_map, second.anomaly_map)
    assert torch.equal(first.score, second.score)
    assert not detector.train().encoder.training


def test_loss_falls_on_four_images(make_detector, make_batch) -> None:
    detector, batch = make_detector(dropout_rate=0.0), make_batch()
    optimizer = StableAdamW(detector.parameter_groups(), lr=5e-3, amsgrad=True, eps=1e-10)
    losses = []
    for step in range(15):
        loss = detector(batch, step).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_weights_start_small_and_norms_as_the_identity(make_detector) -> None:
    detector = make_detector()
    for name, parameter in detector.trainable_state().items():
        if "norm" in name:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            assert parameter.abs().max() <= 0.03, name
            assert parameter.std().item() == pytest.approx(0.01, rel=0.1), name


def test_the_encoder_is_no_part_of_what_is_trained_or_saved(make_detector, make_batch) -> None:
    detector = make_detector()
    before = {name: tensor.clone() for name, tensor in detector.encoder.state_dict().items()}
    detector(make_batch(), 1).total.backward()
    assert all(parameter.grad is None for parameter in detector.encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.encoder.state_dict().items())
    assert not [name for name in detector.trainable_state() if name.startswith("encoder")]
    (group,) = detector.parameter_groups()
    assert sum(p.numel() for p in group["params"]) == sum(t.numel() for t in detector.trainable_state().values())


@pytest.mark.parametrize(("width", "heads", "millions"), [(384, 6, 15.38), (768, 12, 61.43), (1024, 16, 109.16)])
def test_trainable_size_is_the_papers(width: int, heads: int, millions: float) -> None:
    with torch.device("meta"):
        blocks = [DecoderBlock(width, LinearAttention(width, heads, eps=0.0)) for _ in range(8)]
        parts = torch.nn.ModuleList([Bottleneck(width, 0.2), *blocks])
    assert sum(p.numel() for p in parts.parameters()) == pytest.approx(millions * 1e6, abs=5e3)


@pytest.mark.parametrize(
    ("attention", "grouping"), list(itertools.product(typing.get_args(Mixer), typing.get_args(Grouping)))
)
def test_every_mixer_trains_and_predicts_with_every_grouping(
    make_detector, make_batch, attention: Mixer, grouping: Grouping
) -> None:
    """Every trainable tensor gets a gradient: one that never does would stop training by several processes."""
    detector, batch = make_detector(attention=attention, grouping=grouping), make_batch()
    optimizer = StableAdamW(detector.parameter_groups(), lr=1e-3)
    detector(batch, 2).total.backward()
    without = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    before = {name: tensor.clone() for name, tensor in detector.trainable_state().items()}
    optimizer.step()
    moved = [name for name, tensor in detector.trainable_state().items() if not torch.equal(tensor, before[name])]
    assert set(moved) == set(before)
    prediction = detector.predict(batch.images)
    assert prediction.anomaly_map.isfinite().all()
    assert prediction.anomaly_map.shape == (4, 32, 32)


@pytest.mark.parametrize("attention", ["linear", "softmax"])
@pytest.mark.parametrize("size", [1, 3])
def test_neighbour_mask_changes_the_detector(make_detector, make_batch, attention: str, size: int) -> None:
    open_eyes, masked = make_detector(attention=attention), make_detector(attention=attention, neighbour_mask=size)
    assert open_eyes.trainable_state().keys() == masked.trainable_state().keys()
    batch = make_batch()
    assert open_eyes.predict(batch.images).score[0] != masked.predict(batch.images).score[0]
    masked(batch, 1).total.backward()


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        ("two_groups", ((0, 1, 2, 3), (4, 5, 6, 7))),
        ("one_group", ((0, 1, 2, 3, 4, 5, 6, 7),)),
        ("layer_to_layer", ((0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,))),
        ("every_second", ((1,), (3,), (5,), (7,))),
        ("every_fourth", ((3,), (7,))),
        ("concatenation", ((1, 3, 5, 7),)),
    ],
)
def test_groups_of_eight_layers_are_the_authors(grouping: Grouping, expected: tuple[tuple[int, ...], ...]) -> None:
    assert layer_groups(grouping, 8, 8) == expected


@pytest.mark.parametrize("grouping", ["two_groups", "layer_to_layer", "every_second", "every_fourth"])
def test_shallow_layers_meet_the_last_decoder_blocks(make_detector, make_batch, grouping: Grouping) -> None:
    """Decoder outputs are reversed before grouping; written out with hooks on the blocks."""
    detector, images = make_detector(grouping=grouping), make_batch().images
    outputs: list[torch.Tensor] = []
    for block in detector.decoder:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    encoded, decoded = detector.decode(detector.encode(images))
    taps, prefix = detector.encoder(images), detector.encoder.prefix_tokens
    for group, target, restored in zip(detector.layer_groups, encoded, decoded, strict=True):
        # Encoder layer i goes with the (4 - i)-th of four decoder blocks, counted from 1.
        assert target.allclose(torch.stack([taps[i] for i in group]).mean(0)[:, prefix:], atol=1e-6)
        assert restored.allclose(torch.stack([outputs[3 - i] for i in group]).mean(0)[:, prefix:], atol=1e-6)


def test_class_and_register_tokens_take_part_in_the_attention(make_detector, make_batch) -> None:
    """Dropping them would be another model: they feed the decoder although they are not compared."""
    detector, images = make_detector(), make_batch().images
    encoded, decoded = detector.decode(detector.encode(images))
    assert encoded[0].shape == decoded[0].shape == (4, 8 * 6, 32)
    seen = []
    detector.decoder[0].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[1]))
    detector.decode(detector.encode(images))
    assert seen == [8 * 6 + detector.encoder.prefix_tokens]


def test_twelve_blocks_are_tapped_in_the_middle_by_default(make_detector) -> None:
    layout = VitLayout(width=32, depth=12, heads=2, patch_px=14, position_grid=4)
    detector = make_detector(
        encoder=EncoderConfig(name="random-custom", layout=layout), resize_px=(56, 56), crop_px=(42, 28)
    )
    assert detector.encoder.tap_layers == (2, 3, 4, 5, 6, 7, 8, 9)
    assert len(detector.decoder) == 8
    assert detector.predict(torch.zeros(1, 3, 42, 28)).anomaly_map.shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_px": (63, 42)}, r"detector.crop_px must be from 1 to detector.resize_px \(56, 42\), got \(63, 42\)"),
        ({"resize_px": (56, 45), "crop_px": (56, 45)}, "multiples of 7, got 56x45. Use 42 or 49"),
        ({"dropout_rate": 1.0}, "detector.dropout_rate must be from 0 to below 1, got 1.0"),
        ({"attention_eps": -1.0}, "detector.attention_eps must be from 0 to 1"),
        ({"neighbour_mask": 2}, "detector.neighbour_mask must be 0 or an odd number up to 16384, got 2"),
        ({"neighbour_mask": -1}, "detector.neighbour_mask must be 0 or an odd number up to 16384, got -1"),
        ({"neighbour_mask": 3, "attention": "conv3"}, "detector.neighbour_mask must be 0 with detector.attention"),
        ({"decoder_depth": 0}, "detector.decoder_depth must be from 1 to 256"),
        ({"decoder_depth": 3}, "detector.decoder_depth must be the number of tapped layers 4, got 3"),
        ({"easy_fraction": 1.0}, "detector.easy_fraction must be from 0 to below 1"),
        ({"easy_weight": 1.5}, "detector.easy_weight must be from 0 to 1"),
        ({"easy_ramp_steps": 0}, "detector.easy_ramp_steps must be from 1 to"),
        ({"map_px": 4}, "detector.map_px must be 0 or from 8 to"),
        ({"blur_sigma_px": -1.0}, "detector.blur_sigma_px must be from 0 to 100"),
        ({"top_fraction": 1.1}, "detector.top_fraction must be above 0 and at most 1"),
        ({"top_fraction": 0.0}, "detector.top_fraction must be above 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(make_detector, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_detector(**changes)


def test_groupings_that_do_not_fit_the_layers_are_refused(make_detector) -> None:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7)
    three = EncoderConfig(name="random-custom", layout=layout, tap_layers=(0, 2, 4))
    with pytest.raises(ConfigError, match="'two_groups' needs a multiple of 2 tapped layers, got 3"):
        make_detector(encoder=three)
    assert len(make_detector(encoder=three, grouping="one_group").decoder) == 3


def test_a_mask_that_hides_everything_is_refused(make_detector) -> None:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=0, class_token=False)
    bare = EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 3))
    with pytest.raises(ConfigError, match=r"detector\.neighbour_mask must not hide every patch, got 17"):
        make_detector(encoder=bare, neighbour_mask=17)
    make_detector(encoder=bare, neighbour_mask=3)


def test_concatenation_may_have_another_depth(make_detector, make_batch) -> None:
    detector = make_detector(grouping="concatenation", decoder_depth=2)
    assert len(detector.decoder) == 2
    encoded, decoded = detector.decode(detector.encode(make_batch().images))
    assert [t.shape for t in encoded] == [t.shape for t in decoded] == [(4, 48, 64)]
