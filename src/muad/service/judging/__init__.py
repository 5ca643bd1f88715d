"""From what was sent to a verdict: uploads checked, a bounded queue, the judge and its models."""
