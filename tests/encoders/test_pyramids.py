"""A CNN read by stages: what comes out, where its weights come from, and what is refused."""

import copy
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.encoders.folded_norms import folded
from muad.encoders.hub import fetch_encoder
from muad.encoders.pyramids import build_pyramid
from muad.errors import CheckpointError, ConfigError

SIZE = (64, 48)


@pytest.mark.parametrize("name", ["random-resnet18", "random-efficientnet_b4", "random-timm:convnext_atto"])
def test_stages_are_those_timm_computes_with_the_same_weights(name: str) -> None:
    pyramid = build_pyramid(EncoderConfig(name=name, seed=3), SIZE)
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    maps = pyramid(images)
    assert [tuple(found.shape[1:]) for found in maps] == [
        (channels, *grid) for channels, grid in zip(pyramid.channels, pyramid.grids, strict=True)
    ]
    timm_name = {"random-efficientnet_b4": "tf_efficientnet_b4"}.get(name, name.rpartition("-")[2].rpartition(":")[2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        whole = timm.create_model(timm_name, pretrained=False).eval()
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=list(pyramid.tap_layers), intermediates_only=True)
    for ours, theirs in zip(maps, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["random-efficientnet-lite0", "random-resnet18", "random-efficientnet_b4"])
def test_batch_norms_taken_into_convolutions_leave_the_maps_as_they_are(name: str) -> None:
    pyramid = build_pyramid(EncoderConfig(name=name), SIZE)
    drawing = torch.Generator().manual_seed(5)
    for part in pyramid.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=drawing)
            part.running_var.uniform_(0.5, 2, generator=drawing)
    images = torch.randn(2, 3, *SIZE, generator=drawing)
    before = pyramid(images)
    pyramid.fold()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in pyramid.modules())
    for was, found in zip(before, pyramid(images), strict=True):
        assert torch.allclose(was, found, rtol=1e-4, atol=1e-4 * float(was.abs().max()))


def test_a_norm_that_stands_behind_a_convolution_without_following_it_stays() -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.norm.running_mean += 1

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [self.convolution(self.norm(images))]

    network = Before().eval()
    assert folded(network) is network


def test_the_usual_stages_have_strides_of_4_8_and_16() -> None:
    pyramid = build_pyramid(EncoderConfig(name="random-resnet18"), SIZE)
    assert (pyramid.tap_layers, pyramid.channels) == ((1, 2, 3), (64, 128, 256))
    assert pyramid.grids == ((16, 12), (8, 6), (4, 3))
    (finest,) = build_pyramid(EncoderConfig(name="random-resnet18", tap_layers=(0,)), SIZE)(torch.zeros(1, 3, *SIZE))
    assert finest.shape == (1, 64, 32, 24)


def test_it_stays_in_eval_mode_and_frozen_and_a_copy_can_be_trained() -> None:
    pyramid = build_pyramid(EncoderConfig(name="random-resnet18", tap_layers=(1,)), SIZE).train()
    assert not any(module.training for module in pyramid.modules())
    before = {name: tensor.clone() for name, tensor in pyramid.state_dict().items()}
    assert not pyramid(torch.randn(2, 3, *SIZE))[0].requires_grad
    trained = copy.deepcopy(pyramid.network).train().requires_grad_(True)
    trained(torch.randn(2, 3, *SIZE))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())
    assert all(tensor.equal(before[name]) for name, tensor in pyramid.state_dict().items())


def test_weights_from_a_file_are_known_by_their_values_alone(tmp_path: Path) -> None:
    random = build_pyramid(EncoderConfig(name="random-resnet18", seed=5), SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        whole = timm.create_model("resnet18", pretrained=False)
    file = tmp_path / "resnet18.safetensors"
    save_file({name: tensor for name, tensor in whole.state_dict().items() if "num_batches" not in name}, file)
    read = build_pyramid(EncoderConfig(name="resnet18", weights=file), (96, 32))
    assert read.fingerprint == random.fingerprint
    assert read.fingerprint != build_pyramid(EncoderConfig(name="random-resnet18", seed=6), SIZE).fingerprint
    assert (read.licence, read.is_random) == ("bsd-3-clause", False)
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, file)
    with pytest.raises(CheckpointError, match=r"encoder weights must fit resnet18, got .* missing: bn1\.weight"):
        build_pyramid(EncoderConfig(name="resnet18", weights=file), SIZE)


def test_without_network_it_says_how_to_fetch_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"muad fetch-encoder wide_resnet50_2 --to wide_resnet50_2\.safetensors"):
        build_pyramid(EncoderConfig(name="wide_resnet50_2"), SIZE)
    with pytest.raises(CheckpointError, match=r"timm/tf_efficientnet_b4\.aa_in1k"):
        fetch_encoder("efficientnet_b4", tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet19"}, r"encoder\.name must be a known encoder or timm.*Closest: resnet18"),
        ({"name": "timm:resnet19"}, r"Closest: timm:resnet"),
        ({"name": "random-resnet18", "tap_layers": (3, 9)}, r"rising stage numbers from 0 to 4 for random-resnet18"),
        ({"name": "random-resnet18", "weights": Path("x")}, r"encoder\.weights must be left out for random-resnet18"),
        ({"name": "resnet18", "seed": 3}, r"encoder\.seed must be 0 for resnet18"),
        ({"name": "resnet18", "position_interpolation": "antialias"}, r"left out for resnet18, which has no positions"),
        ({"name": "random-vit-tiny"}, r"must be a CNN such as resnet18, .*, got random-vit-tiny"),
        ({"name": "random-timm:swin_tiny_patch4_window7_224"}, r"must give feature maps of channels, rows and columns"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_pyramid(EncoderConfig(**settings), (224, 224))


def test_images_smaller_than_the_coarsest_place_and_a_cnn_for_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"image height and width must be at least 16 for random-resnet18, got 8x64"):
        build_pyramid(EncoderConfig(name="random-resnet18"), (8, 64))
    with pytest.raises(ConfigError, match=r"encoder resnet18 must be a plain vision transformer, got a CNN"):
        build_encoder(EncoderConfig(name="resnet18"), (224, 224))


def test_one_of_the_same_shape_needs_no_weights() -> None:
    shape = EncoderConfig(name="wide_resnet50_2", tap_layers=(2, 3)).with_random_weights()
    assert (shape.name, shape.tap_layers, shape.is_random) == ("random-wide_resnet50_2", (2, 3), True)
    assert EncoderConfig(name="dinov2-small").with_random_weights().vit_family().layout.width == 384
