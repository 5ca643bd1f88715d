"""Frozen networks that describe photographs: families, weights, where they come from."""
