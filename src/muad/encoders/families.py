"""Which frozen encoders there are: one row each, with its token layout, tapped blocks, normalisation and licence.

Nothing is guessed from a name: what a row states is compared with the network timm builds (`muad.encoders.encoder`).
Tapped blocks are those of the official Dinomaly code: the middle eight of 12, every second one of 24.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from muad.errors import ConfigError

Origin = Literal["hub", "file", "package", "registry", "seed"]
Positions = Literal["absolute", "rotary", "relative"]
Naming = Literal["dinov2-registers", "dinov3", "timm"]

TIMM_PREFIX = "timm:"
RANDOM_PREFIX = "random-"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
TAP_LAYERS_BY_DEPTH = {12: (2, 3, 4, 5, 6, 7, 8, 9), 24: (4, 6, 8, 10, 12, 14, 16, 18)}


# Several times what the largest published encoder has.
_LARGEST = {"width": 16_384, "depth": 256, "heads": 256, "patch_px": 256, "position_grid": 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class VitLayout:
    """Shape of a vision transformer: the part of a recipe that describes a `custom` or `random-custom` encoder.

    Attributes:
        width: Token width, a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads of each block.
        patch_px: Side of a patch.
        registers: Register tokens between the class token and the patches; with any, neither they nor the class
            token have an entry of their own in timm's `pos_embed`.
        class_token: Whether there is one.
        layer_scale: Whether each branch has a learned scale per channel.
        position_grid: Side, in patches, of the grid the weights were trained on.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    width: int
    depth: int
    heads: int
    patch_px: int = 14
    registers: int = 4
    class_token: bool = True
    layer_scale: bool = True
    position_grid: int = 37

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch_px", "position_grid"):
            if not 1 <= getattr(self, name) <= _LARGEST[name]:
                msg = f"layout.{name} must be from 1 to {_LARGEST[name]}, got {getattr(self, name)}."
                raise ConfigError(msg)
        if not 0 <= self.registers <= 1024:
            msg = f"layout.registers must be from 0 to 1024, got {self.registers}."
            raise ConfigError(msg)
        if self.width % self.heads:
            msg = f"layout.width must be a multiple of layout.heads ({self.heads}), got {self.width}."
            raise ConfigError(msg)

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the first patch: class token and registers."""
        return int(self.class_token) + self.registers


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFamily:
    """One encoder one can ask for by name.

    Attributes:
        layout: Shape and token layout.
        tap_layers: Blocks (from 0) whose outputs the detector reads.
        origin: Where weights come from if no file is given: timm's hub copy, nowhere (a file must be given), this
            package, or a seed.
        timm_name: Architecture and weights in timm, or None for a plain ViT built from `layout`.
        positions: How patches know their place. `relative` fixes the image size.
        naming: Naming of the original release, where it is not timm's.
        ignored: Patterns of tensors a release may hold beside the network itself.
        mean: Channel means of the images it was trained on.
        std: Channel standard deviations of these.
        licence: Of the weights.
        source: Who made the weights.
    """

    layout: VitLayout
    tap_layers: tuple[int, ...]
    origin: Origin = "hub"
    timm_name: str | None = None
    positions: Positions = "absolute"
    naming: Naming = "timm"
    ignored: tuple[str, ...] = ()
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = "Apache-2.0"
    source: str = ""

    @property
    def patch_px(self) -> int:
        """Side of a patch."""
        return self.layout.patch_px


_SHAPES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}  # width, depth, heads


def _layout(
    size: str, *, patch_px: int, position_grid: int, registers: int = 0, layer_scale: bool = False
) -> VitLayout:
    width, depth, heads = _SHAPES[size]
    return VitLayout(
        width=width,
        depth=depth,
        heads=heads,
        patch_px=patch_px,
        registers=registers,
        layer_scale=layer_scale,
        position_grid=position_grid,
    )


def _dinov2(size: str, *, registers: int) -> EncoderFamily:
    layout = _layout(size, patch_px=14, position_grid=37, registers=registers, layer_scale=True)
    return EncoderFamily(
        layout=layout,
        tap_layers=TAP_LAYERS_BY_DEPTH[layout.depth],
        timm_name=f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m",
        naming="dinov2-registers" if registers else "timm",
        ignored=("mask_token",),
        source="Meta, DINOv2" + (" with registers" if registers else ""),
    )


def _dinov3(size: str) -> EncoderFamily:
    layout = _layout(size, patch_px=16, position_grid=16, registers=4, layer_scale=True)
    return EncoderFamily(
        layout=layout,
        tap_layers=TAP_LAYERS_BY_DEPTH[layout.depth],
        # The variant with query and value biases holds every release; those without get zeros, which is the same.
        timm_name=f"vit_{size}_patch16_dinov3_qkvb.lvd1689m",
        positions="rotary",
        naming="dinov3",
        ignored=("mask_token", "rope_embed.periods", "rope.periods", "local_cls_norm.*"),
        licence="DINOv3 License",
        source="Meta, DINOv3",
    )


def _vit_224(
    size: str,
    timm_name: str,
    source: str,
    *,
    patch_px: int = 16,
    origin: Origin = "hub",
    ignored: tuple[str, ...] = (),
    licence: str = "Apache-2.0",
) -> EncoderFamily:
    layout = _layout(size, patch_px=patch_px, position_grid=224 // patch_px)
    return EncoderFamily(
        layout=layout,
        tap_layers=TAP_LAYERS_BY_DEPTH[layout.depth],
        origin=origin,
        timm_name=timm_name,
        ignored=ignored,
        licence=licence,
        source=source,
    )


def _ibot(size: str) -> EncoderFamily:
    ignored = ("head.*", "masked_embed")
    return _vit_224(
        size,
        f"vit_{size}_patch16_224",
        "ByteDance, iBOT (release page: bytedance/ibot on GitHub)",
        origin="file",
        ignored=ignored,
    )


def _mae(size: str) -> EncoderFamily:
    ignored = ("mask_token", "decoder_*")
    return _vit_224(size, f"vit_{size}_patch16_224.mae", "Meta, MAE", ignored=ignored, licence="CC-BY-NC-4.0")


def _beit(
    timm_name: str, source: str, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> EncoderFamily:
    return EncoderFamily(
        layout=_layout("base", patch_px=16, position_grid=14, layer_scale=True),
        tap_layers=TAP_LAYERS_BY_DEPTH[12],
        timm_name=timm_name,
        positions="relative",
        ignored=("head.*", "norm.*", "mask_token", "lm_head.*", "*relative_position_index"),
        mean=mean,
        std=std,
        source=source,
    )


def _tiny(*, origin: Origin, layer_scale: bool, position_grid: int, source: str) -> EncoderFamily:
    layout = VitLayout(width=192, depth=12, heads=3, layer_scale=layer_scale, position_grid=position_grid)
    return EncoderFamily(
        layout=layout,
        tap_layers=TAP_LAYERS_BY_DEPTH[layout.depth],
        origin=origin,
        naming="dinov2-registers",
        ignored=("mask_token",),
        source=source,
    )


FAMILIES: dict[str, EncoderFamily] = {
    "dinov2-reg-small": _dinov2("small", registers=4),
    "dinov2-reg-base": _dinov2("base", registers=4),
    "dinov2-reg-large": _dinov2("large", registers=4),
    "dinov2-small": _dinov2("small", registers=0),
    "dinov2-base": _dinov2("base", registers=0),
    "dinov2-large": _dinov2("large", registers=0),
    "dinov3-small": _dinov3("small"),
    "dinov3-base": _dinov3("base"),
    "dinov3-large": _dinov3("large"),
    "dino-small": _vit_224("small", "vit_small_patch16_224.dino", "Meta, DINO", ignored=("head.*",)),
    "dino-base": _vit_224("base", "vit_base_patch16_224.dino", "Meta, DINO", ignored=("head.*",)),
    "dino-small-8": _vit_224("small", "vit_small_patch8_224.dino", "Meta, DINO", patch_px=8, ignored=("head.*",)),
    "dino-base-8": _vit_224("base", "vit_base_patch8_224.dino", "Meta, DINO", patch_px=8, ignored=("head.*",)),
    "ibot-small": _ibot("small"),
    "ibot-base": _ibot("base"),
    "mae-base": _mae("base"),
    "mae-large": _mae("large"),
    "deit-small": _vit_224("small", "deit_small_patch16_224.fb_in1k", "Meta, DeiT", ignored=("head.*",)),
    "deit-base": _vit_224("base", "deit_base_patch16_224.fb_in1k", "Meta, DeiT", ignored=("head.*",)),
    # The official code reads the releases fine-tuned on ImageNet-22k, so these are they.
    # DEVIATION: it normalises every encoder's images by ImageNet's statistics; BEiT was trained with mean and std 0.5.
    "beit-base": _beit("beit_base_patch16_224.in22k_ft_in22k", "Microsoft, BEiT", _HALF, _HALF),
    "beitv2-base": _beit("beitv2_base_patch16_224.in1k_ft_in22k", "Microsoft, BEiT v2", IMAGENET_MEAN, IMAGENET_STD),
    "muad-tiny": _tiny(origin="package", layer_scale=True, position_grid=20, source="shipped with muad"),
    "random-vit-tiny": _tiny(origin="seed", layer_scale=False, position_grid=16, source="seeded random weights"),
}


PYRAMIDS = {
    "resnet18": "resnet18.tv_in1k",
    "resnet34": "resnet34.tv_in1k",
    "wide_resnet50_2": "wide_resnet50_2.tv_in1k",
    "efficientnet_b4": "tf_efficientnet_b4.aa_in1k",
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite1": "tf_efficientnet_lite1",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}
"""CNNs read by stages, with the weights in timm that compared systems use: those of torchvision and of the authors; or
with those of packages of the registry (`muad.encoders.packages`)."""


def custom_family(layout: VitLayout, tap_layers: tuple[int, ...], *, origin: Origin) -> EncoderFamily:
    """The row for an encoder whose shape the recipe gives."""
    return EncoderFamily(
        layout=layout,
        tap_layers=tap_layers,
        origin=origin,
        naming="dinov2-registers" if layout.registers and layout.class_token else "timm",
        ignored=("mask_token", "head.*"),
        licence="unknown" if origin == "file" else "Apache-2.0",
        source="custom weights" if origin == "file" else "seeded random weights",
    )
