"""A trained run as one file for the line: its networks as ONNX, measured against torch before anything is written.

Start at `export`. `networks` turns a detector into a graph, `complete` puts normalisation before it and map and score
behind it, `forms` makes the precisions and formats that are asked for, `recogniser` the network that tells products
apart; `parity` holds all of it against torch. What is in the file is stated in `muad.bundles.manifest`.
"""
