"""How weights move: the optimizer of a run, and the learning rate of every group of weights at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim import AdamW

from muad.optim import StableAdamW, cosine_swing_rate, warmup_constant_rate, warmup_cosine_rate

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from muad.config import OptimConfig, RunConfig
    from muad.detectors import Detector


def build_optimizer(optim: OptimConfig, detector: Detector) -> Optimizer:
    """The optimizer of that kind over the detector's trainable tensors."""
    groups = detector.parameter_groups()
    if optim.kind == "adamw":
        return AdamW(
            groups,
            lr=optim.lr,
            betas=optim.betas,
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            amsgrad=optim.amsgrad,
        )
    return StableAdamW(
        groups,
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        amsgrad=optim.amsgrad,
        clip_threshold=optim.clip_threshold,
    )


def set_learning_rates(config: RunConfig, optimizer: Optimizer, step: int) -> float:
    """Give every group of weights the rate of this step; returns the schedule's own, before factors and swings."""
    schedule, peak = config.schedule, config.optim.lr
    if schedule.kind == "constant":
        rate = warmup_constant_rate(step, warmup_steps=schedule.warmup_steps, peak=peak)
    else:
        rate = warmup_cosine_rate(
            step,
            total_steps=schedule.total_steps,
            warmup_steps=schedule.warmup_steps,
            peak=peak,
            final=schedule.final_lr,
        )
    for group in optimizer.param_groups:
        own = rate * group.get("lr_factor", 1.0)
        half_period_steps = group.get("swing_steps", 0)
        if half_period_steps:
            own = cosine_swing_rate(step, half_period_steps=half_period_steps, peak=own)
        group["lr"] = own
    return rate
