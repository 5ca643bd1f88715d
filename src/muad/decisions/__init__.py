"""From scores to verdicts: limits with their guarantees, p-values, and regions of a map."""
