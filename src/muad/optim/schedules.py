"""Learning rates as pure functions of the step: nothing to store, nothing an engine can step at the wrong time."""

import math

from muad.errors import ConfigError


def warmup_cosine_rate(step: int, *, total_steps: int, warmup_steps: int, peak: float, final: float) -> float:
    """Learning rate of one step: linear rise from 0 to `peak`, then half a cosine down towards `final`.

    The rise includes both ends, so step 0 has rate 0 and step `warmup_steps - 1` has the peak; the cosine starts at
    the peak again, as in the authors' table.

    Args:
        step: Optimizer step, from 0.
        total_steps: Length of the run.
        warmup_steps: Length of the rise.
        peak: Highest rate.
        final: Rate the cosine ends at (reached one step after the last).

    References:
        Guo et al., Dinomaly, CVPR 2025, arXiv:2405.14325; `WarmCosineScheduler` of the authors' code.
    """
    if not 0 <= step < total_steps:
        raise ConfigError(f"step must be from 0 to {total_steps - 1}, got {step}.")
    if step < warmup_steps:
        return warmup_constant_rate(step, warmup_steps=warmup_steps, peak=peak)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))


def warmup_constant_rate(step: int, *, warmup_steps: int, peak: float) -> float:
    """Learning rate of one step: linear rise from 0 to `peak`, both ends included, and `peak` from then on."""
    if step >= warmup_steps:
        return peak
    return peak * step / (warmup_steps - 1) if warmup_steps > 1 else 0.0
