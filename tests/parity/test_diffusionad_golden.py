"""Every number recorded from the authors' DiffusionAD, through the code a user runs."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from muad.detectors.diffusion_ad import focal_loss, normal_mean
from muad.nn.denoiser import Denoiser, DenoiserConfig
from muad.nn.diffusion import add_noise, linear_alphas_cumprod, norm_guided, one_step
from muad.nn.segmenter import Segmenter, from_official_names

Golden = dict[str, torch.Tensor]
SCALES = ("small", "large")
pytestmark = pytest.mark.shared


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.double() - expected.double()).norm() / expected.double().norm())


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Golden:
    return load_file(shared_dir / "golden" / "diffusionad.safetensors")


@pytest.fixture(scope="module")
def alpha_bar(golden: Golden) -> Golden:
    return {scale: linear_alphas_cumprod()[golden[f"timestep.{scale}"]] for scale in SCALES}


def test_schedule_is_the_authors(golden: Golden) -> None:
    assert relative_error(linear_alphas_cumprod(), golden["alphas_cumprod"]) < 1e-12


@pytest.mark.parametrize("scale", SCALES)
def test_noising_and_one_step_estimates_are_the_authors(golden: Golden, alpha_bar: Golden, scale: str) -> None:
    noised = add_noise(golden["image"], golden[f"noise.{scale}"], alpha_bar[scale])
    assert relative_error(noised, golden[f"noised.{scale}"]) < 1e-6
    estimate = one_step(golden[f"noised.{scale}"], golden[f"predicted_noise.{scale}"], alpha_bar[scale])
    assert relative_error(estimate, golden[f"one_step.{scale}"]) < 1e-5


@pytest.mark.parametrize("weight", [0, 1, 2])
def test_guided_estimates_are_the_authors(golden: Golden, alpha_bar: Golden, weight: int) -> None:
    guided = norm_guided(
        golden["noised.small"],
        golden["predicted_noise.small"],
        golden["one_step.large"],
        alpha_bar["small"],
        torch.full((6,), float(weight)),
    )
    assert relative_error(guided, golden[f"guided.w{weight}"]) < 1e-5


def test_noise_loss_is_the_authors(golden: Golden) -> None:
    errors = sum(
        (golden[f"predicted_noise.{scale}"] - golden[f"noise.{scale}"]).square().mean(dim=(1, 2, 3)) for scale in SCALES
    )
    is_normal = golden["label"] == 0
    loss = normal_mean(errors, is_normal, is_normal.float().mean())
    assert relative_error(loss, golden["noise_loss"]) < 1e-6


def test_segmentation_losses_are_the_authors(golden: Golden) -> None:
    predicted, target = golden["mask.predicted"], golden["mask.target"]
    logits = torch.logit(predicted.double()).float()
    assert relative_error(focal_loss(logits, target), golden["loss.focal"]) < 1e-5
    assert relative_error(F.smooth_l1_loss(logits.sigmoid(), target), golden["loss.smooth_l1"]) < 1e-6


def test_segmenter_with_the_authors_weights_gives_their_output(golden: Golden) -> None:
    prefix = "segmenter.weights."
    weights = {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}
    segmenter = Segmenter(width=8).eval()
    segmenter.load_state_dict(from_official_names(weights))
    assert golden["segmenter.output_is_probability"] == 1
    with torch.no_grad():
        output = segmenter(golden["segmenter.input"]).sigmoid()
    assert relative_error(output, golden["segmenter.output"]) < 1e-5


def test_networks_have_the_authors_number_of_parameters(golden: Golden) -> None:
    with torch.device("meta"):
        denoiser, segmenter = Denoiser(DenoiserConfig(), (256, 256)), Segmenter()
    assert sum(tensor.numel() for tensor in denoiser.parameters()) == golden["parameters.unet"] == 131_654_403
    assert sum(tensor.numel() for tensor in segmenter.parameters()) == golden["parameters.segmenter"] == 28_373_569
