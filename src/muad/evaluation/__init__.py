"""Figures on labelled photographs: protocols, what a run has not seen, and what was published."""
