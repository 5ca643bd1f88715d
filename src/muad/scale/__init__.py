"""Photographs by the hundred thousand, judged by many processes or machines: Ray starts them, a bundle judges."""

from muad.scale.judge import NOT_PREDICTED
from muad.scale.predict import Done, predict_by_ray

__all__ = ["NOT_PREDICTED", "Done", "predict_by_ray"]
