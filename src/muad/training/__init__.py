"""The training loop and what it writes down."""

from muad.training.loop import train_detector

__all__ = ["train_detector"]
