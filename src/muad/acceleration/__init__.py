"""Trained detectors made fast: `AcceleratedDetector` predicts what a detector predicts, in a fraction of the time.

Start at `accelerated`; `folding` rewrites the network, `backends` run it, `exports` writes it for other runtimes,
`postprocess` makes maps and scores.
"""

from muad.acceleration.accelerated import AcceleratedDetector, DeviationError
from muad.runtime.computing import Acceleration

__all__ = ["AcceleratedDetector", "Acceleration", "DeviationError"]
