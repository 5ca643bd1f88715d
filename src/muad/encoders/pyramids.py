"""The frozen encoder as a pyramid: a CNN of timm whose stages, each of half the size of the one before, are read.

Beside `encoder`, which reads the tokens of vision transformers. Names, weights, files, hub, fingerprint and licences
are handled alike; what differs is what comes out: one feature map for each stage.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from muad.encoders.block_stages import BlockStages
from muad.encoders.families import IMAGENET_MEAN, IMAGENET_STD, PYRAMIDS, RANDOM_PREFIX, TIMM_PREFIX, Origin
from muad.encoders.folded_norms import folded
from muad.encoders.frozen import Frozen
from muad.encoders.hub import hub_file
from muad.encoders.packages import LITE_MEAN, LITE_STD, PACKAGED, named_in_order, read_packaged
from muad.encoders.weights import fingerprint, read_tensors, select_tensors
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.encoders.encoder import EncoderConfig

_COUNTER = "num_batches_tracked"  # says how batch norm's statistics came about; takes no part in anything
_DEFAULT_STAGES = (1, 2, 3)
_LITE_STAGES = (1, 2, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidFamily:
    """One CNN one can ask for by name.

    Stages are those that halve the size; of the networks in packages of the registry they are all stages of blocks, of
    which several have the same stride.

    Attributes:
        timm_name: Architecture and weights in timm.
        channels: Of every stage it has.
        strides: Pixels of the image to a place of each stage.
        tap_layers: The stages that are read unless said otherwise: of strides 4, 8 and 16 in the usual networks.
        origin: Where weights come from if no file is given.
        ignored: Patterns of tensors a release may hold beside the network itself.
        mean: Channel means of the images it was trained on.
        std: Channel standard deviations of these.
        licence: Of the weights.
        source: Who made the weights.
    """

    timm_name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    tap_layers: tuple[int, ...]
    origin: Origin = "hub"
    ignored: tuple[str, ...] = (f"*{_COUNTER}",)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = "unknown"
    source: str = ""

    def stages_of_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Every stage of these strides, fine to coarse."""
        return tuple(stage for stage, stride in enumerate(self.strides) if stride in strides)

    @property
    def patch_px(self) -> int:
        """Pixels to a place of the finest of these."""
        return self.strides[self.tap_layers[0]]


class Pyramid(Frozen):
    """A frozen CNN for images of one size. Get one from `build_pyramid`.

    A detector that trains a copy takes `copy.deepcopy(pyramid.network)`.

    Attributes, beside those of every frozen network:
        tap_layers: Stages, counted from 0, whose maps come out.
        channels: Of each of these.
        grids: Rows and columns of each.
    """

    def __init__(
        self,
        network: nn.Module,
        config: EncoderConfig,
        family: PyramidFamily,
        image_size: tuple[int, int],
        weights_fingerprint: str,
    ) -> None:
        super().__init__(network, config, family, image_size, weights_fingerprint)
        self.tap_layers = stages_of(config, family)
        self.channels = tuple(family.channels[stage] for stage in self.tap_layers)
        self.grids = _grids(config.name, family, self.tap_layers, image_size)
        self._is_folded = False

    def fold(self) -> None:
        """Make it quicker where it only encodes; nobody may train it then."""
        network = folded(self.network)
        self._is_folded, self.network = network is not self.network, network

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b k H W"]) -> list[Float[Tensor, "b c h w"]]:
        """Maps of the tapped stages, fine to coarse.

        Args:
            images: Normalised by `mean` and `std`, of size `image_size`; of two senses, six channels.
        """
        if images.shape[1] == 6:
            return self.averaged(images)
        self.require_images(images)
        if self._is_folded or torch.is_autocast_enabled(images.device.type):
            # Channels beside each other in memory: convolutions and what follows them take half the time. Otherwise the
            # order of additions in float32 stays what it was recorded with.
            images = images.to(memory_format=torch.channels_last)
        return list(self.network(images))


