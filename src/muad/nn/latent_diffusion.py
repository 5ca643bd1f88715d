"""Latent diffusion of DiAD, by parts of the diffusers package: autoencoder, denoiser, and what guides it by the image.

The guide is a copy of the denoiser's way down that reads the image beside the latent (ControlNet); what it says of the
two coarsest levels is fused (the spatial-aware feature fusion of DiAD) and reaches the denoiser at the coarsest alone.

References:
    LDM: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022, arXiv:2112.10752.
    ControlNet: Zhang et al., arXiv:2302.05543. DiAD: He et al., AAAI 2024, arXiv:2312.06607; official code
    lewandofskee/DiAD (Apache-2.0), written anew here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import nn

from muad.errors import CheckpointError, ConfigError, require_setting

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_require = partial(require_setting, "detector.latent")
_MOST_GROUPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentConfig:
    """Sizes; the defaults are those of Stable Diffusion 1.5, which the authors start from.

    Attributes:
        autoencoder_widths: Channels of each level of the autoencoder, every one of half the size of the one before.
        autoencoder_blocks: Residual blocks of each of these.
        channels: Of the latent.
        scale: Factor on the latent, which brings its deviation to about 1.
        widths: Channels of each level of the denoiser; all but the last attend.
        blocks: Residual blocks of each.
        heads: Attention heads at every level.
        context: Tokens and their width in place of a text; the prompt is empty, so they are the same for all images.
        hint_widths: Channels of the convolutions that bring the image to the size of the latent.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    autoencoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    autoencoder_blocks: int = 2
    channels: int = 4
    scale: float = 0.18215
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    blocks: int = 2
    heads: int = 8
    context: tuple[int, int] = (77, 768)
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)

    def __post_init__(self) -> None:
        for name in ("autoencoder_widths", "widths", "hint_widths"):
            values = getattr(self, name)
            fits = 2 <= len(values) <= 8 and all(4 <= width <= 8192 for width in values)
            _require(fits, name, "two to eight widths from 4 to 8192", list(values))
        same = len(self.hint_widths) == len(self.autoencoder_widths)
        levels = len(self.autoencoder_widths)
        _require(same, "hint_widths", f"as many as there are autoencoder_widths, {levels}", list(self.hint_widths))
        divides = self.heads >= 1 and all(width % self.heads == 0 for width in self.widths)
        _require(divides, "heads", f"a divisor of {list(self.widths)}", self.heads)
        for name in ("autoencoder_blocks", "blocks"):
            _require(1 <= getattr(self, name) <= 16, name, "from 1 to 16", getattr(self, name))
        _require(1 <= self.channels <= 64, "channels", "from 1 to 64", self.channels)
        _require(0 < self.scale <= 1000, "scale", "above 0 and at most 1000", self.scale)
        tokens, width = self.context
        _require(1 <= tokens <= 4096 and 1 <= width <= 8192, "context", "from 1 to 4096 tokens", list(self.context))

    @property
    def latent_px(self) -> int:
        """Pixels of the image to a place of the latent."""
        return int(2 ** (len(self.autoencoder_widths) - 1))

    @property
    def divisor_px(self) -> int:
        """Height and width of the images must be multiples of this."""
        return int(self.latent_px * 2 ** (len(self.widths) - 1))


def build_autoencoder(config: LatentConfig) -> Any:  # noqa: ANN401  a class of diffusers
    """The autoencoder.

    Raises:
        ConfigError: The diffusers package is not installed.
    """
    widths = config.autoencoder_widths
    return _diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=config.autoencoder_blocks,
        latent_channels=config.channels,
        norm_num_groups=math.gcd(_MOST_GROUPS, *widths),
        scaling_factor=config.scale,
    )


