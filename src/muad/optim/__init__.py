"""The optimizer the paper trains with, and learning rates as functions of the step."""

from muad.optim.schedules import warmup_cosine_rate
from muad.optim.stable_adamw import StableAdamW

__all__ = ["StableAdamW", "warmup_cosine_rate"]
