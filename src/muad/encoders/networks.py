"""Networks without weights: timm's vision transformers, at the size they were trained on or at that of the images.

The network in its original size (built without memory) tells which tensors there must be and of which shapes; the one
in the images' size is the one that runs.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from muad.encoders.families import TAP_LAYERS_BY_DEPTH, TIMM_PREFIX, EncoderFamily, Positions, VitLayout
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from timm.models import VisionTransformer
    from timm.models.beit import Beit
    from timm.models.eva import Eva
    from torch import Tensor

    Network: TypeAlias = VisionTransformer | Eva | Beit


class Float32Convolution(nn.Conv2d):
    """A convolution that stays float32 under autocast: the embedding of patches.

    In bfloat16 a normalised pixel is off by up to half a grey level, which is a large part of the error of the
    features and costs next to nothing to avoid: the embedding is 1 or 2 % of the encoder's products.

    Args:
        convolution: Without padding. Gives its settings and its parameters, which are shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        with torch.device("meta"):
            super().__init__(
                convolution.in_channels,
                convolution.out_channels,
                kernel_size=(convolution.kernel_size[0], convolution.kernel_size[1]),
                stride=(convolution.stride[0], convolution.stride[1]),
                bias=convolution.bias is not None,
            )
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b d h w"]:
        """As torch does it, whatever precision is asked for around it."""
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images.float())


def construct_network(family: EncoderFamily, image_size: tuple[int, int] | None, *, seed: int) -> Network:
    """The whole network on the CPU, initialised from a seed and without touching the global random state.

    Args:
        family: Its row.
        image_size: Height and width of the images, or None for those of its training.
        seed: For the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _construct(family, image_size)
    if type(network.patch_embed.proj) is nn.Conv2d:  # not so in the few of timm that begin with a convolutional stem
        network.patch_embed.proj = Float32Convolution(network.patch_embed.proj)
    return network


def describe_network(family: EncoderFamily, image_size: tuple[int, int] | None) -> Network:
    """The whole network with shapes but neither memory nor values; `image_size` as for `construct_network`."""
    with torch.device("meta"):
        return _construct(family, image_size)


def timm_family(timm_name: str) -> EncoderFamily:
    """The row of any vision transformer of timm, read from the network itself."""
    import timm

    with torch.device("meta"):
        network = timm.create_model(timm_name, pretrained=False)
    published = network.pretrained_cfg
    _require_plain_vit(network, timm_name)
    layout = _layout_of(network)
    return EncoderFamily(
        layout=layout,
        tap_layers=TAP_LAYERS_BY_DEPTH.get(layout.depth, ()),
        timm_name=timm_name,
        positions=_positions_of(network),
        ignored=("head.*", "norm.*", "fc_norm.*"),
        mean=tuple(published["mean"]),
        std=tuple(published["std"]),
        licence=str(published.get("license") or "unknown"),
        source=f"timm, {timm_name}",
    )


@cache
def is_vision_transformer(timm_name: str) -> bool:
    """Whether timm has a plain vision transformer under that name."""
    import timm
    from timm.models import VisionTransformer
    from timm.models.beit import Beit
    from timm.models.eva import Eva

    with torch.device("meta"):
        return isinstance(timm.create_model(timm_name, pretrained=False), VisionTransformer | Eva | Beit)


def require_timm_name(timm_name: str) -> None:
    """Refuse a name that timm does not know, with the closest it does."""
    import timm

    architecture, _, tag = timm_name.partition(".")
    tags_known = timm.list_pretrained(f"{architecture}.*") if tag else [timm_name]
    if timm.is_model(architecture) and timm_name in tags_known:
        return
    known = [*timm.list_models(), *timm.list_pretrained()]
    close = [TIMM_PREFIX + name for name in difflib.get_close_matches(timm_name, known, n=3)]
    msg = f"encoder name after {TIMM_PREFIX} must be known to timm, got {timm_name}."
    raise ConfigError(f"{msg} Closest: {', '.join(close)}." if close else msg)


def require_layout(network: Network, name: str, family: EncoderFamily) -> None:
    """Hold a row's layout against the network: a wrong number of prefix tokens would train, and mean nothing."""
    found = (_layout_of(network), _positions_of(network))
    if found != (family.layout, family.positions):
        msg = (
            f"encoder {name} must be laid out as {family.layout} with {family.positions} positions, got {found[0]} "
            f"with {found[1]} from the installed timm. Install the timm version this release names."
        )
        raise ConfigError(msg)


