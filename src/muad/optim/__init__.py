"""The optimizer the paper trains with, and learning rates as functions of the step."""

from muad.optim.averaging import WeightAverage
from muad.optim.cosine_swing import cosine_swing_rate
from muad.optim.schedules import warmup_constant_rate, warmup_cosine_rate
from muad.optim.stable_adamw import StableAdamW

__all__ = ["StableAdamW", "WeightAverage", "cosine_swing_rate", "warmup_constant_rate", "warmup_cosine_rate"]
