"""Every row of the table against the network timm builds, and one small encoder of each kind run for real."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muad.encoders.encoder import Encoder, EncoderConfig, build_encoder
from muad.encoders.families import FAMILIES, VitLayout
from muad.encoders.networks import describe_network, require_layout
from muad.errors import CheckpointError, ConfigError

Tensors = dict[str, torch.Tensor]


def whole_state(name: str) -> Tensors:
    """Seeded weights of the whole network in timm's naming, none of them constant."""
    draw = torch.Generator().manual_seed(4)
    shapes = {key: tensor.shape for key, tensor in describe_network(FAMILIES[name], None).state_dict().items()}
    return {key: 0.1 * torch.randn(shape, generator=draw) for key, shape in shapes.items()}


def built(name: str, weights: Tensors, folder: Path, image_size: tuple[int, int]) -> Encoder:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, folder / "weights.safetensors")
    return build_encoder(EncoderConfig(name=name, weights=folder / "weights.safetensors"), image_size)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_row_is_laid_out_like_the_network(name: str) -> None:
    family = FAMILIES[name]
    require_layout(describe_network(family, None), name, family)
    assert family.tap_layers[-1] < family.layout.depth
    assert len(family.tap_layers) == 8
    assert family.source


def test_a_row_unlike_its_network_is_refused() -> None:
    small, with_registers = FAMILIES["dinov2-small"], FAMILIES["dinov2-reg-small"]
    with pytest.raises(ConfigError, match=r"dinov2-small must be laid out as .*registers=0.*registers=4"):
        require_layout(describe_network(with_registers, None), "dinov2-small", small)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        ("dinov2-reg-small", (28, 42)),
        ("dinov2-small", (28, 28)),
        ("dinov3-small", (32, 48)),
        ("dino-small", (32, 32)),
        ("dino-small-8", (16, 24)),
        ("ibot-small", (32, 16)),
        ("deit-small", (32, 32)),
    ],
)
def test_a_small_encoder_of_the_family_gives_what_timms_blocks_give(
    name: str, image_size: tuple[int, int], tmp_path: Path
) -> None:
    encoder = built(name, whole_state(name), tmp_path, image_size)
    images = torch.randn(1, 3, *image_size)
    outputs: list[torch.Tensor] = []
    for block in encoder.network.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    tapped, again = encoder(images), encoder(images)
    patches = (image_size[0] // encoder.patch_px) * (image_size[1] // encoder.patch_px)
    for i, layer in enumerate(encoder.tap_layers):
        assert tapped[i].shape == (1, encoder.prefix_tokens + patches, encoder.width)
        assert torch.equal(tapped[i], outputs[layer])
        assert torch.equal(tapped[i], again[i])
    assert len(encoder.network.blocks) == encoder.tap_layers[-1] + 1


def test_dinov3_in_metas_naming_is_the_same_encoder(tmp_path: Path) -> None:
    timm_named = whole_state("dinov3-small")
    meta: Tensors = {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    for key, tensor in timm_named.items():
        if key.endswith("attn.q_bias"):
            bias = torch.cat([tensor, torch.full_like(tensor, torch.nan), timm_named[key.replace("q_bias", "v_bias")]])
            mask = torch.cat([torch.ones(384), torch.zeros(384), torch.ones(384)])
            stem = key.removesuffix("q_bias")
            meta |= {f"{stem}qkv.bias": bias, f"{stem}qkv.bias_mask": mask}
        elif not key.endswith("attn.v_bias") and not key.startswith("head."):
            renamed = key.replace("reg_token", "storage_tokens")
            meta[renamed.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")] = tensor
    original = built("dinov3-small", timm_named, tmp_path, (32, 32))
    converted = built("dinov3-small", meta, tmp_path, (32, 32))
    assert converted.fingerprint == original.fingerprint
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(converted(images)[-1], original(images)[-1])


def test_dinov3_without_query_and_value_biases_is_that_with_zeros(tmp_path: Path) -> None:
    state = whole_state("dinov3-small")
    biases = [key for key in state if key.endswith(("attn.q_bias", "attn.v_bias"))]
    without = {key: tensor for key, tensor in state.items() if key not in biases}
    zeroed = state | {key: torch.zeros_like(state[key]) for key in biases}
    first, second = (built("dinov3-small", weights, tmp_path, (16, 16)) for weights in (without, zeroed))
    assert first.fingerprint == second.fingerprint


def test_dinov3_with_a_bias_on_the_keys_is_refused(tmp_path: Path) -> None:
    weights = {"storage_tokens": torch.zeros(1, 4, 384), "blocks.0.attn.qkv.bias": torch.ones(3 * 384)}
    with pytest.raises(CheckpointError, match=r"key's part of blocks\.0\.attn\.qkv\.bias must be masked or zero"):
        built("dinov3-small", weights, tmp_path, (16, 16))


def test_beit_runs_at_its_trained_size_and_no_other(tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in whole_state("beit-base").items() if key.startswith(("blocks.0.", "c", "p"))}
    state["blocks.0.attn.relative_position_index"] = torch.zeros(197, 197, dtype=torch.int64)
    save_file(state, tmp_path / "weights.safetensors")
    config = EncoderConfig(name="beit-base", weights=tmp_path / "weights.safetensors", tap_layers=(0,))
    encoder = build_encoder(config, (224, 224))
    assert encoder(torch.zeros(1, 3, 224, 224))[0].shape == (1, 197, 768)
    assert encoder.mean == (0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match=r"must be 224x224 for beit-base.*got 448x224"):
        build_encoder(config, (448, 224))


def test_the_weights_of_another_size_of_the_family_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must fit dinov2-reg-small, got .* of another shape: .* and \d+ more"):
        built("dinov2-reg-small", whole_state("random-vit-tiny"), tmp_path, (14, 14))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 30, "depth": 2, "heads": 4}, r"layout\.width must be a multiple of layout\.heads \(4\), got 30"),
        ({"width": 32, "depth": 0, "heads": 4}, r"layout\.depth must be from 1 to 256, got 0"),
        ({"width": 32, "depth": 1, "heads": 4, "registers": -1}, r"layout\.registers must be from 0 to 1024, got -1"),
    ],
)
def test_an_impossible_layout_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VitLayout(**settings)
