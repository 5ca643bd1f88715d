"""DiAD: a latent diffusion model, guided by the image itself, draws what the image would be without its anomaly.

In reading order: configuration, two phases of learning, reconstruction, anomaly map and score. First an autoencoder
learns to bring images into a small latent and back. Then a denoiser learns to take noise out of such latents, guided by
a network that reads the image; since it has seen normal images alone, it puts normality where the guide sees what it
does not know. A frozen CNN compares the image with its reconstruction.

He et al., DiAD: A Diffusion-based Framework for Multi-class Anomaly Detection, AAAI 2024, arXiv:2312.06607; official
code lewandofskee/DiAD (Apache-2.0), written anew here, with parts of the diffusers package. Names:

| here | official code | paper |
|---|---|---|
| `autoencoder` | `first_stage_model` | pixel-space autoencoder |
| `GuidedDenoiser.guide` | `SemanticGuidedNetwork` | SG network |
| `GuidedDenoiser.fusion` | `down11` … `down33` | SFF block |
| `GuidedDenoiser.denoiser` | `ControlledUnetModel` | stable diffusion's denoising network |
| `guide_all` | `only_mid_control`, reversed | |

Departures from it are listed in docs/fidelity.md. Read next: nn/latent_diffusion.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.rd4ad import offline_pyramid
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.pyramids import build_pyramid
from muad.errors import LARGEST_PX, MOST_STEPS, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.diffusion import TIMESTEPS, add_noise
from muad.nn.latent_diffusion import (
    GuidedDenoiser,
    LatentConfig,
    build_autoencoder,
    ddim_step,
    load_stable_diffusion,
    scaled_linear_alphas_cumprod,
    walk_numbers,
)
from muad.nn.repeated import Repeated
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

_FIRST_BETA, _LAST_BETA = 0.00085, 0.012
_TIMESTEP_STREAM, _NOISE_STREAM, _LATENT_STREAM = 0x51ED270B, 0x2545F491, 0x1B873593  # told apart from each other
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class DiadConfig(DetectorConfig):
    """Everything that is published of it. The defaults are the authors' for MVTec AD.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen CNN that compares image and reconstruction, and helps the autoencoder to learn.
        resize_px: Height and width images are resized to; nothing is cut off.
        latent: Sizes of autoencoder and denoiser.
        weights: Folder of Stable Diffusion 1.5 in the layout of diffusers, which both start from; None: from the seed.
        learns: What is trained of the denoiser: `way_up`, all after its middle, where it comes trained; or `all`.
        guide_all: Whether the guide reaches all levels of the denoiser, and not the coarsest alone.
        autoencoder_steps: Steps in which the autoencoder learns, before the rest does.
        autoencoder_lr_factor: Its learning rate as a multiple of the schedule's.
        perceptual_weight: Factor on how far the reconstruction's features are from the image's, for the autoencoder.
        kl_weight: Factor on how far its latents are from a normal distribution.
        sampling_steps: Steps of the walk that takes the noise out when predicting.
        start_timestep: How noisy the latent is that it starts from, 0 to 999.
        noise_seed: Of the noise used when predicting, which is the same for every image.
        blur_sigma_px: Width of the Gaussian that smooths the map; 0 for none.
        pool_px: Side of the windows of the map over which the largest mean is the score; 0 for the map's maximum.
    """

    name: Literal["diad"] = "diad"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="timm:resnet50.a1_in1k"))
    resize_px: tuple[int, int] = (256, 256)
    latent: LatentConfig = field(default_factory=LatentConfig)
    weights: Path | None = None
    learns: Literal["way_up", "all"] = "way_up"
    guide_all: bool = False
    autoencoder_steps: int = 1000
    autoencoder_lr_factor: float = 18.0
    perceptual_weight: float = 1.0
    kl_weight: float = 1e-6
    sampling_steps: int = 10
    start_timestep: int = 999
    noise_seed: int = 0
    blur_sigma_px: float = 5.0
    pool_px: int = 22

    def __post_init__(self) -> None:
        divisor = self.latent.divisor_px
        require_sides("detector", "resize_px", self.resize_px)
        fits = all(length % divisor == 0 for length in self.resize_px) and max(self.resize_px) > divisor
        _require(fits, "resize_px", f"multiples of {divisor}, one of them more than that", list(self.resize_px))
        steps = self.autoencoder_steps
        _require(0 <= steps <= MOST_STEPS, "autoencoder_steps", f"from 0 to {MOST_STEPS}", steps)
        factor = self.autoencoder_lr_factor
        _require(0 < factor <= 1e6, "autoencoder_lr_factor", "above 0 and at most 1e6", factor)
        for name in ("perceptual_weight", "kl_weight"):
            _require(0 <= getattr(self, name) <= 1e6, name, "from 0 to 1e6", getattr(self, name))
        _require(1 <= self.sampling_steps <= TIMESTEPS - 1, "sampling_steps", "from 1 to 999", self.sampling_steps)
        _require(0 <= self.start_timestep < TIMESTEPS, "start_timestep", "from 0 to 999", self.start_timestep)
        _require(0 <= self.noise_seed < 2**63, "noise_seed", "from 0 to below 2^63", self.noise_seed)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)
        _require(0 <= self.pool_px <= LARGEST_PX, "pool_px", f"from 0 to {LARGEST_PX}", self.pool_px)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:  # noqa: ARG003  any number is shown alike
        """A small model that learns from nothing; where a CPU trains, a very small one."""
        on_gpu = device == "cuda"
        wide, steps, side = (64, 10_000, 256) if on_gpu else (16, 600, 128)
        latent = {
            "autoencoder_widths": [wide, wide, 2 * wide], "autoencoder_blocks": 1, "scale": 1.0,
            "widths": [wide, 2 * wide, 4 * wide], "blocks": 1, "heads": 4, "context": [1, wide],
            "hint_widths": [wide, wide, 2 * wide],
        }  # fmt: skip
        return {
            "detector": {
                "encoder": {"name": offline_pyramid()}, "resize_px": [side, side], "latent": latent, "learns": "all",
                "autoencoder_steps": steps // 3, "autoencoder_lr_factor": 2.0,
            },
            "optim": {
                "kind": "adamw", "lr": 1e-3 if not on_gpu else 2e-4, "betas": [0.9, 0.999], "eps": 1e-8,
                "weight_decay": 0.01, "amsgrad": False, "clip_norm": 1.0,
            },
            "schedule": {"kind": "constant", "total_steps": steps, "warmup_steps": 0},
            "training": {"batch_size": 16 if on_gpu else 8},
        }  # fmt: skip


# ----------------------------------------------------------------------------------------------------- detector


class Diad(SteppingDetector):
    """Autoencoder, guided denoiser, and a frozen CNN that compares.

    Args:
        config: Sizes, phases and scoring.

    Raises:
        ConfigError: The diffusers package is not installed, or the encoder is no CNN.
        CheckpointError: Weights cannot be had.
    """

    settings = DiadConfig
    noise: Tensor
    walk: Tensor

    def __init__(self, config: DiadConfig) -> None:
        super().__init__()
        self.config = config
        if config.weights is None and config.learns == "way_up":
            raise ConfigError(
                "detector.weights must name a folder of Stable Diffusion with detector.learns = 'way_up', got none. "
                "Name it, or let all learn: --set detector.learns=all."
            )
        self.encoder = build_pyramid(config.encoder, config.resize_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.autoencoder = build_autoencoder(config.latent)
        self.denoiser = GuidedDenoiser(config.latent, guide_all=config.guide_all)
        if config.weights is not None:
            load_stable_diffusion(config.weights, self.autoencoder, self.denoiser)
        if config.learns == "way_up":
            self.denoiser.denoiser.requires_grad_(False)
            for parameter in self.denoiser.way_up():
                parameter.requires_grad_(True)
        self.alphas_cumprod = scaled_linear_alphas_cumprod(TIMESTEPS, _FIRST_BETA, _LAST_BETA)  # stays on the CPU
        self.register_buffer("walk", walk_numbers(config.sampling_steps, self.alphas_cumprod), persistent=False)
        side = config.latent.latent_px
        rows, columns = (length // side for length in config.resize_px)
        # DEVIATION: the authors' noise is unseeded. Here it is the same for all images: a score depends on its image
        # alone.
        generator = torch.Generator().manual_seed(config.noise_seed)
        drawn = torch.randn(1, config.latent.channels, rows, columns, generator=generator)
        self.register_buffer("noise", drawn, persistent=False)
        self.map_head = GridHead(
            grids=tuple(f"stage_{stage}" for stage in self.encoder.tap_layers),
            input_px=config.resize_px,
            align_corners=True,
            blur_sigma_px=config.blur_sigma_px,
            blur="reflected",
            pool_px=config.pool_px,
        )

    def trainable_state(self) -> dict[str, Tensor]:
        """All but the CNN: what does not learn of the denoiser too, so that a run is whole without its weights."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}

    # ------------------------------------------------------------------------------------------------ learning

    def parameter_groups(self) -> list[ParameterGroup]:
        """The autoencoder first, with Adam; then what guides and takes noise away."""
        steps = self.config.autoencoder_steps
        learning = [parameter for parameter in self.denoiser.parameters() if parameter.requires_grad]
        autoencoder: ParameterGroup = {
            "name": "autoencoder",
            "params": list(self.autoencoder.parameters()),
            "optimizer": "adam",
            "betas": (0.5, 0.9),
            "weight_decay": 0.0,
            "lr_factor": self.config.autoencoder_lr_factor,
            "learns": lambda step: step < steps,
        }
        return [autoencoder, {"name": "denoiser", "params": learning, "learns": lambda step: step >= steps}]

    def forward(self, batch: Batch, step: int) -> Losses:
        """How badly images come back from the latent; after that phase, how badly the noise in latents is told."""
        # DEVIATION: all that is random about an image comes from its seed, so that processes and resumes agree.
        if step < self.config.autoencoder_steps:
            return self._autoencoder_loss(batch)
        with torch.no_grad():
            mean, deviation = self.moments(batch.images)
            latents = self.config.latent.scale * (mean + deviation * self._draw(mean, batch.seeds, _LATENT_STREAM))
        generators = [torch.Generator().manual_seed(seed ^ _TIMESTEP_STREAM) for seed in batch.seeds]
        timesteps = torch.cat([torch.randint(0, TIMESTEPS, (1,), generator=generator) for generator in generators])
        noise = self._draw(latents, batch.seeds, _NOISE_STREAM)
        noised = add_noise(latents, noise, self.alphas_cumprod[timesteps])
        error = F.mse_loss(self.denoiser(noised, timesteps.to(noised.device), self.denoiser.hint(batch.images)), noise)
        return Losses(total=error, terms={"noise": error.detach()})

    def _autoencoder_loss(self, batch: Batch) -> Losses:
        # DEVIATION: no discriminator, which the authors' begins after 50,001 steps; and the frozen CNN in place of the
        # trained perceptual distance, whose weights are another release.
        mean, deviation = self.moments(batch.images)
        restored = self.autoencoder.decode(mean + deviation * self._draw(mean, batch.seeds, _LATENT_STREAM)).sample
        restored = restored.float()
        pairs = zip(self.encoder.network(batch.images), self.encoder.network(restored), strict=True)
        distances = [
            (F.normalize(theirs.float()) - F.normalize(ours.float())).square().sum(1).mean() for theirs, ours in pairs
        ]
        variance = deviation.square()
        divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=(1, 2, 3)).mean()
        terms = {
            "pixels": (restored - batch.images).abs().mean(),
            "perceptual": torch.stack(distances).sum(),
            "divergence": divergence / batch.images[0].numel(),
        }
        total = (
            terms["pixels"]
            + self.config.perceptual_weight * terms["perceptual"]
            + self.config.kl_weight * terms["divergence"]
        )
        return Losses(total=total, terms={name: term.detach() for name, term in terms.items()})

    def moments(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Mean and deviation of the latents of images, in float32."""
        posterior = self.autoencoder.encode(images).latent_dist
        return posterior.mean.float(), posterior.std.float()

    def _draw(self, like: Float[Tensor, "b c h w"], seeds: Sequence[int], stream: int) -> Float[Tensor, "b c h w"]:
        """Normal noise, one generator for each image."""
        noise = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(seed ^ stream)) for seed in seeds]
        return torch.stack(noise).to(like)

    # ------------------------------------------------------------------------------------------- reconstruction

    def noised(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
        """Latents of normalised images, noised as far as the walk begins."""
        # DEVIATION: the latent's mean in place of a draw, for a score depends on its image alone.
        latents = self.config.latent.scale * self.moments(images)[0]
        start = self.alphas_cumprod[self.config.start_timestep].expand(images.shape[0])
        return add_noise(latents, self.noise.expand(images.shape[0], -1, -1, -1), start)

    def denoised(
        self, noised: Float[Tensor, "b c h w"], numbers: Float[Tensor, " 5"], hint: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Latents one step of the walk further, by its row of `walk` and what the guide reads of the images."""
        # The authors guide once more, nine times from the empty prompt to the empty prompt: that is no difference.
        timesteps = numbers[0].long().expand(noised.shape[0])
        return ddim_step(noised, self.denoiser(noised, timesteps, hint), numbers)

    def decoded(self, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
        """Images of latents that were walked back."""
        restored: Tensor = self.autoencoder.decode(latents / self.config.latent.scale).sample
        return restored.float()

    @torch.no_grad()
    def restore(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
        """What normalised images would be without an anomaly: noised as far as can be, and walked back, guided."""
        latents, hint = self.noised(images), self.denoiser.hint(images)
        for numbers in self.walk:
            latents = self.denoised(latents, numbers, hint)
        return self.decoded(latents)

    # -------------------------------------------------------------------------------------- anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Cosine distance between an image's features and its reconstruction's, at every place of each stage."""
        return self.compared(self.restore(images), images)

    def compared(self, restored: Float[Tensor, "b 3 H W"], images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """The same of images that were reconstructed already."""
        pairs = zip(self.encoder.tap_layers, self.encoder(images), self.encoder(restored), strict=True)
        return {
            f"stage_{stage}": 1 - F.cosine_similarity(theirs.float(), ours.float()) for stage, theirs, ours in pairs
        }

    def network(self) -> Repeated:
        """`measure` as a module whose turns are the steps of the walk."""
        return _Walk(self)


class _Walk(Repeated):
    """What DiAD measures, in parts: noised latents, a step of the walk, distances."""

    def __init__(self, detector: Diad) -> None:
        super().__init__()
        self.detector = detector
        self.turns = detector.walk
        self.requires_grad_(False)
        self.eval()

    def begin(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Tensor, Tensor]:
        """Noised latents, and what the guide reads of the images."""
        return self.detector.noised(images), self.detector.denoiser.hint(images)

    def turn(self, state: Float[Tensor, "b c h w"], numbers: Float[Tensor, " 5"], kept: Tensor) -> Tensor:
        """One step of the walk."""
        return self.detector.denoised(state, numbers, kept)

    def end(self, state: Float[Tensor, "b c h w"], images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Distances by stage."""
        return self.detector.compared(self.detector.decoded(state), images)
