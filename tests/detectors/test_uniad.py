"""UniAD: features, masks, noise, what it refuses; its numbers are in tests/parity."""

import pytest
import torch
import torch.nn.functional as F

from muad.detectors.types import Batch
from muad.detectors.uniad import Attention, UniAd, UniAdConfig
from muad.encoders.encoder import EncoderConfig
from muad.errors import ConfigError


def make(**changes: object) -> UniAd:
    torch.manual_seed(3)
    settings = {"encoder": EncoderConfig(name="random-resnet18"), "resize_px": (64, 80), "width": 16, "heads": 2,
                "encoder_layers": 1, "decoder_layers": 2, "feedforward": 8, "neighbours": 3}  # fmt: skip
    return UniAd(UniAdConfig(**(settings | changes)))


@pytest.fixture(scope="module")
def detector() -> UniAd:
    return make()


@pytest.fixture(scope="module")
def features(detector: UniAd) -> torch.Tensor:
    return detector.encode(torch.randn(3, 3, 64, 80, generator=torch.Generator().manual_seed(1)))


def test_stages_down_to_stride_16_are_read_at_the_size_of_the_last(detector: UniAd, features: torch.Tensor) -> None:
    assert detector.encoder.tap_layers == (0, 1, 2, 3)
    assert features.shape == (3, 64 + 64 + 128 + 256, 4, 5)
    images = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    fine = F.interpolate(detector.encoder(images)[1], (4, 5), mode="bilinear", align_corners=True)
    assert torch.allclose(detector.encode(images)[:, 64:128], fine)


def test_attention_is_torchs_and_the_same_with_and_without_the_fused_kernel() -> None:
    torch.manual_seed(1)
    ours, theirs = Attention(16, 4, 0.0), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(
        {"in_proj_weight": ours.in_proj.weight, "in_proj_bias": ours.in_proj.bias,
         "out_proj.weight": ours.out_proj.weight, "out_proj.bias": ours.out_proj.bias}
    )  # fmt: skip
    queries, keys, values = torch.randn(3, 2, 6, 16)
    keep = torch.rand(6, 6, generator=torch.Generator().manual_seed(3)) > 0.3
    expected = theirs(queries, keys, values, attn_mask=~keep)[0]
    assert torch.allclose(ours(queries, keys, values, keep, None), expected, atol=1e-6)
    ours.dropout_rate = 1e-9  # too little to drop anything, enough to take the other way
    noise = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    assert torch.allclose(ours(queries, keys, values, keep, noise), expected, atol=1e-6)


def test_a_layer_sees_nothing_of_the_neighbourhood(detector: UniAd, features: torch.Tensor) -> None:
    """One decoder layer on what the encoder's one gave: a place's answer does not depend on its own feature."""
    alone = make(encoder_layers=0, decoder_layers=1, masked=("decoder_memory", "decoder_previous"))
    changed = features.clone()
    changed[:, :, 2, 2] += 5
    difference = (alone.restore(features) - alone.restore(changed)).abs().amax(dim=(0, 1))
    assert (difference[1:4, 1:4] < 1e-5).all()
    assert (difference[0] > 1e-4).any()
    seeing = make(encoder_layers=0, decoder_layers=1, masked=())
    assert (seeing.restore(features) - seeing.restore(changed)).abs().amax(dim=(0, 1))[2, 2] > 1e-4
    assert detector.restorer.keep is not None


def test_noise_belongs_to_each_image(detector: UniAd, features: torch.Tensor) -> None:
    def loss(rows: slice, seeds: tuple[int, ...]) -> float:
        part = features[rows]
        given = Batch(images=part[:, :3], seeds=seeds, categories=("a",) * len(seeds), features=part)
        return detector(given, 0).total.item()

    together = loss(slice(0, 3), (5, 6, 7))
    assert loss(slice(0, 3), (5, 6, 7)) == together
    assert loss(slice(0, 3), (5, 6, 8)) != together
    apart = [loss(slice(number, number + 1), (5 + number,)) for number in range(3)]
    assert sum(apart) / 3 == pytest.approx(together, rel=1e-5)


def test_jitter_is_as_frequent_as_asked() -> None:
    detector = make(jitter_probability=0.5)
    tokens = torch.ones(40, 2, 4)
    moved = (detector.jitter(tokens, [torch.Generator().manual_seed(seed) for seed in range(40)]) != tokens).any(dim=2)
    assert 8 <= int(moved.all(dim=1).sum()) <= 32
    assert moved.all(dim=1).equal(moved.any(dim=1))


def test_what_it_cannot_use_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"must be a CNN such as .*, got random-vit-tiny"):
        make(encoder=EncoderConfig(name="random-vit-tiny"))
    with pytest.raises(ConfigError, match=r"detector\.neighbours must leave every place of the grid of 4 x 5 one"):
        make(neighbours=9)
    with pytest.raises(ConfigError, match=r"encoder\.tap_layers must be given for random-timm:convnext_atto"):
        make(encoder=EncoderConfig(name="random-timm:convnext_atto"))
    with pytest.raises(ConfigError, match=r"detector\.width must be a multiple of twice detector\.heads 8, got 40"):
        UniAdConfig(width=40)