class GuidedDenoiser(nn.Module):
    """Predicts the noise in a noised latent, guided by the image it is of.

    Args:
        config: Sizes.
        guide_all: Whether the guide reaches all levels of the denoiser, and not the coarsest alone.

    Raises:
        ConfigError: The diffusers package is not installed.
    """

    def __init__(self, config: LatentConfig, *, guide_all: bool) -> None:
        super().__init__()
        diffusers = _diffusers()
        self.guide_all = guide_all
        attending = len(config.widths) - 1
        shape = {
            "in_channels": config.channels,
            "down_block_types": ("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",),
            "block_out_channels": config.widths,
            "layers_per_block": config.blocks,
            "cross_attention_dim": config.context[1],
            "attention_head_dim": config.heads,
            "norm_num_groups": math.gcd(_MOST_GROUPS, *config.widths),
        }
        self.denoiser = diffusers.UNet2DConditionModel(
            out_channels=config.channels,
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * attending,
            **shape,
        )
        self.guide = diffusers.ControlNetModel(conditioning_embedding_out_channels=config.hint_widths, **shape)
        self.guide.controlnet_cond_embedding = _hinted(self.guide.controlnet_cond_embedding, config)
        self.start_guide_as_copy()
        self.fused = config.blocks + 1  # maps of each level from the second on, the first of which only halves
        finest, wide, coarse = config.widths[-3:] if len(config.widths) > 2 else (config.widths[0], *config.widths)
        finer = [finest, *[wide] * config.blocks]
        self.fusion = nn.ModuleList(
            nn.ModuleList(_halved(width, into) for width in finer) for into in (wide, *[coarse] * config.blocks)
        )
        # The prompt is always empty, so what its encoder would say is one constant: here it is learned, from nil.
        self.prompt = nn.Parameter(torch.zeros(1, *config.context))
        for number, layer in enumerate(self.guide.controlnet_down_blocks):
            layer.requires_grad_(guide_all or number >= self.reached)

    @property
    def reached(self) -> int:
        """The first of the guide's maps that have a say where it reaches the coarsest level alone."""
        return len(self.guide.controlnet_down_blocks) - 2 * self.fused

    def start_guide_as_copy(self) -> None:
        """The guide as the denoiser's way down; the convolutions by which it has a say stay zero."""
        for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
            getattr(self.guide, name).load_state_dict(getattr(self.denoiser, name).state_dict())

    def hint(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b d h w"]:
        """What the guide reads of images: the same at every timestep, so computed once for a walk."""
        hint: Tensor = self.guide.controlnet_cond_embedding.embed(images)
        return hint

    def guidance(
        self, noised: Float[Tensor, "b c h w"], timesteps: Int[Tensor, " b"], hint: Float[Tensor, "b d h w"]
    ) -> list[Float[Tensor, "b c h w"]]:
        """What the guide says to the maps of every level, fine to coarse, and last to the middle."""
        context = self.prompt.expand(noised.shape[0], -1, -1)
        said, middle = self.guide(noised, timesteps, context, hint, return_dict=False)
        said, count = list(said), self.fused
        finer, coarse = said[-2 * count : -count], said[-count:]
        for number, halvings in enumerate(self.fusion):
            added = coarse[number]
            for halve, found in zip(cast("nn.ModuleList", halvings), finer, strict=True):
                added = added + halve(found)
            said[number - count] = F.silu(added)
        if not self.guide_all:
            said[:-count] = [torch.zeros_like(found) for found in said[:-count]]
        return [*said, middle]

    def forward(
        self, noised: Float[Tensor, "b c h w"], timesteps: Int[Tensor, " b"], hint: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b c h w"]:
        """The noise in each latent, guided by the `hint` of its image."""
        *levels, middle = self.guidance(noised, timesteps, hint)
        context = self.prompt.expand(noised.shape[0], -1, -1)
        predicted: Tensor = self.denoiser(
            noised,
            timesteps,
            context,
            down_block_additional_residuals=tuple(levels),
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return predicted.float()

    def way_up(self) -> list[nn.Parameter]:
        """What of the denoiser comes after its middle: all that is trained of it where it comes trained."""
        parts = (self.denoiser.up_blocks, self.denoiser.conv_norm_out, self.denoiser.conv_out)
        return [parameter for part in parts for parameter in part.parameters()]


def load_stable_diffusion(folder: Path, autoencoder: nn.Module, denoiser: GuidedDenoiser) -> None:
    """Take the weights of a release in the layout of diffusers, `vae` and `unet`, as safetensors; the guide copies.

    Raises:
        CheckpointError: They are missing or of other sizes.
    """
    for name, kind, part in (
        ("vae", "AutoencoderKL", autoencoder),
        ("unet", "UNet2DConditionModel", denoiser.denoiser),
    ):
        if not (folder / name / "config.json").is_file():
            raise CheckpointError(
                f"detector.weights must be a folder of diffusers with vae and unet, got {folder} without {name}."
            )
        try:
            read = getattr(_diffusers(), kind).from_pretrained(
                folder / name, use_safetensors=True, local_files_only=True
            )
            part.load_state_dict(read.state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"detector.weights must hold tensors of the sizes of detector.latent, got {folder / name}: {reason}"
            ) from None
    denoiser.start_guide_as_copy()


def scaled_linear_alphas_cumprod(timesteps: int, first_beta: float, last_beta: float) -> Float[Tensor, " t"]:
    """Share of the variance left after every timestep, in float64; the roots of the betas rise linearly (LDM)."""
    roots = torch.linspace(first_beta**0.5, last_beta**0.5, timesteps, dtype=torch.float64)
    return torch.cumprod(1 - roots**2, dim=0)


def walk_timesteps(steps: int, timesteps: int) -> list[int]:
    """Falling timesteps of a walk of so many steps, evenly spread, the last of them 1."""
    return [timestep + 1 for timestep in range(0, timesteps - 1, timesteps // steps)][::-1]


def walk_numbers(steps: int, alphas_cumprod: Float[Tensor, " t"]) -> Float[Tensor, "s 5"]:
    """What a walk's steps differ by, in float32.

    Its timestep; the roots of the shares of noise and of signal there; those of signal and of noise at the following
    timestep, which is 0 after the last.
    """
    timesteps = walk_timesteps(steps, len(alphas_cumprod))
    here, following = alphas_cumprod[timesteps], alphas_cumprod[[*timesteps[1:], 0]]
    columns = (torch.tensor(timesteps), (1 - here).sqrt(), here.sqrt(), following.sqrt(), (1 - following).sqrt())
    return torch.stack([column.float() for column in columns], dim=1)


def ddim_step(
    noised: Float[Tensor, "b c h w"], predicted: Float[Tensor, "b c h w"], numbers: Float[Tensor, " 5"]
) -> Float[Tensor, "b c h w"]:
    """X at the following timestep, without noise of its own and without clamping (DDIM, eq. 12 with sigma = 0).

    Args:
        noised: X at a timestep.
        predicted: The noise in it.
        numbers: A row of `walk_numbers`.
    """
    _, noise, signal, signal_left, noise_left = numbers.unbind()
    return signal_left * ((noised - noise * predicted) / signal) + noise_left * predicted


def _halved(width: int, wide: int) -> nn.Sequential:
    """Half the size, so many channels; the convolution starts at zero, so that it has no say before it learns."""
    convolution = nn.Conv2d(width, wide, 3, stride=2, padding=1, bias=False)
    nn.init.zeros_(convolution.weight)
    return nn.Sequential(convolution, nn.InstanceNorm2d(wide), nn.SiLU())


def _diffusers() -> Any:  # noqa: ANN401  a module
    try:
        import diffusers
    except ImportError as error:
        raise ConfigError(
            f"detector.name = 'diad' needs the diffusers package, got {error}. "
            "Install it with `pip install muad[diffusion]`."
        ) from None
    return diffusers


def _hinted(embedding: nn.Module, config: LatentConfig) -> nn.Module:
    """The guide's reading of images under another method, so that the guide takes what was read instead of images."""
    from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

    class _Hinted(ControlNetConditioningEmbedding):  # type: ignore[misc]  # of no type
        def embed(self, images: Tensor) -> Tensor:
            read: Tensor = super().forward(images)
            return read

        def forward(self, hint: Tensor) -> Tensor:
            return hint

    with torch.device("meta"):  # draws nothing
        made = _Hinted(conditioning_embedding_channels=config.widths[0], block_out_channels=config.hint_widths)
    made.load_state_dict(embedding.state_dict(), assign=True)
    return made
