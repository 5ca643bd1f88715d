"""Whole studies that are one command: the demo, the probe of an encoder, a look at synthetic anomalies."""
