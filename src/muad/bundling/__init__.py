"""A trained run as one file for the line: its networks as ONNX, measured against torch before anything is written.

Start at `export.export_bundle`. `networks` turns a detector into a graph, `complete` puts normalisation before it and
map and score behind it, `precisions` makes the forms that are asked for beside float32, `recogniser` the network that
tells products apart; `parity` holds all of it against torch. What is in the file is `muad.bundles.manifest`.
"""
