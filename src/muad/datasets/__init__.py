"""Data sets on disk: one reader a layout, what belongs together, and what a set is known by."""
