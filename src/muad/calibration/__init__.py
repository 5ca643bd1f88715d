"""Setting limits: which good photographs count, how they are scored, and what is written."""
