"""How weights move: two kinds of optimizer, and rates of groups as functions of the step."""

import pytest
import torch

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig, parse_config
from muad.detectors import DiffusionAd, DiffusionAdConfig
from muad.nn.denoiser import DenoiserConfig
from muad.optim import StableAdamW
from muad.training.optimizer import build_optimizer, set_learning_rates

AUTHORS = {"kind": "adamw", "lr": 1e-4, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}


def make_detector(**changes: object) -> DiffusionAd:
    denoiser = DenoiserConfig(width=8, multipliers=(1, 1), blocks_per_level=1, attention_levels=0)
    torch.manual_seed(0)
    return DiffusionAd(DiffusionAdConfig(resize_px=(32, 32), denoiser=denoiser, segmenter_width=2, **changes))


def rates(config: RunConfig, detector: DiffusionAd, step: int) -> dict[str, float]:
    optimizer = build_optimizer(config.optim, detector)
    set_learning_rates(config, optimizer, step)
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def test_the_authors_rates_are_a_constant_and_a_swing() -> None:
    """Adam at 1e-4; and at 1e-5 under CosineAnnealingLR of ten, advanced at every step."""
    schedule = ScheduleConfig(kind="constant", warmup_steps=0, total_steps=45)
    config, detector = RunConfig(optim=OptimConfig(**AUTHORS), schedule=schedule), make_detector()
    parameter = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.Adam([parameter], lr=1e-5)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=10, eta_min=0)
    for step in range(45):
        ours = rates(config, detector, step)
        assert ours["denoiser"] == 1e-4
        assert ours["segmenter"] == pytest.approx(annealing.get_last_lr()[0], abs=1e-15)
        theirs.step()
        annealing.step()


def test_without_a_swing_the_segmenters_rate_is_its_share_of_the_schedule() -> None:
    config = RunConfig(schedule=ScheduleConfig(total_steps=100, warmup_steps=10))
    detector = make_detector(segmenter_swing_steps=0, segmenter_lr_factor=0.5)
    for step in (0, 5, 50, 99):
        ours = rates(config, detector, step)
        assert ours["segmenter"] == pytest.approx(0.5 * ours["denoiser"])
    assert rates(config, detector, 5)["denoiser"] > rates(config, detector, 2)["denoiser"]


def test_adamw_without_decay_is_adam() -> None:
    detector, other = make_detector(), make_detector()
    ours = build_optimizer(OptimConfig(**AUTHORS), detector)
    theirs = torch.optim.Adam(other.parameters(), lr=1e-4)
    assert isinstance(build_optimizer(OptimConfig(), detector), StableAdamW)
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        for one, two in zip(detector.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=random)
            two.grad = one.grad.clone()
        ours.step()
        theirs.step()
    for one, two in zip(detector.parameters(), other.parameters(), strict=True):
        assert one.allclose(two, rtol=0, atol=1e-8)


def test_accumulation_is_refused_where_it_would_change_the_mining() -> None:
    from muad.errors import ConfigError

    with pytest.raises(ConfigError, match=r"training\.accumulate must be 1 with detector\.hard_mining"):
        parse_config({"training": {"accumulate": 2}})
    parse_config({"training": {"accumulate": 2}, "detector": {"hard_mining": False}})
    parse_config({"training": {"accumulate": 2}, "detector": {"name": "diffusion_ad"}})
