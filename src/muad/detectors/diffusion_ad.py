"""DiffusionAD: one-step diffusion reconstructs, a segmenter trained on synthetic anomalies compares.

In reading order: configuration, network, reconstruction, losses, anomaly map and score. A diffusion network learns to
predict the noise in noised normal images. An image is noised at a small and at a large scale; one estimate from each,
blended, is what the image would be without its anomaly. A second network tells from both where they differ in earnest;
it learns from anomalies drawn into normal images, and its gradient reaches the first network.

Zhang et al., DiffusionAD: Norm-guided One-step Denoising Diffusion for Anomaly Detection, TPAMI 2025,
arXiv:2303.08730; official code HuiZhang0812/DiffusionAD (MIT), written anew here. Names:

| here | official code | paper |
|---|---|---|
| `denoiser` | `UNetModel` | reconstruction sub-network |
| `segmenter` | `SegmentationSubNetwork` | segmentation sub-network |
| `small`, `large` | `normal_t`, `noisier_t` | smaller and larger noise scale |
| `guidance_weight` | `condition_w` | w |
| `norm_guided` | `norm_guided_one_step_denoising` | norm-guided one-step denoising |
| `is_anomalous` | `anomaly_label` | y |

Departures from it are listed in docs/fidelity.md. Read next: nn/diffusion.py, synthesis/anomalies.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector, evaluating
from muad.detectors.scoring import mean_of_largest
from muad.detectors.types import Batch, Losses, Prediction
from muad.errors import LARGEST_PX, MOST_STEPS, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.denoiser import Denoiser, DenoiserConfig
from muad.nn.diffusion import (
    TIMESTEPS,
    add_noise,
    denoise_iteratively,
    linear_alphas_cumprod,
    matched_timesteps,
    norm_guided,
    one_step,
)
from muad.nn.focal import focal_entropy
from muad.nn.segmenter import DIVISOR_PX, Segmenter
from muad.optim import cosine_swing_rate
from muad.runtime.heads import GridHead
from muad.synthesis import Synthesis, SynthesisConfig

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from muad.detectors.base import ParameterGroup

Reconstruction = Literal["norm_guided", "one_step", "iterative", "autoencoder"]
# Told apart from each other and from the synthesis.
_TIMESTEP_STREAM, _NOISE_STREAM, _CATEGORY_STREAM = 0x51ED270B, 0x2545F491, 0x1B873593
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionAdConfig(DetectorConfig):
    """Everything the paper varies. The defaults are the authors' for MVTec AD.

    Attributes:
        name: Which detector this configures.
        resize_px: Height and width images are resized to; nothing is cut off.
        mode: `parity`: grey levels are in [0, 1], as in the authors' code; `clean`: in [-1, 1], as the clamping and
            the schedule expect. Timesteps and guidance always mean what they mean in parity mode: in clean mode the
            timesteps of equal signal-to-noise ratio and the weight of equal blend are used.
        reconstruction: `norm_guided`, or one of the paper's ablation: `one_step` at the small scale; `iterative`, the
            same with a walk of many steps when predicting; `autoencoder`, the same network without noise.
        conditioning: `category`: the diffusion network is told what an image shows, so that one detector may serve many
            categories; experimental, not in the paper. `none`: it is told nothing.
        categories: Those it knows, in the order of their embeddings; filled in from the data when training begins.
        category_dropout: Share of the training images whose category is withheld, as it is of an unknown product's.
        denoiser: Size of the diffusion network.
        segmenter_width: Channels of the segmenter's first stage.
        small_timesteps: Range of the small scale in training, both ends included.
        large_timesteps: Range of the large scale in training, both ends included.
        predict_timesteps: Small and large scale when predicting.
        guidance_weight: Strength of the guidance; 0 is `one_step` at twice the cost.
        iterative_steps: Steps of the walk of `iterative`.
        noise_weight: Factor on the noise loss: the paper's equation has 0.5, the authors' code 1.
        focal_weight: Factor on the focal loss.
        smooth_l1_weight: Factor on the smooth L1 loss.
        segmenter_lr_factor: Learning rate of the segmenter as a multiple of the denoiser's.
        segmenter_swing_steps: Half the period in which the segmenter's rate swings between that and 0, as it does in
            the authors' code, most likely by accident; 0 to leave it at that.
        synthesis: How anomalies are drawn into training images.
        top_pixels: Number of largest pixels of the map whose mean is the score.
        noise_seed: Of the noise used when predicting, which is the same for every image.
        noise_draws: Number of noises whose maps are averaged.
    """

    name: Literal["diffusion_ad"] = "diffusion_ad"
    resize_px: tuple[int, int] = (256, 256)
    mode: Literal["parity", "clean"] = "parity"
    reconstruction: Reconstruction = "norm_guided"
    conditioning: Literal["none", "category"] = "none"
    categories: tuple[str, ...] = ()
    category_dropout: float = 0.1
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    segmenter_width: int = 64
    small_timesteps: tuple[int, int] = (0, 299)
    large_timesteps: tuple[int, int] = (300, 999)
    predict_timesteps: tuple[int, int] = (200, 400)
    guidance_weight: float = 1.0
    iterative_steps: int = 20
    noise_weight: float = 1.0
    focal_weight: float = 5.0
    smooth_l1_weight: float = 1.0
    segmenter_lr_factor: float = 0.1
    segmenter_swing_steps: int = 10
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    top_pixels: int = 50
    noise_seed: int = 0
    noise_draws: int = 1

    def __post_init__(self) -> None:
        divisor = max(DIVISOR_PX, self.denoiser.divisor_px)
        require_sides("detector", "resize_px", self.resize_px)
        fits = all(length >= divisor and length % divisor == 0 for length in self.resize_px)
        _require(fits, "resize_px", f"multiples of {divisor}", list(self.resize_px))
        _require(1 <= self.segmenter_width <= 4096, "segmenter_width", "from 1 to 4096", self.segmenter_width)
        told = self.conditioning == "category"
        _require(told or not self.categories, "categories", "left out without conditioning", list(self.categories))
        dropout = self.category_dropout
        _require(0 <= dropout <= 1, "category_dropout", "from 0 to 1", dropout)
        for name in ("small_timesteps", "large_timesteps"):
            low, high = getattr(self, name)
            _require(0 <= low <= high < TIMESTEPS, name, f"a rising pair from 0 to {TIMESTEPS - 1}", [low, high])
        small, large = self.predict_timesteps
        _require(0 <= small <= large < TIMESTEPS, "predict_timesteps", "a rising pair from 0 to 999", [small, large])
        steps = self.iterative_steps
        _require(1 <= steps <= small + 1, "iterative_steps", f"from 1 to {small + 1}, the small scale", steps)
        for name in ("guidance_weight", "noise_weight", "focal_weight", "smooth_l1_weight"):
            _require(0 <= getattr(self, name) <= 1e6, name, "from 0 to 1e6", getattr(self, name))
        _require(0 <= self.noise_seed < 2**63, "noise_seed", "from 0 to below 2^63", self.noise_seed)
        swing, factor = self.segmenter_swing_steps, self.segmenter_lr_factor
        _require(0 <= swing <= MOST_STEPS, "segmenter_swing_steps", f"from 0 to {MOST_STEPS}", swing)
        _require(0 < factor <= 1000, "segmenter_lr_factor", "above 0 and at most 1000", factor)
        _require(1 <= self.top_pixels <= LARGEST_PX**2, "top_pixels", f"from 1 to {LARGEST_PX**2}", self.top_pixels)
        _require(1 <= self.noise_draws <= 1000, "noise_draws", "from 1 to 1000", self.noise_draws)


# ------------------------------------------------------------------------------------------------------ network


class DiffusionAd(SteppingDetector):
    """Diffusion network and segmenter, trained together.

    Args:
        config: Architecture, losses, synthesis and scoring.

    Raises:
        ConfigError: The diffusers package is not installed, or a conditioned detector is told of no categories.
    """

    settings = DiffusionAdConfig

    def __init__(self, config: DiffusionAdConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        )
        told = config.conditioning == "category"
        if told and not config.categories:
            raise ConfigError("detector.categories must name those of the training images, got none.")
        # One kind more than there are categories stands for all that is not known.
        self.denoiser = Denoiser(config.denoiser, config.resize_px, classes=len(config.categories) + 1 if told else 0)
        self.segmenter = Segmenter(config.segmenter_width)
        self.synthesis = Synthesis(config.synthesis)
        self.alphas_cumprod = linear_alphas_cumprod()  # stays on the CPU, like all timesteps
        clean = config.mode == "clean"
        self.timesteps = matched_timesteps(self.alphas_cumprod, 2.0) if clean else torch.arange(TIMESTEPS)
        self.map_head = GridHead(grids=("probability",), input_px=config.resize_px, top_pixels=config.top_pixels)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Two groups with learning rates of their own, as the authors' two optimizers."""
        half_period = self.config.segmenter_swing_steps
        segmenter: ParameterGroup = {
            "name": "segmenter",
            "params": list(self.segmenter.parameters()),
            "lr_factor": self.config.segmenter_lr_factor,
        }
        if half_period:
            segmenter["rate"] = lambda step, rate: cosine_swing_rate(step, half_period_steps=half_period, peak=rate)
        return [{"name": "denoiser", "params": list(self.denoiser.parameters()), "lr_factor": 1.0}, segmenter]

    def trainable_state(self) -> dict[str, Tensor]:
        """All tensors, with the running statistics of the segmenter's batch norm."""
        return dict(self.state_dict())

    # ----------------------------------------------------------------------------------------- reconstruction

    def scale(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
        """Images in [0, 1] as the networks take them."""
        return images if self.config.mode == "parity" else 2 * images - 1

    def alpha_bar(self, timesteps: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Of timesteps as the configuration counts them."""
        return self.alphas_cumprod[self.timesteps[timesteps]]

    def kinds(self, categories: Sequence[str | None]) -> Int[Tensor, " b"] | None:
        """Numbers of the embeddings of what images show, the last for the unknown; None if the network is not told."""
        if self.config.conditioning == "none":
            return None
        known = {name: number for number, name in enumerate(self.config.categories)}
        return torch.tensor([known.get(name or "", len(known)) for name in categories])

    def predict_noise(
        self, noised: Float[Tensor, "b 3 H W"], timesteps: Int[Tensor, " b"], kinds: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b 3 H W"]:
        """The denoiser's answer in float32, whatever precision it runs in."""
        if kinds is not None:
            kinds = kinds.repeat(len(noised) // len(kinds)).to(noised.device)
        predicted: Tensor = self.denoiser(noised, self.timesteps[timesteps].to(noised.device), kinds)
        return predicted.float()

    def reconstruct(
        self,
        images: Float[Tensor, "b 3 H W"],
        timesteps: Int[Tensor, "2 b"],
        noise: Float[Tensor, "2 b 3 H W"],
        kinds: Int[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], Float[Tensor, " b"]]:
        """What images would be without an anomaly, and the mean squared error of each image's predicted noise.

        Args:
            images: As `scale` gives them.
            timesteps: Small and large scale of every image, on the CPU, as the configuration counts them.
            noise: For both.
            kinds: What the images show, as `kinds` gives it.
        """
        if self.config.reconstruction == "autoencoder":
            output = self.predict_noise(images, torch.zeros_like(timesteps[0]), kinds)
            return output.clamp(-1, 1), F.mse_loss(output, images, reduction="none").mean(dim=(1, 2, 3))
        small = self.alpha_bar(timesteps[0])
        noised_small = add_noise(images, noise[0], small)
        if self.config.reconstruction != "norm_guided":
            predicted = self.predict_noise(noised_small, timesteps[0], kinds)
            error = F.mse_loss(predicted, noise[0], reduction="none").mean(dim=(1, 2, 3))
            return one_step(noised_small, predicted, small), error
        large = self.alpha_bar(timesteps[1])
        noised_large = add_noise(images, noise[1], large)
        # One batch of twice the size: the same numbers as two passes, in one call of the network.
        predicted = self.predict_noise(torch.cat([noised_small, noised_large]), timesteps.flatten(), kinds)
        errors = F.mse_loss(predicted, noise.flatten(0, 1), reduction="none").mean(dim=(1, 2, 3))
        predicted_small, predicted_large = predicted.view(2, -1, *predicted.shape[1:])
        weight = self.config.guidance_weight * (1 - self.alphas_cumprod[timesteps[0]]) / (1 - small)
        guided = norm_guided(
            noised_small, predicted_small, one_step(noised_large, predicted_large, large), small, weight
        )
        return guided, errors.view(2, -1).sum(dim=0)

    def walk(
        self, images: Float[Tensor, "b 3 H W"], noise: Float[Tensor, "b 3 H W"], kinds: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b 3 H W"]:
        """The reconstruction in many steps from the small scale down, for the paper's ablation."""
        # DEVIATION: a few deterministic steps; the authors' walk takes every timestep and adds noise at each.
        count, start = self.config.iterative_steps, self.config.predict_timesteps[0]
        asked = torch.linspace(start, 0, count).round().long() if count > 1 else torch.tensor([start])
        table = self.alphas_cumprod[self.timesteps]
        noised = add_noise(images, noise, table[start].expand(images.shape[0]))

        def predict_noise(noised: Tensor, timestep: int) -> Tensor:
            return self.predict_noise(noised, torch.full((noised.shape[0],), timestep), kinds)

        return denoise_iteratively(noised, predict_noise, table, asked.tolist())

    def segment(
        self, images: Float[Tensor, "b 3 H W"], reconstructions: Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        """Logit of being anomalous for every pixel, in float32."""
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.segmenter(torch.cat([images, reconstructions], dim=1))
        return logits

    # ------------------------------------------------------------------------------------------------- losses

    def prepare(self, batch: Batch) -> Batch:
        """The batch with anomalies drawn into some images, and how many of all images of the step have none."""
        # DEVIATION: all that is random about an image comes from its seed; the authors leave torch unseeded.
        made = self.synthesis(batch.images, batch.seeds, batch.categories)
        normal_fraction = (~made.is_anomalous).float().mean()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(normal_fraction)
            normal_fraction /= dist.get_world_size()
        return dataclasses.replace(batch, images=made.images, masks=made.masks, normal_fraction=normal_fraction)

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  nothing here changes over the run
        """Noise loss of normal images, focal and smooth L1 loss of all masks."""
        if batch.masks is None or batch.normal_fraction is None:
            raise ConfigError("batch must have anomalies drawn into it, got one without masks. Call prepare first.")
        timesteps, noise = self._draw(batch.images, batch.seeds)
        images, masks = self.scale(batch.images), batch.masks
        is_normal = masks.flatten(1).amax(dim=1) == 0
        kinds = self.kinds(self._withhold(batch.categories, batch.seeds))
        reconstructions, errors = self.reconstruct(images, timesteps, noise, kinds)
        logits = self.segment(images, reconstructions)
        config = self.config
        terms = {
            "noise": normal_mean(errors, is_normal, batch.normal_fraction),
            "focal": focal_loss(logits, masks),
            "smooth_l1": F.smooth_l1_loss(logits.sigmoid(), masks),
        }
        total = (
            config.noise_weight * terms["noise"]
            + config.focal_weight * terms["focal"]
            + config.smooth_l1_weight * terms["smooth_l1"]
        )
        logged = {name: term.detach() for name, term in terms.items()}
        return Losses(total=total, terms={**logged, "anomalous_fraction": 1 - is_normal.float().mean()})

    def _draw(
        self, images: Float[Tensor, "b 3 H W"], seeds: Sequence[int]
    ) -> tuple[Int[Tensor, "2 b"], Float[Tensor, "2 b 3 H W"]]:
        """Timesteps and noise of both scales for every image."""
        ranges = (self.config.small_timesteps, self.config.large_timesteps)
        generators = [torch.Generator().manual_seed(seed ^ _TIMESTEP_STREAM) for seed in seeds]
        drawn = [
            torch.cat([torch.randint(low, high + 1, (1,), generator=g) for g in generators]) for low, high in ranges
        ]
        noise = torch.empty(2, *images.shape, device=images.device)
        for index, seed in enumerate(seeds):
            generator = torch.Generator(images.device).manual_seed(seed ^ _NOISE_STREAM)
            noise[:, index] = torch.randn(2, *images.shape[1:], generator=generator, device=images.device)
        return torch.stack(drawn), noise

    def _withhold(self, categories: Sequence[str], seeds: Sequence[int]) -> list[str | None]:
        """The categories without some, so that the network learns what to do when it is not told."""
        generators = [torch.Generator().manual_seed(seed ^ _CATEGORY_STREAM) for seed in seeds]
        lots = [float(torch.rand(1, generator=generator)) for generator in generators]
        share = self.config.category_dropout
        return [None if lot < share else category for lot, category in zip(lots, categories, strict=True)]

    # ------------------------------------------------------------------------------- anomaly map and score

    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Probability of being anomalous for every pixel, and the mean of its largest values."""
        return self.predict_of(images, [None] * len(images))

    @torch.no_grad()
    def predict_of(self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str | None]) -> Prediction:
        """As `predict`, told what each image shows; None where that is not known."""
        with evaluating(self):
            maps = self._probability(images, categories)
        return Prediction(anomaly_map=maps, score=top_mean(maps, self.config.top_pixels))

    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """The map itself; a network told of categories is told that they are unknown, as images are all it is given."""
        return {"probability": self._probability(images, [None] * len(images))}

    def network(self) -> nn.Module:
        """`measure` with the noise as constants, since other runtimes draw other numbers."""
        return _FixedNoise(self)

    def why_not_exportable(self) -> str | None:
        """An exported network is given images alone."""
        if self.config.conditioning == "category":
            return "detector.conditioning = 'category': its denoiser must be told what an image shows"
        return None

    def prediction_noise(self, draw: int) -> Float[Tensor, "2 1 3 H W"]:
        """The noise of both scales that all images are given when predicting, on the CPU.

        Args:
            draw: Which of `noise_draws`.
        """
        # DEVIATION: the authors' noise is unseeded. Here it is the same for all images, drawn on the CPU: a score
        # depends on its image alone, and scores differ by their images alone.
        generator = torch.Generator().manual_seed(self.config.noise_seed + draw)
        return torch.randn(2, 1, 3, *self.config.resize_px, generator=generator)

    def probability(
        self,
        images: Float[Tensor, "b 3 H W"],
        noises: Iterable[Float[Tensor, "2 1 3 H W"]],
        kinds: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b H W"]:
        """Probability of being anomalous for every pixel, the mean over noises.

        Args:
            images: In [0, 1].
            noises: As many as `noise_draws`.
            kinds: What the images show, as `kinds` gives it.
        """
        images = self.scale(images)
        maps = torch.zeros_like(images[:, 0])
        for noise in noises:
            logits = self.segment(images, self._reconstruct_for_prediction(images, noise, kinds))
            maps = maps + logits.sigmoid()[:, 0] / self.config.noise_draws
        return maps

    def _probability(
        self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str | None]
    ) -> Float[Tensor, "b H W"]:
        noises = map(self.prediction_noise, range(self.config.noise_draws))
        return self.probability(images, noises, self.kinds(categories))

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Mean of the largest inspected values of each map."""
        return mean_of_largest(maps, inspected, lambda cells: min(self.config.top_pixels, cells))

    @torch.no_grad()
    def restore(
        self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str | None] | None = None
    ) -> Float[Tensor, "b 3 H W"]:
        """What images would be without an anomaly, both in [0, 1]: what the segmenter compares them with."""
        kinds = self.kinds(categories or [None] * len(images))
        restored = self._reconstruct_for_prediction(self.scale(images), self.prediction_noise(0), kinds)
        return (restored if self.config.mode == "parity" else (restored + 1) / 2).clamp(0, 1)

    def _reconstruct_for_prediction(
        self, images: Float[Tensor, "b 3 H W"], noise: Float[Tensor, "2 1 3 H W"], kinds: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b 3 H W"]:
        noise = noise.to(images.device).expand(-1, images.shape[0], -1, -1, -1)
        if self.config.reconstruction == "iterative":
            return self.walk(images, noise[0], kinds)
        timesteps = torch.tensor(self.config.predict_timesteps)[:, None].expand(-1, images.shape[0])
        return self.reconstruct(images, timesteps, noise, kinds)[0]


class _FixedNoise(nn.Module):
    """What a detector measures, always in eval mode, with its noise drawn beforehand."""

    noise: Float[Tensor, "draws 2 1 3 H W"]

    def __init__(self, detector: DiffusionAd) -> None:
        super().__init__()
        self.detector = detector
        noises = map(detector.prediction_noise, range(detector.config.noise_draws))
        self.register_buffer("noise", torch.stack(list(noises)))
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Named tensors of normalised images, of which it is not told what they show."""
        kinds = self.detector.kinds([None])  # one number is repeated for all of them
        return {"probability": self.detector.probability(images, self.noise, kinds)}


def normal_mean(
    values: Float[Tensor, " b"], is_normal: Bool[Tensor, " b"], normal_fraction: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """What these images add to the mean over the normal ones of the step; 0, with gradients of 0, if there is none.

    The mean of this over equal parts of the step's batch, on one process or many, is the mean over its normal images.

    Args:
        values: One per image of this part.
        is_normal: Which images count.
        normal_fraction: Share of normal images over the whole batch.
    """
    share = torch.where(normal_fraction > 0, normal_fraction, 1)
    return (values * is_normal).mean() / share


def focal_loss(logits: Float[Tensor, "b 1 H W"], masks: Float[Tensor, "b 1 H W"]) -> Float[Tensor, ""]:
    """Mean of 0.5 (1 - p)^4 times the binary cross-entropy, p being the probability given to the truth.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, with gamma 4 and alpha 0.5 on both sides.
    """
    return 0.5 * focal_entropy(logits, masks, gamma=4.0)


def top_mean(anomaly_map: Float[Tensor, "b H W"], pixels: int) -> Float[Tensor, " b"]:
    """Mean of the largest values of each map."""
    values = anomaly_map.flatten(1)
    return values.topk(min(pixels, values.shape[1]), dim=1).values.mean(dim=1)
