"""The noise predictor of DiffusionAD: a U-Net in the style of ADM, supplied by the diffusers package.

References:
    Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, NeurIPS 2021, arXiv:2105.05233.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from muad.errors import ConfigError, require_setting

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_require = partial(require_setting, "detector.denoiser")


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """Size of the noise predictor; the defaults are the authors' for 256 px, with 131,654,403 parameters.

    Attributes:
        width: Channels at full resolution, before the multipliers.
        multipliers: Channels of each level as multiples of `width`; every level halves the resolution of the one
            before. Fractions are allowed (the authors' 0.5 for 512 px).
        blocks_per_level: Residual blocks of each level on the way down; one more on the way up.
        attention_levels: Number of lowest levels with self-attention.
        heads: Attention heads at every level.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    width: int = 128
    multipliers: tuple[float, ...] = (1, 1, 2, 2, 4, 4)
    blocks_per_level: int = 2
    attention_levels: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        _require(8 <= self.width <= 8192, "width", "from 8 to 8192", self.width)
        several = 2 <= len(self.multipliers) <= 12 and max(self.multipliers) <= 64
        _require(several, "multipliers", "two to twelve, of at most 64", list(self.multipliers))
        whole = all(wide >= 1 and wide == int(wide) for wide in (self.width * factor for factor in self.multipliers))
        _require(whole, "multipliers", f"such that {self.width} times each is a whole number", list(self.multipliers))
        _require(1 <= self.blocks_per_level <= 64, "blocks_per_level", "from 1 to 64", self.blocks_per_level)
        levels = len(self.multipliers)
        in_range = 0 <= self.attention_levels <= levels
        _require(in_range, "attention_levels", f"from 0 to the {levels} levels", self.attention_levels)
        widths = self.attending_widths
        divides = self.heads >= 1 and all(width % self.heads == 0 for width in widths)
        _require(divides, "heads", f"a divisor of the widths {list(widths)} of levels that attend", self.heads)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level."""
        return tuple(int(self.width * factor) for factor in self.multipliers)

    @property
    def attending_widths(self) -> tuple[int, ...]:
        """Channels of the levels with attention; between the way down and the way up there is always some."""
        return self.widths[len(self.widths) - max(1, self.attention_levels) :]

    @property
    def divisor_px(self) -> int:
        """Height and width of the images must be multiples of this."""
        return int(2 ** (len(self.multipliers) - 1))


class Denoiser(nn.Module):
    """Predicts the noise in noised images.

    Args:
        config: Its size.
        image_size: Height and width of the images.
        classes: Number of kinds of image it may be told of; 0 to be told nothing.

    Raises:
        ConfigError: The diffusers package is not installed.
    """

    def __init__(self, config: DenoiserConfig, image_size: tuple[int, int], classes: int = 0) -> None:
        super().__init__()
        try:
            from diffusers import UNet2DModel
        except ImportError as error:
            raise ConfigError(
                f"detector.name = 'diffusion_ad' needs the diffusers package, got {error}. "
                "Install it with `pip install muad[diffusion]`."
            ) from None
        plain, attending = len(config.widths) - config.attention_levels, config.attention_levels
        self.network = UNet2DModel(
            sample_size=image_size,
            block_out_channels=config.widths,
            layers_per_block=config.blocks_per_level,
            down_block_types=("ResnetDownsampleBlock2D",) * plain + ("AttnDownBlock2D",) * attending,
            up_block_types=("AttnUpBlock2D",) * attending + ("ResnetUpsampleBlock2D",) * plain,
            downsample_type="resnet",
            upsample_type="resnet",
            norm_num_groups=math.gcd(32, *config.widths),
            norm_eps=1e-5,
            attention_head_dim=math.gcd(*config.attending_widths) // config.heads,  # replaced below
            flip_sin_to_cos=False,
            freq_shift=0,
        )
        for module in self.network.modules():
            _start_at_zero(module, config.heads)
        nn.init.zeros_(self.network.conv_out.weight)
        nn.init.zeros_(self.network.conv_out.bias)
        if classes:
            with torch.random.fork_rng(devices=[]):  # a seed gives the weights it gives without kinds
                embedding = nn.Embedding(classes, self.network.time_embedding.linear_2.out_features)
            nn.init.zeros_(embedding.weight)  # all kinds begin alike
            self.network.class_embedding = embedding

    def forward(
        self, noised: Float[Tensor, "b 3 H W"], timesteps: Int[Tensor, " b"], kinds: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b 3 H W"]:
        """The noise in each image, given its timestep and, where there are classes, its kind."""
        predicted: Tensor = self.network(noised, timesteps, class_labels=kinds).sample
        return predicted


def _start_at_zero(module: Any, heads: int) -> None:  # noqa: ANN401  classes of diffusers
    """Let residual branches begin as nothing, as the authors do, and give every level the same number of heads."""
    kind = type(module).__name__  # diffusers moves these classes between modules from release to release
    if kind == "ResnetBlock2D":
        last = module.conv2
    elif kind == "Attention":
        last = module.to_out[0]
        # diffusers has one width of heads for all levels, the authors one number of heads.
        module.heads, module.scale = heads, (module.to_q.out_features // heads) ** -0.5
    else:
        return
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
