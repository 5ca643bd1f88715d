"""The frozen encoder: a network built through timm, whose middle layers the detector reads.

Here the vision transformer, read block by block; a CNN, read stage by stage, is in `encoder_pyramids`.

`build_encoder` joins a row of `encoder_families`, weights (`encoder_weights`, `encoder_hub`) and a network for one
fixed image size (`encoder_networks`). What comes out is the plain residual stream: no final norm, no token dropped.

References:
    Guo et al., Dinomaly, CVPR 2025, arXiv:2405.14325; Oquab et al., DINOv2, arXiv:2304.07193.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from muad.encoders.families import (
    FAMILIES,
    PYRAMIDS,
    RANDOM_PREFIX,
    TAP_LAYERS_BY_DEPTH,
    TIMM_PREFIX,
    EncoderFamily,
    VitLayout,
    custom_family,
)
from muad.encoders.frozen import Frozen
from muad.encoders.hub import hub_file
from muad.encoders.networks import (
    construct_network,
    describe_network,
    is_vision_transformer,
    require_image_size,
    require_layout,
    require_timm_name,
    resample_positions,
    timm_family,
)
from muad.encoders.pyramids import PyramidFamily, pyramid_family
from muad.encoders.weights import fingerprint, read_packaged_tensors, read_tensors, select_tensors, to_timm_naming
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.encoders.networks import Network

_BY_LAYOUT = ("custom", "random-custom")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Which encoder, with which weights, read where. The recipe's table `[detector.encoder]`.

    Attributes:
        name: A name of `FAMILIES`; a CNN of `PYRAMIDS`; `timm:` and the name of any vision transformer or CNN of timm;
            `random-` and a CNN's name (weights from `seed`); `custom` (shape from `layout`, weights from `weights`) or
            `random-custom` (shape from `layout`, weights from `seed`).
        weights: A local file in the naming of the original release or of timm. None: from the hub, the package or
            the seed, as the name says.
        tap_layers: Blocks, or stages of a CNN, counted from 0, whose outputs are read. None: those of the family.
        position_interpolation: How learned positions are brought to the image size. `official`: bicubic without
            antialiasing, offset 0.1, as the Dinomaly authors do; `antialias`: exact grid with antialiasing.
        layout: Shape of a `custom` or `random-custom` encoder.
        seed: Of a random encoder's weights.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "muad-tiny"
    weights: Path | None = None
    tap_layers: tuple[int, ...] | None = None
    position_interpolation: Literal["official", "antialias"] = "official"
    layout: VitLayout | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require_name(self.name)
        if (self.layout is not None) != (self.name in _BY_LAYOUT):
            msg = f"encoder.layout must be given for {' and '.join(_BY_LAYOUT)} and no other, got {self.name}."
            raise ConfigError(msg)
        if self.name == "custom" and self.weights is None:
            msg = "encoder.weights must be given for custom, got none. Name the file, or use random-custom."
            raise ConfigError(msg)
        if self.weights is not None and self.is_random:
            msg = f"encoder.weights must be left out for {self.name}, got {self.weights}. Use custom, or its own name."
            raise ConfigError(msg)
        if self.seed and not self.is_random:
            msg = f"encoder.seed must be 0 for {self.name}, whose weights are trained, got {self.seed}."
            raise ConfigError(msg)
        if not 0 <= self.seed < 2**63:
            msg = f"encoder.seed must be from 0 to below 2^63, got {self.seed}."
            raise ConfigError(msg)
        if self.position_interpolation not in ("official", "antialias"):
            msg = f"encoder.position_interpolation must be official or antialias, got {self.position_interpolation}."
            raise ConfigError(msg)
        if self.name in FAMILIES or self.name in _BY_LAYOUT:
            self.tap_layers_of(self.vit_family())
        elif self.position_interpolation != "official" and TIMM_PREFIX not in self.name:
            msg = f"encoder.position_interpolation must be left out for {self.name}, which has no positions."
            raise ConfigError(msg)

    @property
    def is_random(self) -> bool:
        """Whether the weights come from a seed alone."""
        return self.name.startswith(RANDOM_PREFIX)

    @property
    def is_pyramid(self) -> bool:
        """Whether it is a CNN, read by stages, and no vision transformer, read by blocks."""
        if self.name in FAMILIES or self.name in _BY_LAYOUT:
            return False
        plain = self.name.removeprefix(RANDOM_PREFIX)
        return plain in PYRAMIDS or not is_vision_transformer(plain.removeprefix(TIMM_PREFIX))

    def family(self) -> EncoderFamily | PyramidFamily:
        """The row this name stands for; for a timm name it is read from timm's network."""
        return pyramid_family(self.name) if self.is_pyramid else self.vit_family()

    def vit_family(self) -> EncoderFamily:
        """The row of a vision transformer.

        Raises:
            ConfigError: It is none.
        """
        if self.is_pyramid:
            msg = f"encoder {self.name} must be a plain vision transformer, got a CNN. Choose one of "
            raise ConfigError(f"{msg}{', '.join(FAMILIES)}.")
        if self.name.startswith(TIMM_PREFIX):
            return timm_family(self.name.removeprefix(TIMM_PREFIX))
        if self.layout is not None:
            taps = TAP_LAYERS_BY_DEPTH.get(self.layout.depth, ())
            return custom_family(self.layout, taps, origin="seed" if self.is_random else "file")
        return FAMILIES[self.name]

    def with_random_weights(self) -> EncoderConfig:
        """An encoder of the same shape whose weights come from a seed, so that nothing need be had to build it."""
        if self.is_random:
            return self
        if self.is_pyramid:
            return EncoderConfig(name=RANDOM_PREFIX + self.name, tap_layers=self.tap_layers)
        family = self.vit_family()
        usual = TAP_LAYERS_BY_DEPTH.get(family.layout.depth) == family.tap_layers
        taps = self.tap_layers if usual else self.tap_layers_of(family)  # what is left open stays so: detectors differ
        return EncoderConfig(name="random-custom", layout=family.layout, tap_layers=taps)

    def tap_layers_of(self, family: EncoderFamily) -> tuple[int, ...]:
        """The blocks to read, checked against the family's depth."""
        taps = family.tap_layers if self.tap_layers is None else tuple(self.tap_layers)
        depth = family.layout.depth
        rising = all(a < b for a, b in pairwise(taps))
        if not taps or not rising or taps[0] < 0 or taps[-1] >= depth:
            given = list(taps) if taps else "none, and there is no default for this depth"
            msg = f"encoder.tap_layers must be rising block numbers from 0 to {depth - 1}, got {given}."
            raise ConfigError(msg)
        return taps


