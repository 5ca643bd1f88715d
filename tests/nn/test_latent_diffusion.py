"""Schedule and walk against diffusers' own; what guides, what learns, what is taken from a release."""

import dataclasses
from pathlib import Path

import pytest
import torch

from muad.errors import CheckpointError, ConfigError
from muad.nn.latent_diffusion import (
    GuidedDenoiser,
    LatentConfig,
    build_autoencoder,
    ddim_step,
    load_stable_diffusion,
    scaled_linear_alphas_cumprod,
    walk_numbers,
    walk_timesteps,
)

TINY = LatentConfig(
    autoencoder_widths=(4, 8), autoencoder_blocks=1, scale=0.5, widths=(8, 8), blocks=1, heads=2, context=(2, 8),
    hint_widths=(4, 4),
)  # fmt: skip


@pytest.fixture
def denoiser() -> GuidedDenoiser:
    torch.manual_seed(2)
    return GuidedDenoiser(TINY, guide_all=False)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_the_walk_is_that_of_diffusers() -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    theirs.set_timesteps(10)
    ours = scaled_linear_alphas_cumprod(1000, 0.00085, 0.012)
    assert torch.allclose(ours.float(), theirs.alphas_cumprod, rtol=1e-4)
    timesteps = walk_timesteps(10, 1000)
    assert timesteps == theirs.timesteps.tolist() == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    noised = expected = draw(1, 4, 4, 4)
    for timestep, numbers in zip(timesteps, walk_numbers(10, ours), strict=True):
        assert int(numbers[0]) == timestep
        predicted = noised.tanh()
        noised = ddim_step(noised, predicted, numbers)
        expected = theirs.step(predicted, timestep, expected).prev_sample
    assert torch.allclose(noised, expected, rtol=1e-3, atol=1e-4)
    assert len(walk_timesteps(3, 1000)) == 3
    assert walk_timesteps(999, 1000)[-1] == 1


def test_a_guide_has_no_say_before_it_learns_and_then_at_the_coarsest_level_alone(denoiser: GuidedDenoiser) -> None:
    noised, hint, timesteps = draw(2, 4, 8, 8), draw(2, 8, 8, 8), torch.tensor([3, 900])
    context = denoiser.prompt.expand(2, -1, -1)
    with torch.no_grad():
        assert torch.equal(denoiser(noised, timesteps, hint), denoiser.denoiser(noised, timesteps, context).sample)
        for parameter in denoiser.parameters():
            parameter.add_(0.1)
        said = denoiser.guidance(noised, timesteps, hint)
        assert [bool(found.any()) for found in said] == [False, False, True, True, True]
        denoiser.guide_all = True
        assert all(bool(found.any()) for found in denoiser.guidance(noised, timesteps, hint))
        assert not torch.equal(denoiser(noised, timesteps, hint), denoiser(noised, timesteps, -hint))


def test_levels_may_grow_to_the_last() -> None:
    grown = GuidedDenoiser(dataclasses.replace(TINY, widths=(8, 12, 16)), guide_all=False)
    with torch.no_grad():
        hint = grown.hint(draw(1, 3, 16, 16))
        assert grown(draw(1, 4, 8, 8), torch.tensor([5]), hint).shape == (1, 4, 8, 8)


def test_what_has_no_say_does_not_learn(denoiser: GuidedDenoiser) -> None:
    for layer in denoiser.guide.controlnet_down_blocks:  # nothing passes through zeros
        torch.nn.init.ones_(layer.weight)
    torch.nn.init.ones_(denoiser.guide.controlnet_cond_embedding.conv_out.weight)
    hint = denoiser.hint(draw(1, 3, 16, 16))
    denoiser(draw(1, 4, 8, 8), torch.tensor([5]), hint).square().sum().backward()
    idle = [name for name, p in denoiser.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    assert denoiser.reached == 0
    assert GuidedDenoiser(dataclasses.replace(TINY, widths=(8, 8, 8)), guide_all=False).reached == 2


def test_weights_of_a_release_are_taken_and_the_guide_copies_them(denoiser: GuidedDenoiser, tmp_path: Path) -> None:
    torch.manual_seed(9)
    other, autoencoder = GuidedDenoiser(TINY, guide_all=False), build_autoencoder(TINY)
    other.denoiser.save_pretrained(tmp_path / "unet")
    with pytest.raises(CheckpointError, match="without vae"):
        load_stable_diffusion(tmp_path, autoencoder, denoiser)
    build_autoencoder(TINY).save_pretrained(tmp_path / "vae")
    load_stable_diffusion(tmp_path, autoencoder, denoiser)
    assert torch.equal(denoiser.denoiser.conv_in.weight, other.denoiser.conv_in.weight)
    assert torch.equal(denoiser.guide.conv_in.weight, other.denoiser.conv_in.weight)
    wide = build_autoencoder(dataclasses.replace(TINY, autoencoder_widths=(8, 8)))
    with pytest.raises(CheckpointError, match=r"sizes of detector\.latent") as caught:
        load_stable_diffusion(tmp_path, wide, denoiser)
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_go_together_are_named() -> None:
    with pytest.raises(ConfigError, match=r"detector\.latent\.hint_widths"):
        dataclasses.replace(TINY, hint_widths=(4, 4, 4))
    with pytest.raises(ConfigError, match=r"detector\.latent\.heads"):
        dataclasses.replace(TINY, heads=3)
    assert (TINY.latent_px, TINY.divisor_px) == (2, 4)
