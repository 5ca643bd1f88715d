"""The frozen encoder against a plain reading of the papers' network, the recorded numbers, and timm's own blocks."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from muad.encoders.encoder import Encoder, EncoderConfig, build_encoder
from muad.encoders.families import FAMILIES, VitLayout
from muad.encoders.networks import construct_network, require_image_size
from muad.errors import CheckpointError, ConfigError

LAYOUT = VitLayout(width=32, depth=4, heads=4, patch_px=4, registers=3, position_grid=6)
Tensors = dict[str, torch.Tensor]


def meta_weights(layout: VitLayout, seed: int = 0) -> Tensors:
    """Random weights in the naming of Meta's DINOv2 releases."""
    draw = torch.Generator().manual_seed(seed)
    d, p = layout.width, layout.patch_px
    shapes = {"cls_token": (1, 1, d), "pos_embed": (1, 1 + layout.position_grid**2, d), "mask_token": (1, d)}
    shapes |= {"patch_embed.proj.weight": (d, 3, p, p), "patch_embed.proj.bias": (d,)}
    shapes |= {"norm.weight": (d,), "norm.bias": (d,)}
    if layout.registers:
        shapes["register_tokens"] = (1, layout.registers, d)
    block = {"norm1.weight": (d,), "norm1.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,)}
    block |= {"attn.qkv.weight": (3 * d, d), "attn.qkv.bias": (3 * d,), "attn.proj.weight": (d, d)}
    block |= {"attn.proj.bias": (d,), "mlp.fc1.weight": (4 * d, d), "mlp.fc1.bias": (4 * d,)}
    block |= {"mlp.fc2.weight": (d, 4 * d), "mlp.fc2.bias": (d,)}
    if layout.layer_scale:
        block |= {"ls1.gamma": (d,), "ls2.gamma": (d,)}
    for i in range(layout.depth):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return {name: 0.3 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def plain_taps(w: Tensors, layout: VitLayout, images: torch.Tensor, taps: tuple[int, ...]) -> list[torch.Tensor]:
    """DINOv2's forward pass as its paper and release describe it, run on Meta-named weights."""
    d, heads = layout.width, layout.heads
    x = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=layout.patch_px)
    grid = x.shape[-2:]
    positions = w["pos_embed"][:, 1:].reshape(1, layout.position_grid, layout.position_grid, d).permute(0, 3, 1, 2)
    if tuple(grid) != (layout.position_grid, layout.position_grid):
        scale = [(side + 0.1) / layout.position_grid for side in grid]
        positions = F.interpolate(positions, scale_factor=scale, mode="bicubic")
    patches = (x + positions).flatten(2).transpose(1, 2)
    class_token = w["cls_token"] + w["pos_embed"][:, :1]
    prefix = [class_token, w["register_tokens"]] if layout.registers else [class_token]
    x = torch.cat([*(token.expand(len(images), -1, -1) for token in prefix), patches], dim=1)
    out = []
    for i in range(layout.depth):
        b = {name.removeprefix(f"blocks.{i}."): t for name, t in w.items() if name.startswith(f"blocks.{i}.")}
        y = F.layer_norm(x, (d,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        qkv = F.linear(y, b["attn.qkv.weight"], b["attn.qkv.bias"])
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        y = ((q @ k.transpose(2, 3)) / (d // heads) ** 0.5).softmax(-1) @ v
        y = F.linear(y.transpose(1, 2).flatten(2), b["attn.proj.weight"], b["attn.proj.bias"])
        x = x + y * b.get("ls1.gamma", torch.ones(d))
        y = F.layer_norm(x, (d,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        y = F.gelu(F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
        x = x + F.linear(y, b["mlp.fc2.weight"], b["mlp.fc2.bias"]) * b.get("ls2.gamma", torch.ones(d))
        if i in taps:
            out.append(x)
    return out


def save(weights: Tensors, folder: Path, name: str = "weights.safetensors") -> Path:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, folder / name)
    return folder / name


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


def random_encoder(*, image_size: tuple[int, int] = (16, 24), seed: int = 0) -> Encoder:
    config = EncoderConfig(name="random-custom", layout=LAYOUT, tap_layers=(0, 2), seed=seed)
    return build_encoder(config, image_size)


@pytest.mark.parametrize(
    ("layout", "image_size"),
    [
        (LAYOUT, (16, 24)),
        (LAYOUT, (24, 24)),
        (LAYOUT, (16, 36)),
        (VitLayout(width=48, depth=3, heads=2, patch_px=6, registers=0, position_grid=5), (18, 42)),
        (VitLayout(width=24, depth=5, heads=3, patch_px=8, registers=4, layer_scale=False, position_grid=3), (64, 32)),
    ],
)
def test_tapped_tokens_are_those_of_a_plain_forward_pass(
    layout: VitLayout, image_size: tuple[int, int], tmp_path: Path
) -> None:
    weights = meta_weights(layout)
    config = EncoderConfig(name="custom", weights=save(weights, tmp_path), layout=layout, tap_layers=(0, 2))
    images = torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(1))
    encoder = build_encoder(config, image_size)
    tapped = encoder(images)
    for value, reference in zip(tapped, plain_taps(weights, layout, images, (0, 2)), strict=True):
        assert value.shape == (2, encoder.prefix_tokens + encoder.grid[0] * encoder.grid[1], layout.width)
        assert relative_error(value, reference) < 1e-5


@pytest.mark.shared
def test_groups_equal_the_authors_recorded_ones(golden: Tensors, tmp_path: Path) -> None:
    prefix = "weights.encoder."
    weights = {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}
    layout = VitLayout(width=64, depth=12, heads=4)
    encoder = build_encoder(EncoderConfig(name="custom", weights=save(weights, tmp_path), layout=layout), (112, 112))
    assert encoder.tap_layers == (2, 3, 4, 5, 6, 7, 8, 9)
    tapped = torch.stack(encoder(golden["image"]))[:, :, encoder.prefix_tokens :]
    for group in (0, 1):
        fused = tapped[4 * group : 4 * group + 4].mean(0).transpose(1, 2).unflatten(2, encoder.grid)
        assert relative_error(fused, golden[f"encoder_group.{group}"]) <= 1e-5


def test_tapped_tokens_are_the_raw_outputs_of_timms_blocks() -> None:
    encoder = random_encoder()
    images = torch.randn(1, 3, 16, 24)
    outputs: list[torch.Tensor] = []
    for block in encoder.network.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    tapped = encoder(images)
    assert len(outputs) == 3
    torch.testing.assert_close(tapped[0], outputs[0], rtol=0, atol=0)
    torch.testing.assert_close(tapped[1], outputs[2], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["random-vit-tiny", "timm:test_vit2", "timm:vit_small_patch16_dinov3"])
def test_pixels_and_their_embedding_stay_float32_under_autocast(name: str) -> None:
    # 1.5 and 1.5017, a tenth of a grey level apart, are the same number in bfloat16.
    network = construct_network(EncoderConfig(name=name).family(), (112, 112), seed=0).eval()
    images = torch.full((2, 3, 112, 112), 1.5)
    images[1, :, ::2] += 0.1 / 255 / 0.229
    assert torch.equal(*images.bfloat16())
    exact = network.patch_embed(images)
    with torch.autocast("cpu", torch.bfloat16):
        embedded = network.patch_embed(images)
        rounded = network.blocks[0].mlp(torch.randn(1, 5, network.embed_dim))
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(embedded, exact, rtol=0, atol=0)
    assert not torch.equal(*embedded)


def test_blocks_after_the_last_tap_norm_and_head_do_not_exist() -> None:
    encoder = random_encoder()
    names = {name.split(".")[1] for name, _ in encoder.named_parameters()}
    assert len(encoder.network.blocks) == 3
    assert names == {"cls_token", "reg_token", "pos_embed", "patch_embed", "blocks"}


def test_it_stays_frozen_and_in_eval_mode_whatever_is_asked() -> None:
    encoder = random_encoder()
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    images = torch.randn(1, 3, 16, 24, requires_grad=True)
    assert not encoder(images)[0].requires_grad


def test_a_seed_means_one_set_of_weights_at_every_size_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small, large = random_encoder(), random_encoder(image_size=(32, 32))
    assert torch.equal(torch.rand(3), expected)
    assert small.fingerprint == large.fingerprint != random_encoder(seed=1).fingerprint
    assert small.is_random
    assert small.source == "seeded random weights, seed 0"


def test_meta_and_timm_naming_in_any_container_give_the_same_encoder(tmp_path: Path) -> None:
    meta = meta_weights(LAYOUT)
    timm_named = {key: tensor for key, tensor in meta.items() if key not in ("mask_token", "register_tokens")}
    timm_named["reg_token"] = meta["register_tokens"]
    timm_named["cls_token"] = meta["cls_token"] + meta["pos_embed"][:, :1]
    timm_named["pos_embed"] = meta["pos_embed"][:, 1:]
    pruned = {key: tensor for key, tensor in timm_named.items() if not key.startswith(("norm.", "blocks.3."))}
    torch.save(meta, tmp_path / "flat.pth")
    torch.save({"teacher": meta, "epoch": 3}, tmp_path / "nested.bin")
    files = [save(meta, tmp_path, "meta.safetensors"), save(timm_named, tmp_path, "timm.safetensors")]
    files += [save(pruned, tmp_path, "pruned.safetensors"), tmp_path / "flat.pth", tmp_path / "nested.bin"]
    configs = [EncoderConfig(name="custom", weights=file, layout=LAYOUT, tap_layers=(0, 2)) for file in files]
    assert len({build_encoder(config, (16, 24)).fingerprint for config in configs}) == 1


def test_half_precision_files_are_read_as_float32(tmp_path: Path) -> None:
    half = {key: tensor.half() for key, tensor in meta_weights(LAYOUT).items()}
    config = EncoderConfig(name="custom", weights=save(half, tmp_path), layout=LAYOUT, tap_layers=(1,))
    encoder = build_encoder(config, (16, 16))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_the_two_interpolations_differ_and_agree_on_the_trained_grid(tmp_path: Path) -> None:
    file = save(meta_weights(LAYOUT), tmp_path)
    taps = {}
    for mode in ("official", "antialias"):
        config = EncoderConfig(name="custom", weights=file, layout=LAYOUT, tap_layers=(0,), position_interpolation=mode)
        taps[mode] = {size: build_encoder(config, size)(torch.ones(1, 3, *size))[0] for size in ((24, 24), (16, 16))}
    assert torch.equal(taps["official"][24, 24], taps["antialias"][24, 24])
    assert relative_error(taps["official"][16, 16], taps["antialias"][16, 16]) > 1e-3


def test_missing_foreign_and_misshapen_tensors_are_listed(tmp_path: Path) -> None:
    weights = meta_weights(LAYOUT)
    del weights["blocks.1.mlp.fc1.bias"]
    weights["blocks.9.norm1.bias"] = torch.zeros(32)
    weights["blocks.0.norm1.bias"] = torch.zeros(31)
    config = EncoderConfig(name="custom", weights=save(weights, tmp_path), layout=LAYOUT, tap_layers=(0, 2))
    with pytest.raises(CheckpointError) as caught:
        build_encoder(config, (16, 16))
    assert str(caught.value) == (
        "encoder weights must fit custom, got 1 missing: blocks.1.mlp.fc1.bias; 1 unexpected: blocks.9.norm1.bias; "
        "1 of another shape: blocks.0.norm1.bias must be (32,), got (31,). "
        "Give the file of that encoder, or its right name."
    )


def test_weights_trained_on_another_grid_are_refused(tmp_path: Path) -> None:
    other = VitLayout(width=32, depth=4, heads=4, patch_px=4, registers=3, position_grid=7)
    config = EncoderConfig(name="custom", weights=save(meta_weights(other), tmp_path), layout=LAYOUT, tap_layers=(0,))
    with pytest.raises(CheckpointError, match=r"pos_embed must be \(1, 36, 32\), got \(1, 49, 32\)"):
        build_encoder(config, (16, 16))


@pytest.mark.parametrize(
    ("size", "advice"),
    [
        ((400, 392), "got 400x392. Use 392 or 406."),
        ((400, 400), "got 400x400. Use 392 or 406."),
        ((400, 300), "got 400x300. Use 392x294 or 406x308."),
        ((13, 14), "got 13x14. Use 14."),
    ],
)
def test_an_image_size_that_patches_do_not_tile_is_refused_with_the_nearest_that_do(
    size: tuple[int, int], advice: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        require_image_size(size, 14)
    assert str(caught.value) == f"image height and width must be multiples of 14, {advice}"


def test_images_of_another_size_than_built_for_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"images must be \[b, 3, 16, 24\], got \[1, 3, 24, 16\]"):
        random_encoder()(torch.zeros(1, 3, 24, 16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "dinov2-reg-bse"}, "Closest: dinov2-reg-base"),
        ({"name": "custom"}, r"encoder\.layout must be given"),
        ({"name": "dinov2-base", "layout": LAYOUT}, r"encoder\.layout must be given for"),
        ({"name": "custom", "layout": LAYOUT}, r"encoder\.weights must be given for custom"),
        ({"name": "random-vit-tiny", "weights": Path("x.pth")}, r"encoder\.weights must be left out"),
        ({"name": "dinov2-base", "seed": 1}, r"encoder\.seed must be 0 for dinov2-base"),
        ({"name": "random-vit-tiny", "seed": -1}, r"encoder\.seed must be from 0 to below 2\^63, got -1"),
        ({"position_interpolation": "exact"}, "official or antialias, got exact"),
        ({"tap_layers": (2, 12)}, r"rising block numbers from 0 to 11, got \[2, 12\]"),
        ({"tap_layers": (3, 3)}, r"got \[3, 3\]"),
        ({"name": "random-custom", "layout": LAYOUT}, "no default for this depth"),
        ({"name": "timm:vit_tiny_patch16_22"}, "Closest: timm:vit_tiny_patch16_224"),
        ({"name": "timm:vit_tiny_patch16_224.nothing"}, r"got vit_tiny_patch16_224\.nothing"),
    ],
)
def test_a_setting_outside_what_is_allowed_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**settings)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:swin_tiny_patch4_window7_224"])
def test_a_timm_model_that_is_no_plain_vit_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must be a plain vision transformer"):
        build_encoder(EncoderConfig(name=name), (224, 224))


def test_an_encoder_without_published_weights_asks_for_the_file() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.weights must be given for ibot-small.*--encoder-weights FILE"):
        build_encoder(EncoderConfig(name="ibot-small"), (32, 32))


def test_antialias_is_refused_where_no_positions_are_learned() -> None:
    with pytest.raises(ConfigError, match="dinov3-small, whose positions are not learned"):
        build_encoder(EncoderConfig(name="dinov3-small", position_interpolation="antialias"), (32, 32))


def test_the_default_encoder_is_a_tiny_one_of_dinov2s_token_layout() -> None:
    encoder = build_encoder(EncoderConfig(), (42, 28))
    assert (encoder.width, encoder.heads, encoder.patch_px, encoder.prefix_tokens) == (192, 3, 14, 5)
    assert encoder.grid == (3, 2)
    assert (encoder.mean, encoder.std) == (FAMILIES[encoder.name].mean, FAMILIES[encoder.name].std)
    assert all(tokens.shape == (1, 11, 192) for tokens in encoder(torch.zeros(1, 3, 42, 28)))
