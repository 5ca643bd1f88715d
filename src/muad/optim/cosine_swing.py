"""The learning rate the authors of DiffusionAD give their segmenter, most likely by accident."""

import math


def cosine_swing_rate(step: int, *, half_period_steps: int, peak: float) -> float:
    """A rate that swings between `peak` and 0 for ever, both reached every `2 * half_period_steps` steps.

    The authors set up half a cosine over ten epochs, and advance it at every step instead.

    Args:
        step: Optimizer step, from 0.
        half_period_steps: Steps from the peak to 0; the authors' is 10.
        peak: Highest rate.

    References:
        Zhang et al., DiffusionAD, arXiv:2303.08730; `CosineAnnealingLR` in `train.py` of the authors' code.
    """
    return 0.5 * peak * (1 + math.cos(math.pi * step / half_period_steps))
