"""The trained weights of a run on disk, those of the authors included, and the detector they make."""
