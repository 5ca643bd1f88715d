"""Photographs with what was found drawn on them, and what it means written below them."""

from muad.overlays.band import Caption, with_band
from muad.overlays.colours import draw_overlay

__all__ = ["Caption", "draw_overlay", "with_band"]