def build_pyramid(config: EncoderConfig, image_size: tuple[int, int]) -> Pyramid:
    """The CNN a recipe asks for, on the CPU, ready for images of one size.

    Args:
        config: What is wanted.
        image_size: Height and width of the images.

    Raises:
        ConfigError: The encoder is none of stages, or the image size or a setting does not go with it.
        CheckpointError: The weights are missing, cannot be had, or do not fit.
    """
    family = config.family()
    if not isinstance(family, PyramidFamily):
        msg = f"detector.encoder.name must be a CNN such as {', '.join(PYRAMIDS)}, got {config.name}."
        raise ConfigError(msg)
    stages = stages_of(config, family)
    coarsest = family.strides[stages[-1]]
    if min(image_size) < coarsest:
        size = f"{image_size[0]}x{image_size[1]}"
        msg = f"image height and width must be at least {coarsest} for {config.name}, got {size}."
        raise ConfigError(msg)
    known, targets = _shapes_and_names(config.name, family.timm_name, stages)
    # timm joins the names of nested parts by underscores in some of its networks of stages.
    flat = {name.replace(".", "_"): name for name in known}
    original = {name: flat[name.replace(".", "_")] for name in targets if not name.endswith(_COUNTER)}
    state = {name: tensor.float() for name, tensor in _read_state(config, family).items() if tensor.is_floating_point()}
    if family.origin == "registry":
        state = named_in_order(state, {name: shape for name, shape in known.items() if not name.endswith(_COUNTER)})
    needed = {name: known[name] for name in original.values()}
    selected = select_tensors(state, name=config.name, family=family, needed=needed, known=known)
    network = _seeded(lambda: _features(config.name, family.timm_name, stages), config.seed)
    counters = {name: torch.zeros((), dtype=torch.long) for name in targets if name.endswith(_COUNTER)}
    network.load_state_dict({name: selected[whole] for name, whole in original.items()} | counters, strict=True)
    return Pyramid(network, config, family, image_size, fingerprint(selected))


@cache
def pyramid_family(name: str) -> PyramidFamily:
    """The row of a CNN by its short name or by `timm:` and its name there, either with `random-` before it.

    Raises:
        ConfigError: Its stages cannot be read.
    """
    plain = name.removeprefix(RANDOM_PREFIX)
    timm_name = PYRAMIDS.get(plain, plain.removeprefix(TIMM_PREFIX))
    family = _packaged_family(plain, timm_name) if plain in PACKAGED else _timm_family(name, timm_name)
    if not name.startswith(RANDOM_PREFIX):
        return family
    return dataclasses.replace(family, origin="seed", licence="Apache-2.0", source="seeded random weights")