class Encoder(Frozen):
    """A frozen vision transformer for images of one size. Get one from `build_encoder`.

    It holds no block after the last one read.

    Attributes, beside those of every frozen network:
        grid: Patches in height and width.
        prefix_tokens: Tokens before the first patch (class token, registers).
        width: Width of a token.
        heads: Attention heads of each block.
        patch_px: Side of a patch.
        tap_layers: Blocks, counted from 0, whose outputs come out.
    """

    network: Network

    def __init__(
        self,
        network: Network,
        config: EncoderConfig,
        family: EncoderFamily,
        image_size: tuple[int, int],
        weights_fingerprint: str,
    ) -> None:
        super().__init__(network, config, family, image_size, weights_fingerprint)
        self.patch_px = family.layout.patch_px
        self.grid = (image_size[0] // self.patch_px, image_size[1] // self.patch_px)
        self.prefix_tokens = family.layout.prefix_tokens
        self.width = family.layout.width
        self.heads = family.layout.heads
        self.tap_layers = config.tap_layers_of(family)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b c H W"]) -> list[Float[Tensor, "b n d"]]:
        """Outputs of the tapped blocks, shallow to deep, all tokens: class token, registers, patches row by row.

        Args:
            images: Normalised by `mean` and `std`, of size `image_size`; of two senses, six channels.
        """
        if images.shape[1] == 6:
            return self.averaged(images)
        self.require_images(images)
        tapped = self.network.forward_intermediates(
            images,
            indices=list(self.tap_layers),
            return_prefix_tokens=self.prefix_tokens > 0,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        if self.prefix_tokens == 0:
            return list(tapped)
        return [torch.cat([prefix, patches], dim=1) for patches, prefix in tapped]


def build_encoder(config: EncoderConfig, image_size: tuple[int, int]) -> Encoder:
    """The encoder a recipe asks for, on the CPU, ready for images of one size.

    Args:
        config: What is wanted.
        image_size: Height and width of the images, each a multiple of the patch.

    Raises:
        ConfigError: The image size or a setting does not go with this encoder.
        CheckpointError: The weights are missing, cannot be had, or do not fit.
    """
    family = config.vit_family()
    taps = config.tap_layers_of(family)
    require_image_size(image_size, family.layout.patch_px)
    if config.position_interpolation == "antialias" and family.positions != "absolute":
        msg = f"encoder.position_interpolation must be left out for {config.name}, whose positions are not learned."
        raise ConfigError(msg)
    known, prefix = _original_shapes(config.name, family)
    targets = _running_shapes(family, image_size, taps)
    _require_trained_size(config.name, family, image_size, known, targets)

    state = to_timm_naming(_read_state(config, family), family)
    needed = {name: known[name] for name in targets}
    selected = select_tensors(state, name=config.name, family=family, needed=needed, known=known)
    weights_fingerprint = fingerprint(selected)
    if "pos_embed" in selected:
        selected["pos_embed"] = resample_positions(
            selected["pos_embed"],
            prefix=prefix,
            old_grid=(family.layout.position_grid, family.layout.position_grid),
            new_grid=(image_size[0] // family.layout.patch_px, image_size[1] // family.layout.patch_px),
            antialias=config.position_interpolation == "antialias",
        )
    network = _pruned(construct_network(family, image_size, seed=config.seed), taps)
    network.load_state_dict(selected, strict=True)
    return Encoder(network, config, family, image_size, weights_fingerprint)


@cache  # describing a network takes longer than running a small one
def _original_shapes(name: str, family: EncoderFamily) -> tuple[Mapping[str, torch.Size], int]:
    """Every tensor of the whole network in the size of its training, and how many positions are of no patch."""
    network = describe_network(family, None)
    require_layout(network, name, family)
    prefix = 0 if getattr(network, "no_embed_class", False) else family.layout.prefix_tokens
    return _shapes_of(network), prefix


@cache
def _running_shapes(
    family: EncoderFamily, image_size: tuple[int, int], taps: tuple[int, ...]
) -> Mapping[str, torch.Size]:
    """Every tensor up to the last tapped block, for images of that size."""
    return _shapes_of(_pruned(describe_network(family, image_size), taps))


def _shapes_of(network: Network) -> Mapping[str, torch.Size]:
    return MappingProxyType({name: tensor.shape for name, tensor in network.state_dict().items()})


def _pruned(network: Network, taps: tuple[int, ...]) -> Network:
    """The network without what comes after the last tapped block."""
    network.prune_intermediate_layers(list(taps), prune_norm=True, prune_head=True)
    return network


def _require_name(name: str) -> None:
    plain = name.removeprefix(RANDOM_PREFIX)
    if plain.startswith(TIMM_PREFIX):
        require_timm_name(plain.removeprefix(TIMM_PREFIX))
    elif name not in FAMILIES and name not in _BY_LAYOUT and plain not in PYRAMIDS:
        names = [*FAMILIES, *PYRAMIDS, *_BY_LAYOUT, *(RANDOM_PREFIX + pyramid for pyramid in PYRAMIDS)]
        close = difflib.get_close_matches(name, names, n=3) or names
        msg = f"encoder.name must be a known encoder or {TIMM_PREFIX}<timm name>, got {name}. Closest: "
        raise ConfigError(msg + ", ".join(close) + ".")


def _read_state(config: EncoderConfig, family: EncoderFamily) -> dict[str, Tensor]:
    """The weights as they come: from the file given, or from where the family has them."""
    if config.weights is not None:
        return read_tensors(config.weights)
    if family.origin == "package":
        return read_packaged_tensors(config.name)
    if family.origin == "seed":
        # Made in the original size, so that one seed means one set of weights at every image size.
        return dict(construct_network(family, None, seed=config.seed).state_dict())
    if family.origin == "hub" and family.timm_name is not None:
        return read_tensors(hub_file(config.name, family.timm_name))
    msg = (
        f"encoder.weights must be given for {config.name}, whose weights are on no hub, got none. Download them "
        f"from {family.source} and set detector.encoder.weights (--encoder-weights FILE)."
    )
    raise ConfigError(msg)


def _require_trained_size(
    name: str,
    family: EncoderFamily,
    image_size: tuple[int, int],
    known: Mapping[str, torch.Size],
    targets: Mapping[str, torch.Size],
) -> None:
    """Refuse another image size where more than the learned positions depends on it (BEiT's relative positions)."""
    if any(known[key] != shape for key, shape in targets.items() if key != "pos_embed"):
        side = family.layout.position_grid * family.layout.patch_px
        msg = f"image height and width must be {side}x{side} for {name}, whose positions are relative and tied to that"
        msg += f" size, got {image_size[0]}x{image_size[1]}. Use {side}, or another encoder."
        raise ConfigError(msg)
