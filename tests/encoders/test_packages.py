"""ImageNet weights from packages of the registry: what they give, and what is said where they are missing."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

from muad.encoders.encoder import EncoderConfig
from muad.encoders.hub import fetch_encoder
from muad.encoders.packages import PACKAGED, named_in_order, packaged_file
from muad.encoders.pyramids import build_pyramid, pyramid_family
from muad.errors import CheckpointError, ConfigError

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGED["efficientnet-lite0"]) is None, reason="needs muad[imagenet]"
)


@needs_weights
def test_its_maps_are_those_of_timms_network_with_the_same_tensors_in_order() -> None:
    pyramid = build_pyramid(EncoderConfig(name="efficientnet-lite0", tap_layers=(2, 3, 4)), (64, 96))
    tensors = torch.load(packaged_file("efficientnet-lite0"), weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    names = [name for name in whole.state_dict() if not name.endswith("num_batches_tracked")]
    values = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
    whole.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    pixels = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(value)[:, None, None] for value in (pyramid.mean, pyramid.std))
    assert torch.allclose((pixels / 255 - mean) / std, (pixels - 127) / 128, atol=1e-6)
    images = (pixels - 127) / 128
    with torch.no_grad():
        expected, maps = whole.bn1(whole.conv_stem(images)), []
        for stage in whole.blocks[:5]:
            expected = stage(expected)
            maps.append(expected)
    for ours, theirs in zip(pyramid(images), maps[2:], strict=True):
        assert ours.equal(theirs)


@needs_weights
def test_a_carried_file_is_known_for_what_it_is(tmp_path: Path) -> None:
    file = packaged_file("efficientnet-lite0")
    installed = build_pyramid(EncoderConfig(name="efficientnet-lite0"), (64, 64))
    carried = build_pyramid(EncoderConfig(name="efficientnet-lite0", weights=file), (96, 64))
    assert carried.fingerprint == installed.fingerprint
    with pytest.raises(CheckpointError, match=r"encoder weights must be 322 tensors, got 247"):
        build_pyramid(EncoderConfig(name="efficientnet-lite1", weights=file), (64, 64))
    torch.save({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"must fit efficientnet-lite0, got .* missing: bn1\.weight"):
        build_pyramid(EncoderConfig(name="efficientnet-lite0", weights=tmp_path / "half.pth"), (64, 64))


def test_stages_are_all_stages_of_blocks_and_by_default_of_strides_4_8_and_16() -> None:
    family = pyramid_family("efficientnet-lite2")
    assert family.strides == (2, 4, 8, 16, 16, 32, 32)
    assert [family.strides[stage] for stage in family.tap_layers] == [4, 8, 16]
    assert family.stages_of_strides((8, 16)) == (2, 3, 4)
    assert (family.licence, family.origin) == ("Apache-2.0", "registry")
    random = build_pyramid(EncoderConfig(name="random-efficientnet-lite2", tap_layers=(2, 4)), (64, 32))
    assert [tuple(found.shape) for found in random(torch.zeros(1, 3, 64, 32))] == [(1, 48, 8, 4), (1, 120, 4, 2)]
    assert random.is_random


def test_a_missing_package_is_one_line_that_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "efficientnet-lite2", "efficientnet_lite2_not_here")
    with pytest.raises(CheckpointError, match=r"package efficientnet-lite2-not-here installed, got none.*imagenet"):
        build_pyramid(EncoderConfig(name="efficientnet-lite2"), (64, 64))
    with pytest.raises(ConfigError, match=r"must be on the hub, got efficientnet-lite2"):
        fetch_encoder("efficientnet-lite2", Path("x.safetensors"))


def test_tensors_of_another_naming_keep_it() -> None:
    tensors = {"b": torch.zeros(1), "a": torch.ones(1)}
    assert named_in_order(tensors, {"x": torch.Size((1,))}) == tensors