def _packaged_family(name: str, timm_name: str) -> PyramidFamily:
    """The row of a CNN whose weights are a package of the registry."""
    with torch.device("meta"):
        whole, side = _whole(timm_name), 64
        maps = BlockStages(whole, tuple(range(len(whole.blocks)))).eval()(torch.empty(1, 3, side, side))
    return PyramidFamily(
        timm_name=timm_name,
        channels=tuple(found.shape[1] for found in maps),
        strides=tuple(side // found.shape[2] for found in maps),
        tap_layers=_LITE_STAGES,
        origin="registry",
        mean=(LITE_MEAN,) * 3,
        std=(LITE_STD,) * 3,
        licence="Apache-2.0",
        source=f"ImageNet, package {PACKAGED[name].replace('_', '-')}",
    )


def _timm_family(name: str, timm_name: str) -> PyramidFamily:
    """The row of a CNN of timm.

    Raises:
        ConfigError: Its stages cannot be read.
    """
    with torch.device("meta"):
        published = _whole(timm_name).pretrained_cfg
        try:
            features = _features(name, timm_name, None)
            info, known = features.feature_info, {key.replace(".", "_") for key in _whole(timm_name).state_dict()}
            foreign = [key for key in features.state_dict() if key.replace(".", "_") not in known]
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            foreign = [str(error)]
    if foreign:
        msg = f"encoder {name} must be a vision transformer or a CNN whose stages timm gives, got another network."
        raise ConfigError(msg)
    channels = tuple(info.channels())
    return PyramidFamily(
        timm_name=timm_name,
        channels=channels,
        strides=tuple(info.reduction()),
        tap_layers=tuple(stage for stage in _DEFAULT_STAGES if stage < len(channels)),
        mean=tuple(published["mean"]),
        std=tuple(published["std"]),
        licence=str(published.get("license") or "unknown"),
        source=f"timm, {timm_name}",
    )


def stages_of(config: EncoderConfig, family: PyramidFamily) -> tuple[int, ...]:
    """The stages to read, checked against those there are."""
    stages, last = family.tap_layers if config.tap_layers is None else config.tap_layers, len(family.channels) - 1
    rising = all(a < b for a, b in pairwise(stages))
    if not stages or not rising or stages[0] < 0 or stages[-1] > last:
        msg = f"encoder.tap_layers must be rising stage numbers from 0 to {last} for {config.name}, got {list(stages)}."
        raise ConfigError(msg)
    return tuple(stages)


def reading_strides(config: EncoderConfig, strides: tuple[int, ...]) -> EncoderConfig:
    """The encoder read after the last stage of each of these strides, where its settings leave the stages open.

    Raises:
        ConfigError: It has no stage of one of them.
    """
    family = config.family()
    if config.tap_layers is not None or not isinstance(family, PyramidFamily):
        return config
    last = {stride: stage for stage, stride in enumerate(family.strides)}
    if any(stride not in last for stride in strides):
        msg = f"encoder.tap_layers must be given for {config.name}, which has strides {list(family.strides)}"
        raise ConfigError(f"{msg} and not {list(strides)}, got none.")
    return dataclasses.replace(config, tap_layers=tuple(last[stride] for stride in strides))


def _read_state(config: EncoderConfig, family: PyramidFamily) -> dict[str, Tensor]:
    """The weights as they come: from the file given, or from where the family has them."""
    if config.weights is not None:
        return read_tensors(config.weights)
    if family.origin == "seed":
        return dict(_seeded(lambda: _whole(family.timm_name), config.seed).state_dict())
    if family.origin == "registry":
        return read_packaged(config.name)
    return read_tensors(hub_file(config.name, family.timm_name))


@cache  # describing a network takes longer than running a small one
def _shapes_and_names(
    name: str, timm_name: str, stages: tuple[int, ...]
) -> tuple[Mapping[str, torch.Size], tuple[str, ...]]:
    """Shapes of every tensor of the whole network, and names of those of its stages."""
    with torch.device("meta"):
        known = {key: tensor.shape for key, tensor in _whole(timm_name).state_dict().items()}
        return MappingProxyType(known), tuple(_features(name, timm_name, stages).state_dict())


def _seeded(build: Any, seed: int) -> nn.Module:  # noqa: ANN401  a function without arguments
    """A network built from a seed without touching the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network: nn.Module = build()
    return network


def _whole(timm_name: str) -> Any:  # noqa: ANN401  whatever class timm has for it
    import timm

    return timm.create_model(timm_name, pretrained=False)


def _features(name: str, timm_name: str, stages: tuple[int, ...] | None) -> Any:  # noqa: ANN401
    import timm

    if name.removeprefix(RANDOM_PREFIX) in PACKAGED and stages is not None:
        return BlockStages(_whole(timm_name), stages)
    wanted = {} if stages is None else {"out_indices": stages}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return timm.create_model(timm_name, pretrained=False, features_only=True, **wanted)


@cache
def _grids(
    name: str, family: PyramidFamily, stages: tuple[int, ...], image_size: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """Rows and columns of stages, from the network itself: padding differs between CNNs."""
    with torch.device("meta"):
        maps = _features(name, family.timm_name, stages).eval()(torch.empty(1, 3, *image_size))
    if any(found.shape[1] != family.channels[stage] for found, stage in zip(maps, stages, strict=True)):
        msg = f"encoder {family.timm_name} must give feature maps of channels, rows and columns, got another order."
        raise ConfigError(msg)
    return tuple((int(found.shape[2]), int(found.shape[3])) for found in maps)
