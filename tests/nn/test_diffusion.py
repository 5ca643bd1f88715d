"""Closed forms, table values and limits of the diffusion formulas."""

import pytest
import torch

from muad.nn.diffusion import (
    add_noise,
    denoise_iteratively,
    linear_alphas_cumprod,
    matched_timesteps,
    norm_guided,
    one_step,
)

ALPHAS = linear_alphas_cumprod()


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("timestep", "expected"), [(100, 0.8951), (200, 0.6563), (299, 0.3964), (400, 0.1936), (600, 0.0256), (999, 4.0e-5)]
)
def test_schedule_has_the_published_values(timestep: int, expected: float) -> None:
    assert ALPHAS[timestep].item() == pytest.approx(expected, abs=5e-5, rel=0.02)


@pytest.mark.parametrize(("timestep", "matched"), [(100, 191), (200, 331), (300, 438), (400, 530), (600, 704)])
def test_timesteps_of_equal_signal_to_noise_ratio(timestep: int, matched: int) -> None:
    table = matched_timesteps(ALPHAS, 2.0)
    assert table[timestep] == matched
    assert torch.equal(matched_timesteps(ALPHAS, 1.0), torch.arange(1000))
    assert (table.diff() >= 0).all()
    assert table[-1] == 999


def test_the_true_noise_gives_the_true_image_in_one_step() -> None:
    images, noise = draw(3, 3, 8, 8).clamp(-1, 1), draw(3, 3, 8, 8, seed=1)
    alpha_bar = ALPHAS[torch.tensor([0, 200, 400])]
    assert one_step(add_noise(images, noise, alpha_bar), noise, alpha_bar).allclose(images, atol=1e-5)


def test_estimates_are_clamped_unless_asked_otherwise() -> None:
    noised, alpha_bar = 9 * draw(2, 3, 8, 8), ALPHAS[torch.tensor([10, 500])]
    clamped = one_step(noised, torch.zeros_like(noised), alpha_bar)
    assert clamped.abs().max() == 1
    free = one_step(noised, torch.zeros_like(noised), alpha_bar, clamp=False)
    assert free.abs().max() > 9
    assert torch.equal(free.clamp(-1, 1), clamped)


def guided_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    noised, predicted, large = draw(4, 3, 8, 8), draw(4, 3, 8, 8, seed=1), draw(4, 3, 8, 8, seed=2).clamp(-1, 1)
    return noised, predicted, large, ALPHAS[torch.tensor([0, 100, 200, 299])]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 4.0])
def test_norm_guidance_is_a_blend_of_two_one_step_estimates(weight: float) -> None:
    noised, predicted, large, alpha_bar = guided_inputs()
    share = (weight * (1 - alpha_bar)).float()[:, None, None, None]
    small = one_step(noised, predicted, alpha_bar, clamp=False)
    blend = ((1 - share) * small + share * large).clamp(-1, 1)
    guided = norm_guided(noised, predicted, large, alpha_bar, torch.full((4,), weight))
    assert (guided - blend).abs().max() < 2e-6


def test_gradients_reach_both_scales_through_the_guidance() -> None:
    noised, predicted, large, alpha_bar = guided_inputs()
    predicted.requires_grad_()
    large.requires_grad_()
    norm_guided(0.1 * noised, predicted, large, alpha_bar, torch.ones(4)).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.abs().sum() > 0
    assert large.grad is not None
    assert large.grad[2].abs().max().item() == pytest.approx(1 - ALPHAS[200].item(), rel=1e-4)


def test_a_walk_with_the_true_noise_ends_at_the_true_image() -> None:
    image = draw(1, 3, 8, 8).clamp(-1, 1)
    start = add_noise(image, draw(1, 3, 8, 8, seed=1), ALPHAS[[300]])
    asked = []

    def true_noise(noised: torch.Tensor, timestep: int) -> torch.Tensor:
        asked.append(timestep)
        return ((noised - ALPHAS[timestep].sqrt() * image) / (1 - ALPHAS[timestep]).sqrt()).float()

    result = denoise_iteratively(start, true_noise, ALPHAS, [300, 200, 100, 0])
    assert asked == [300, 200, 100, 0]
    assert result.allclose(image, atol=1e-5)


def test_a_walk_of_one_step_is_one_step() -> None:
    noised, predicted = draw(2, 3, 8, 8), draw(2, 3, 8, 8, seed=1)
    walked = denoise_iteratively(noised, lambda _, __: predicted, ALPHAS, [200])
    assert torch.equal(walked, one_step(noised, predicted, ALPHAS[[200, 200]]))
