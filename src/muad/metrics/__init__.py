"""The numbers: how well scores and anomaly maps separate normal from anomalous.

Plain arrays in, exact values in [0, 1] out. Read next: `ranking` (one score per sample), `region` (maps and masks),
`report` (a table per category).
"""
