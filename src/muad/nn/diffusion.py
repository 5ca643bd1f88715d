"""Gaussian diffusion as pure functions: noising, one-step and norm-guided estimates, and the iterative sampler.

Notation: `alpha_bar` is the cumulative product of 1 - beta up to a timestep; index 0 is one step of noise. Functions
take its values per image, not timesteps, so that nothing here has state. Square roots are taken in the precision
`alpha_bar` comes in (float64 from `linear_alphas_cumprod`) and only then cast to that of the images.

References:
    DDPM: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv:2006.11239.
    DDIM: Song et al., Denoising Diffusion Implicit Models, ICLR 2021, arXiv:2010.02502.
    ADM: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, NeurIPS 2021, arXiv:2105.05233.
    DiffusionAD: Zhang et al., arXiv:2303.08730; official code HuiZhang0812/DiffusionAD (MIT), written anew here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

TIMESTEPS = 1000


def linear_alphas_cumprod(
    timesteps: int = TIMESTEPS, *, first_beta: float = 1e-4, last_beta: float = 0.02
) -> Float[Tensor, " t"]:
    """Share of the image's variance left after every timestep, in float64; betas rise linearly (DDPM, section 4)."""
    betas = torch.linspace(first_beta, last_beta, timesteps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def matched_timesteps(alphas_cumprod: Float[Tensor, " t"], contrast: float) -> Int[Tensor, " t"]:
    """For every timestep, the one at which images of `contrast` times the contrast are as noisy relative to it.

    Stretching images from [0, 1] to [-1, 1] doubles their contrast, so that the same timestep noises them less.
    The largest timesteps have no match and become the last one.
    """
    signal_to_noise = torch.log(alphas_cumprod / (1 - alphas_cumprod))
    wanted = signal_to_noise - torch.log(torch.tensor(contrast**2, dtype=alphas_cumprod.dtype))
    return (signal_to_noise[None] - wanted[:, None]).abs().argmin(dim=1)


def add_noise(
    images: Float[Tensor, "b c H W"], noise: Float[Tensor, "b c H W"], alpha_bar: Float[Tensor, " b"]
) -> Float[Tensor, "b c H W"]:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) e (DDPM, eq. 4)."""
    return _spread(alpha_bar.sqrt(), images) * images + _spread((1 - alpha_bar).sqrt(), images) * noise


def one_step(
    noised: Float[Tensor, "b c H W"],
    predicted_noise: Float[Tensor, "b c H W"],
    alpha_bar: Float[Tensor, " b"],
    *,
    clamp: bool = True,
) -> Float[Tensor, "b c H W"]:
    """The image estimated at once: (x_t - sqrt(1 - a) e_theta) / sqrt(a) (DDPM, eq. 15).

    Args:
        noised: x_t.
        predicted_noise: The network's e_theta(x_t, t).
        alpha_bar: Of each image's timestep.
        clamp: To [-1, 1]; gradients vanish where it bites, as in the authors' code.
    """
    estimate = (noised - _spread((1 - alpha_bar).sqrt(), noised) * predicted_noise) / _spread(alpha_bar.sqrt(), noised)
    return estimate.clamp(-1, 1) if clamp else estimate


def norm_guided(
    noised_small: Float[Tensor, "b c H W"],
    predicted_small: Float[Tensor, "b c H W"],
    reconstruction_large: Float[Tensor, "b c H W"],
    alpha_bar_small: Float[Tensor, " b"],
    weight: Float[Tensor, " b"],
) -> Float[Tensor, "b c H W"]:
    """The estimate at the small scale, pulled towards the one at the large scale; in [-1, 1].

    In the order of the authors' code: noise the large-scale estimate again with the noise predicted at the small
    scale, take the difference to x_t as a guidance (as a classifier's gradient in ADM, eq. 14), and estimate the image
    from the guided noise. Written out this is a fixed blend of two one-step estimates,

        clamp((1 - k) one_step(small, clamp=False) + k one_step(large)),    k = weight (1 - alpha_bar_small),

    so that a weight above 1 / (1 - alpha_bar_small) extrapolates.

    Args:
        noised_small: x_t at the small scale.
        predicted_small: The network's noise there.
        reconstruction_large: `one_step` at the large scale, clamped: free of the anomaly, but blurred.
        alpha_bar_small: Of each image's small timestep.
        weight: Strength of the guidance for each image; 0 leaves the small scale alone.

    References:
        DiffusionAD, "norm-guided one-step denoising".
    """
    strength = _spread((1 - alpha_bar_small).sqrt() * weight, noised_small)
    target = add_noise(reconstruction_large, predicted_small, alpha_bar_small)
    guided_noise = predicted_small - strength * (target - noised_small)
    return one_step(noised_small, guided_noise, alpha_bar_small)


def denoise_iteratively(
    noised: Float[Tensor, "b c H W"],
    predict_noise: Callable[[Float[Tensor, "b c H W"], int], Float[Tensor, "b c H W"]],
    alphas_cumprod: Float[Tensor, " t"],
    timesteps: Sequence[int],
) -> Float[Tensor, "b c H W"]:
    """The image after a deterministic walk through falling timesteps (DDIM, eq. 12 with sigma = 0); in [-1, 1].

    For the paper's ablation, where one step is compared with many. The estimate is clamped at every step, and the
    noise made to agree with it.

    Args:
        noised: x_t at the first of `timesteps`.
        predict_noise: The network, given images and a timestep.
        alphas_cumprod: The schedule.
        timesteps: At which the network is asked, falling.
    """
    alpha_bars = [alphas_cumprod[timestep].expand(noised.shape[0]) for timestep in timesteps]
    for index, (timestep, alpha_bar) in enumerate(zip(timesteps, alpha_bars, strict=True)):
        estimate = one_step(noised, predict_noise(noised, timestep), alpha_bar)
        if index + 1 < len(timesteps):
            agreed = (noised - _spread(alpha_bar.sqrt(), noised) * estimate) / _spread((1 - alpha_bar).sqrt(), noised)
            noised = add_noise(estimate, agreed, alpha_bars[index + 1])
    return estimate


def _spread(values: Float[Tensor, " b"], images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b 1 1 1"]:
    """One number per image, where and as the images are."""
    return values.to(device=images.device, dtype=images.dtype)[:, None, None, None]