def require_image_size(image_size: tuple[int, int], patch_px: int) -> None:
    """Refuse an image size that patches of this side do not tile, naming the nearest that they do."""
    height, width = image_size
    if height > 0 and width > 0 and height % patch_px == 0 and width % patch_px == 0:
        return
    below = (height // patch_px * patch_px, width // patch_px * patch_px)
    above = (-(-max(height, 1) // patch_px) * patch_px, -(-max(width, 1) // patch_px) * patch_px)
    sides = [side for side in (0, 1) if below[side] != above[side]]

    def spell(size: tuple[int, int]) -> str:
        one_number = len(sides) == 1 or height == width
        return str(size[sides[0]]) if one_number else f"{size[0]}x{size[1]}"

    choices = " or ".join(spell(size) for size in (below, above) if min(size) > 0)
    msg = f"image height and width must be multiples of {patch_px}, got {height}x{width}. Use {choices}."
    raise ConfigError(msg)


def resample_positions(
    positions: Float[Tensor, "1 p d"],
    *,
    prefix: int,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    antialias: bool,
) -> Float[Tensor, "1 q d"]:
    """Learned positions of one grid of patches, bicubically resampled to another, in float32.

    Args:
        positions: Row-major entries of the grid, after those of the prefix tokens.
        prefix: Entries that belong to prefix tokens; they stay as they are.
        old_grid: Rows and columns given.
        new_grid: Rows and columns wanted.
        antialias: False is how the Dinomaly authors run every encoder: no antialiasing, and a scale of
            (rows + 0.1) / old rows that also moves the sampling points. True samples the exact grid with
            antialiasing, as Meta's own entry for register models and timm do.
    """
    if new_grid == old_grid:
        return positions
    image = positions[:, prefix:].float().reshape(1, *old_grid, -1).permute(0, 3, 1, 2)
    if antialias:
        image = F.interpolate(image, size=new_grid, mode="bicubic", antialias=True)
    else:
        scale = ((new_grid[0] + 0.1) / old_grid[0], (new_grid[1] + 0.1) / old_grid[1])
        image = F.interpolate(image, scale_factor=scale, mode="bicubic")
    return torch.cat([positions[:, :prefix], image.flatten(2).transpose(1, 2)], dim=1)


def _construct(family: EncoderFamily, image_size: tuple[int, int] | None) -> Network:
    import timm
    from timm.models import VisionTransformer

    if family.timm_name is not None:
        if image_size is None:
            return timm.create_model(family.timm_name, pretrained=False)
        return timm.create_model(family.timm_name, pretrained=False, img_size=image_size)
    layout = family.layout
    side = layout.position_grid * layout.patch_px
    return VisionTransformer(
        img_size=(side, side) if image_size is None else image_size,
        patch_size=layout.patch_px,
        embed_dim=layout.width,
        depth=layout.depth,
        num_heads=layout.heads,
        init_values=1.0 if layout.layer_scale else None,
        class_token=layout.class_token,
        reg_tokens=layout.registers,
        no_embed_class=layout.registers > 0,
        num_classes=0,
        global_pool="",
    )


def _require_plain_vit(network: nn.Module, timm_name: str) -> None:
    from timm.models import VisionTransformer
    from timm.models.beit import Beit
    from timm.models.eva import Eva

    if not isinstance(network, VisionTransformer | Eva | Beit):
        msg = f"encoder {TIMM_PREFIX}{timm_name} must be a plain vision transformer, got {type(network).__name__}."
        raise ConfigError(msg)
    patch, grid = network.patch_embed.patch_size, network.patch_embed.grid_size
    if patch[0] != patch[1] or grid[0] != grid[1]:
        msg = f"encoder {TIMM_PREFIX}{timm_name} must have square patches and grid, got {patch} and {grid}."
        raise ConfigError(msg)


def _layout_of(network: Network) -> VitLayout:
    class_token = getattr(network, "cls_token", None) is not None
    return VitLayout(
        width=network.embed_dim,
        depth=len(network.blocks),
        heads=network.blocks[0].attn.num_heads,
        patch_px=network.patch_embed.patch_size[0],
        registers=network.num_prefix_tokens - int(class_token),
        class_token=class_token,
        layer_scale=any("gamma" in name for name, _ in network.blocks[0].named_parameters()),
        position_grid=network.patch_embed.grid_size[0],
    )


def _positions_of(network: Network) -> Positions:
    if getattr(network, "pos_embed", None) is not None:
        return "absolute"
    return "rotary" if getattr(network, "rope", None) is not None else "relative"
