"""Synthetic anomalies: what DiffusionAD, and methods like it, learn to segment from.

Read `anomalies.py` first; the rest is Perlin masks, augmenters and sources of texture.
"""

from muad.synthesis.anomalies import Synthesis, SynthesisConfig, Synthetic

__all__ = ["Synthesis", "SynthesisConfig", "Synthetic"]
